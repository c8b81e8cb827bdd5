"""``python -m comflp``: the command ``comflp``."""

import sys

from comflp.cli import main

sys.exit(main())
