"""What every command shows in the same way: progress, errors as one line, warnings as one line."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import Any, Callable

from tqdm import tqdm

from comflp.errors import ComflpError, ErrorOfMain


class _Lines:
    """Where there is no terminal: what a bar shows as lines of stderr, one below the other."""

    @staticmethod
    def write(text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            print(line, file=sys.stderr)

    @staticmethod
    def flush() -> None:
        sys.stderr.flush()


if sys.stderr.isatty():
    progress = partial(tqdm, mininterval=1.0, dynamic_ncols=True, delay=3)
else:
    progress = partial(tqdm, mininterval=60.0, delay=60, leave=False, file=_Lines(),
                       bar_format="{desc}: {n_fmt} of {total_fmt} done, {remaining} left")
"""Bar for loops of more than a few seconds, or a line a minute; passed to the library's ``progress`` arguments."""


def status_of(command: Callable[[], int | None], name: str) -> int:
    """Call ``command``; its exit status, 0 for None. name: of the program, for messages.

    A ComflpError or a fault of the disk becomes one line on stderr and exit status 1, Ctrl-C becomes exit status 130.
    """
    try:
        return command() or 0
    except ErrorOfMain:
        return 1
    except ComflpError as error:
        fault = str(error)
    except OSError as error:
        fault = f"{error.filename or 'a file'}: {error.strerror or error}"
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    print(f"{name}: error: {fault}", file=sys.stderr)
    return 1


def show_plain_warnings() -> None:
    """From here on a warning is one line on stderr, without the place in the code."""

    def show(message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None) -> None:
        print(f"warning: {message}", file=sys.stderr)

    warnings.showwarning = show
