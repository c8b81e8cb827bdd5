"""The log file of a stage: whatever a script shows is added to the file that COMFLP_LOG names, progress bars left out."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, TextIO

_BAR = re.compile(r"\d+%\||\d+it \[")
"""What a bar of tqdm leaves on its line."""


class CopiedStream:
    """A text stream that also adds every finished line to a file.

    stream: where the text goes. log: descriptor of the file, open for appending.
    """

    def __init__(self, stream: TextIO, log: int):
        self._stream = stream
        self._log = log
        self._line = ""

    def write(self, text: str) -> int:
        """Write ``text`` to the stream, and the lines that it ends to the file; returns the number of characters."""
        self._stream.write(text)
        *lines, self._line = [line.rpartition("\r")[2] for line in (self._line + text).split("\n")]
        kept = "".join(f"{line}\n" for line in lines if not _BAR.search(line))
        if kept:
            os.write(self._log, kept.encode("utf-8", errors="backslashreplace"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def copy_output() -> None:
    """From here on, copy stdout and stderr of this process to the file that COMFLP_LOG names, where it names one."""
    path = os.environ.get("COMFLP_LOG")
    if path:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        sys.stdout, sys.stderr = CopiedStream(sys.stdout, log), CopiedStream(sys.stderr, log)
