"""The correlation matrix as a picture: squares that say their values, written as SVG by hand."""

from __future__ import annotations

import html
from typing import Sequence

import numpy as np

INK = "#5d656f"
"""Colour of numbers and words, where nobody gives another."""
_WIDTH = 360
"""Of a heat map, in pixels."""
_STOPS = np.array([(13, 25, 66), (32, 81, 143), (38, 142, 152), (118, 194, 128), (246, 226, 104)], dtype=float)
"""Dark blue over teal to yellow, in even steps of lightness: reads on white and on black, and without colour."""


def colour(share: float) -> str:
    """The heat map's colour for a share from 0 (lowest) to 1.

    >>> colour(0.0), colour(1.0)
    ('#0d1942', '#f6e268')
    """
    place = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(place), len(_STOPS) - 2)
    mixed = _STOPS[low] + (place - low) * (_STOPS[low + 1] - _STOPS[low])
    return "#" + "".join(f"{round(value):02x}" for value in mixed)


def value_range(matrices: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest value off the diagonal, over several matrices."""
    values = np.concatenate([matrix[~np.eye(len(matrix), dtype=bool)] for matrix in matrices])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    return float(values.min()), float(values.max())


def heat_map(matrix: np.ndarray, description: str, ink: str = INK) -> str:
    """M as (L+1)^2 squares with a scale below; row 0 at the top, as a printed matrix. Each square says its value to a pointer.

    description: for those who do not see it. ink: colour of numbers and words. Returns an ``<svg>`` element.
    """
    count, limits = len(matrix), value_range([matrix])
    left, top, bottom = 30, 22, 46
    cell = (_WIDTH - left) / count
    parts = [opened(_WIDTH, top + count * cell + bottom, description), *squares(matrix, limits, left, top, cell)]
    for i in range(0, count, -(-count // 13)):
        middle = (i + 0.5) * cell
        parts.append(words(left - 6, top + middle + 3.5, i, "end", ink))
        parts.append(words(left + middle, top - 7, i, "middle", ink))
    return "".join([*parts, *scale(left, top + count * cell + 14, count * cell, limits, ink), "</svg>"])


def squares(matrix: np.ndarray, limits: tuple[float, float], left: float, top: float, cell: float) -> list[str]:
    """The squares of a matrix, of ``cell`` each; what is not finite has no colour."""
    low, high = limits
    span = high - low or 1.0  # of a single layer there is one value
    return [
        f'<rect x="{left + j * cell:.2f}" y="{top + i * cell:.2f}" width="{cell + 0.3:.2f}" height="{cell + 0.3:.2f}" '
        f'fill="{_fill(1.0 if i == j else (matrix[i, j] - low) / span)}">'
        f"<title>H{i} and H{j}: {matrix[i, j]:.4f}</title></rect>"
        for i in range(len(matrix))
        for j in range(len(matrix))
    ]


def scale(x: float, y: float, width: float, limits: tuple[float, float], ink: str = INK) -> list[str]:
    """What the colours mean, as a bar with three numbers."""
    low, high = limits
    steps = 48
    parts = [
        f'<rect x="{x + width * i / steps:.2f}" y="{y:.2f}" width="{width / steps + 0.3:.2f}" height="8" fill="{colour(i / (steps - 1))}"/>'
        for i in range(steps)
    ]
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(words(x + width * share, y + 21, f"{low + share * (high - low):.4f}", anchor, ink))
    return parts


def words(x: float, y: float, content: str | int | float, anchor: str, ink: str = INK) -> str:
    """A text within a drawing."""
    return f'<text x="{x:.2f}" y="{y:.2f}" font-size="10" text-anchor="{anchor}" fill="{ink}">{html.escape(str(content))}</text>'


def opened(width: float, height: float, description: str) -> str:
    """The tag that a drawing begins with."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{html.escape(description, quote=True)}" font-family="sans-serif">'
    )


def _fill(share: float) -> str:
    return colour(share) if np.isfinite(share) else "none"
