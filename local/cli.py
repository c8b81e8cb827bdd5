"""What every stage script shares: errors as one line, exit statuses, progress bars."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from stage_log import copy_output
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


def run(main) -> None:
    """Call ``main`` and copy what it prints to the stage's log file.

    A ComflpError or a fault of the disk becomes one line on stderr and exit status 1, Ctrl-C becomes exit status 130.
    """
    try:
        copy_output()
        main()
    except ErrorOfMain:
        sys.exit(1)
    except ComflpError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say which option is wrong and what it has to be; exit status 2."""
        line = message.replace("\n", "\\n").replace("\r", "\\r")
        print(f"{Path(self.prog).name}: error: {line if len(line) <= 500 else line[:500] + '...'} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


def parser(description: str) -> argparse.ArgumentParser:
    """An ArgumentParser as all stage scripts have it: defaults in --help, no abbreviated options, --force."""
    made = Parser(
        description=description, allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--force", action="store_true", help="make the results again even if others are there")
    return made


def true_or_false(text: str) -> bool:
    """argparse type for options that take ``true`` or ``false``."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"
