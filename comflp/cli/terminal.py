"""What every program shows in the same way: progress, errors and warnings as one line each, wrong options, exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
import re
import select
import signal
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn

from tqdm import tqdm

from comflp.errors import ComflpError, ErrorOfMain

_MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WORKER = re.compile(r"DataLoader worker")


class _Lines:
    """Where there is no terminal: what a bar shows as lines of stderr, one below the other, none of them twice in a row."""

    def __init__(self) -> None:
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and line != self._last:
            print(line, file=sys.stderr)
            self._last = line

    def flush(self) -> None:
        sys.stderr.flush()


if sys.stderr is not None and sys.stderr.isatty():
    progress = partial(tqdm, mininterval=1.0, dynamic_ncols=True, delay=3)
else:
    progress = partial(tqdm, mininterval=60.0, delay=60, leave=False, file=_Lines(),
                       bar_format="{desc}: {n_fmt} of {total_fmt} done, {remaining} left")
"""Bar for loops of more than a few seconds, or a line a minute; passed to the library's ``progress`` arguments."""


def status_of(command: Callable[[], int | None], name: str) -> int:
    """Call ``command``; its exit status, 0 for None. name: the program's name in messages.

    A ComflpError, a fault of the disk or of memory becomes one line on stderr and exit status 1, Ctrl-C becomes exit
    status 130; SIGTERM ends as an error does, so that temporary files are removed, with exit status 143. An error that comes after one of
    these is what a library made of it. Where nobody reads what is printed any more, as before ``| head``, nothing is said and the exit status is 141.
    """
    with _asked_to_stop() as asked:
        try:
            show_plain_warnings(name)
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="surrogateescape")  # a file's name is printed as it is, UTF-8 or not
            status = command() or 0
            _flush_stdout()
            return status
        except ErrorOfMain:
            return 1
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) or signal.SIGINT in asked:
                say(name, "interrupted; run the same command again to go on")
                return 130
            if asked:
                return 143
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                return 141
            line = _line_of(error)
            if line is None:
                raise
            say(name, f"error: {line}")
            return 1


def _line_of(error: Exception) -> str | None:
    """What the user is told of an error that is no bug; None of one that is, which keeps its traceback."""
    if isinstance(error, ComflpError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'what is printed, or a file, cannot be written'}: {error.strerror or error}"
    if isinstance(error, MemoryError) or _MEMORY.search(str(error)):
        return "memory has run out; smaller batches need less (--max-seconds of a stage, max_batch_seconds of a training's configuration)"
    if _WORKER.search(str(error)):
        return f"a process that read data has ended: {str(error).splitlines()[0]}"
    return None


def _flush_stdout() -> None:
    """Write what was printed. Where that fails the rest is dropped: Python would try once more at its end, with a traceback."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        _drop_stdout()
        raise


def _nobody_reads() -> bool:
    """Whether who read stdout has gone; then the rest is dropped."""
    with contextlib.suppress(io.UnsupportedOperation, AttributeError):  # it need not be a file, and may be closed
        events = select.poll()
        events.register(sys.stdout.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in events.poll(0)):
            _drop_stdout()
            return True
    return False


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(name: str, line: str) -> None:
    """Print to stderr one line, or one with a list below it; a value that it shows cannot break it or move the cursor."""
    line = re.sub(r"\n(?!  )", r"\\n", line)
    line = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in line)
    with contextlib.suppress(OSError, AttributeError):  # stderr may be closed too
        print(f"{name}: {line}", file=sys.stderr)


def named(file: str) -> str:
    """A file's name as it is printed among others, one a line: what would break the line, or a column of it, is escaped.

    >>> named("a\\tb\\nc.wav")
    'a\\\\tb\\\\nc.wav'
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], file)


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """The signals that asked this program to stop, as they come; SIGTERM raises SystemExit, where nobody else looks after it."""
    asked: list[int] = []
    alone = "WORLD_SIZE" not in os.environ and threading.current_thread() is threading.main_thread()

    def stop(number: int, _: Any) -> NoReturn:
        asked.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(143)

    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, stop) for number, handler in usual.items() if alone and signal.getsignal(number) == handler}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_plain_warnings(name: str) -> None:
    """From here on, each different warning is one line on stderr, once, without the place in the code."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = " ".join(str(message).split())
        if line not in said:
            said.add(line)
            print(f"{name}: warning: {line}", file=sys.stderr)

    warnings.showwarning = show


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say which option is wrong and what it has to be; exit status 2."""
        line = message.replace("\n", "\\n").replace("\r", "\\r")
        shown = line if len(line) <= 500 else line[:500] + "..."
        print(f"{Path(self.prog).name}: error: {shown} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


class Help(argparse.HelpFormatter):
    """--help with the default of each option that has one, and with the paragraphs of a description as they were written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.required or action.default is None or action.default is False or action.default in ("", [], argparse.SUPPRESS):
            return action.help
        words = action.default if isinstance(action.default, list) else [str(action.default).lower() if action.default is True else action.default]
        return f"{action.help} (default: {' '.join(map(str, words)).replace('%', '%%')})"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
        fill = super()._fill_text
        return "\n\n".join(paragraph if paragraph.startswith("    ") else fill(paragraph, width, indent) for paragraph in paragraphs)


def parser(description: str, **more: Any) -> Parser:
    """A Parser as all programs have it: defaults in --help, no abbreviated options. more: arguments of argparse.ArgumentParser."""
    return Parser(description=description, allow_abbrev=False, formatter_class=Help, **more)
