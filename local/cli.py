"""What every stage script shares: errors and warnings as one line, exit statuses, progress bars."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Callable, NoReturn

from lifetime import tie_to_parent
from plain_warnings import show_plainly
from stage_log import copy_output

from comflp.cli.terminal import progress
from comflp.errors import ComflpError, ErrorOfMain
from comflp.scoring import METRICS, NORMALISERS

__all__ = ["parser", "progress", "run", "true_or_false"]

_MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory", re.IGNORECASE)
_WORKER = re.compile(r"DataLoader worker")


def run(main: Callable[[], None]) -> None:
    """Call ``main`` in a process that ends with its parent, and copy what it prints to the stage's log file.

    A ComflpError, a fault of the disk or of memory becomes one line on stderr and exit status 1, Ctrl-C becomes exit
    status 130; SIGTERM ends as an error does, so that temporary files are removed, with exit status 143.
    """
    before = _end_at_sigterm()
    try:
        tie_to_parent()
        copy_output()
        show_plainly()
        main()
        _flush_stdout()
    except ErrorOfMain:
        sys.exit(1)
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to go on")
        sys.exit(130)
    except Exception as error:
        line = _line_of(error)
        if line is None:
            raise
        _say(f"error: {line}")
        sys.exit(1)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _line_of(error: Exception) -> str | None:
    """What the user is told of an error that is no bug; None of one that is, which keeps its traceback."""
    if isinstance(error, ComflpError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'what is printed, or a file, cannot be written'}: {error.strerror or error}"
    if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
        return "memory has run out; smaller batches (--max-seconds, or max_batch_seconds of a configuration) need less"
    if _WORKER.search(str(error)):
        return f"a process that read data has ended: {str(error).splitlines()[0]}"
    return None


def _flush_stdout() -> None:
    """Write what was printed. Where that fails the rest is dropped: Python would try once more at its end, with a traceback."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _say(line: str) -> None:
    """One line, or one with a list below it; a value that it shows cannot break it or move the cursor."""
    line = re.sub(r"\n(?!  )", r"\\n", line)
    line = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in line)
    with contextlib.suppress(OSError, AttributeError):  # stderr may be closed too
        print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)


def _end_at_sigterm():
    """Make SIGTERM raise SystemExit, where nobody else looks after it; the handler before, or None where it stays."""
    alone = "WORLD_SIZE" not in os.environ and threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return None
    return signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


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


def scoring_options(arguments: argparse.ArgumentParser, used_for: str) -> None:
    """Add ``--metric``, which is ``used_for`` something, and ``--normaliser`` to the options of a stage."""
    arguments.add_argument("--metric", choices=METRICS, default="cer", help=used_for)
    arguments.add_argument("--normaliser", choices=NORMALISERS, default="none",
                           help="what texts are put through before errors are counted: Whisper's basic normaliser (small "
                                "letters, no punctuation), its English one (numbers and contractions too), or nothing")


def true_or_false(text: str) -> bool:
    """argparse type for options that take ``true`` or ``false``."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"
