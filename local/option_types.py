"""Types of the options of all scripts, for argparse: what a value has to be, with its bounds, checked before any work.

A value that is none is one line: the option, the value, and what it has to be (exit status 2). A file or folder that is
to be read and is not there is an error as any other (exit status 1).
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Callable, TypeVar

from comflp.cli.numbers import count, positive, real, seed, whole  # noqa: F401  # types of scripts as well
from comflp.errors import ComflpError, shown
from comflp.names import name_fault
from comflp.replacing import check_parents

PICTURES = ".png", ".svg", ".pdf"
_DEVICE = re.compile(r"cpu|mps|cuda(:[0-9]{1,3})?", re.ASCII)
_Value = TypeVar("_Value")

batch = whole(1, 1_000_000)
candidates = whole(1, 100_000)
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
    check_parents(path(text))
    return Path(text)


def new_named_path(text: str) -> Path:
    """A path that is to be written itself, or beside which something is: it has a name, which ``.`` and ``..`` are not."""
    if path(text).name in ("", ".."):
        raise ArgumentTypeError(f"{shown(text)} has no name of its own; write the folder's name")
    return new_path(text)


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
