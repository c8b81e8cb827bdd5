"""Types of the options of all scripts, for argparse: what a value has to be, with its bounds, checked before any work.

A value that is none is one line: the option, the value, and what it has to be (exit status 2). A file or folder that is
to be read and is not there is an error as any other (exit status 1).
"""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Callable, TypeVar

from comflp.errors import ComflpError
from comflp.names import name_fault

MOST = 10**9
PICTURES = ".png", ".svg", ".pdf"
_DEVICE = re.compile(r"cpu|mps|cuda(:[0-9]{1,3})?", re.ASCII)
_Value = TypeVar("_Value")


def whole(low: int, high: int = MOST) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``.

    >>> whole(1, 9)("3")
    3
    >>> whole(1, 9)("10")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: '10' is not a whole number from 1 to 9
    """

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) is None or not low <= int(text) <= high:
            raise ArgumentTypeError(f"{shown(text)} is not a whole number from {low:,} to {high:,}")
        return int(text)

    return parse


def real(low: float, high: float = math.inf, open_low: bool = False) -> Callable[[str], float]:
    """A finite number from ``low`` (above it with ``open_low``) to ``high``.

    >>> real(0, 1)("0.5")
    0.5
    >>> real(0, open_low=True)("nan")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: 'nan' is not a number above 0
    """
    bounds = (f"a number above {low:g}" if open_low else f"a number from {low:g}") + (f" to {high:g}" if high < math.inf else "")

    def parse(text: str) -> float:
        try:
            value = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
            raise ArgumentTypeError(f"{shown(text)} is not {bounds}")
        return value

    return parse


count = whole(0)
positive = whole(1)
batch = whole(1, 1_000_000)
candidates = whole(1, 100_000)
seed = whole(0, 2**32 - 1)
seconds = real(0, 1e6, open_low=True)
share = real(0, 1, open_low=True)


def name(text: str) -> str:
    """A name (comflp/names.py); empty where there is to be none."""
    fault = name_fault(text) if text else None
    if fault is not None:
        raise ArgumentTypeError(fault)
    return text


def some_name(text: str) -> str:
    """A name that has to be there."""
    if not text:
        raise ArgumentTypeError("a name is empty")
    return name(text)


def optional(kind: Callable[[str], _Value]) -> Callable[[str], _Value | str]:
    """``kind``, or an empty text where there is to be none."""
    return lambda text: kind(text) if text else text


def device(text: str) -> str:
    """Where a model runs."""
    if _DEVICE.fullmatch(text) is None:
        raise ArgumentTypeError(f"{shown(text)} is none of cpu, cuda, cuda:N and mps")
    return text


def names(text: str) -> str:
    """Names separated by spaces, none twice. The text is returned, so that defaults and records stay what was typed."""
    if not text.isprintable():
        raise ArgumentTypeError(f"{shown(text)} is no list of values separated by spaces")
    values = [name(part) for part in text.split()]
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ArgumentTypeError(f"{shown(value)} is given twice")
    return text


def some_names(text: str) -> str:
    """Names, one at least."""
    if not text.split():
        raise ArgumentTypeError("no name is given")
    return names(text)


def column(text: str) -> str:
    """The name of a column of a table."""
    if not text.strip() or not text.isprintable():
        raise ArgumentTypeError(f"{shown(text)} is no name of a column")
    return text


def path(text: str) -> Path:
    """A path; who reads it says what is missing, and which stage makes it."""
    if not text.strip() or not text.isprintable():
        raise ArgumentTypeError(f"{shown(text)} is no path" + (": it is empty" if not text.strip() else ""))
    try:
        Path(text).exists()
    except OSError as error:
        raise ArgumentTypeError(f"{shown(text)} is no path: {error.strerror}") from None
    return Path(text)


def new_path(text: str) -> Path:
    """A path that is to be written. Whether something is there already is for who writes."""
    for parent in path(text).parents:
        if parent.exists() and not parent.is_dir():
            raise ComflpError(f"{text} cannot be written: {parent} is no folder")
    return Path(text)


def picture(text: str) -> Path:
    """A picture that is to be written."""
    if Path(text).suffix not in PICTURES:
        raise ArgumentTypeError(f"{shown(text)} is no name of a picture: it ends with one of {', '.join(PICTURES)}")
    return new_path(text)


def folder(text: str) -> Path:
    """A folder that is there."""
    if not path(text).is_dir():
        raise ComflpError(f"{text} is no folder" if Path(text).exists() else f"there is no folder {text}")
    return Path(text)


def file(text: str) -> Path:
    """A file that is there."""
    if not path(text).is_file():
        raise ComflpError(f"{text} is no file" if Path(text).exists() else f"there is no file {text}")
    return Path(text)


def shown(text: str) -> str:
    """``text`` in quotes as an error shows it, in one line and not too long."""
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}... ({len(text):,} characters)"
