"""Warnings as one line each on stderr, each of them once, without the place in the code."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path


def show_plainly() -> None:
    """From here on, print each different warning once as ``<script>: warning: <message>``."""
    script, said = Path(sys.argv[0]).name, set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        line = " ".join(str(message).split())
        if line not in said:
            said.add(line)
            print(f"{script}: warning: {line}", file=sys.stderr)

    warnings.showwarning = show
