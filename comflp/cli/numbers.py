"""Types of numbers of all programs, for argparse: what a value has to be, with its bounds, checked before any work.

A value that is none is one line: the option, the value, and what it has to be (exit status 2).
"""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from typing import Callable

from comflp.errors import shown

MOST = 10**9


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
seed = whole(0, 2**32 - 1)
