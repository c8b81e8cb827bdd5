#!/usr/bin/env python3
"""torchrun without its own tracebacks, which would stand below the line that says what was wrong.

launch.py --standalone --nproc-per-node N SCRIPT ARGUMENT...
"""

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

try:
    main()
except ChildFailedError:
    sys.exit(1)
except SignalException as stopped:
    sys.exit(128 + stopped.sigval)
