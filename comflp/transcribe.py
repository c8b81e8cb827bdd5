"""``python -m comflp.transcribe``: the command ``comflp transcribe`` under its earlier name."""

import sys

from comflp.cli import main

if __name__ == "__main__":
    sys.exit(main(["transcribe", *sys.argv[1:]]))
