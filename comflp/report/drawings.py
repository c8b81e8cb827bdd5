"""Heat maps and layer strips, written as SVG by hand: plain rectangles with tooltips."""

from __future__ import annotations

import html
from typing import Mapping, Sequence

import numpy as np

from comflp.proposal import Proposal

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
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def heat_map(matrix: np.ndarray, limits: tuple[float, float], description: str, size: int = 360) -> str:
    """M as (L+1)^2 squares with a scale below; row 0 at the top, as a printed matrix."""
    count = len(matrix)
    left, top, bottom = 30, 22, 46
    cell = (size - left) / count
    parts = [_open(size, top + count * cell + bottom, description), *_squares(matrix, limits, left, top, cell)]
    for i in range(0, count, -(-count // 13)):
        middle = (i + 0.5) * cell
        parts.append(_text(left - 6, top + middle + 3.5, i, "end"))
        parts.append(_text(left + middle, top - 7, i, "middle"))
    return "".join([*parts, *_scale(left, top + count * cell + 14, count * cell, limits), "</svg>"])


def strips(proposal: Proposal, stacks: Mapping[str, int], width: int = 260) -> str:
    """Each stack as a row of layers, one below the other: filled ones stay, hollow ones are removed."""
    names = list(stacks) if len(stacks) > 1 else []
    step = 26 + 15 * bool(names)
    most = max(stacks.values())
    parts = [_open(width, step * len(stacks), f"layers removed: {proposal}")]
    for row, (stack, num_layers) in enumerate(stacks.items()):
        cell, top = width / most, row * step + 15 * bool(names)
        gap = min(3.0, cell * 0.18)
        removed = set(proposal.of(stack).removed)
        if names:
            parts.append(_text(gap / 2, top - 4, stack, "start"))
        for layer in range(1, num_layers + 1):
            gone = layer in removed
            style = 'fill="none" stroke="var(--muted)" stroke-dasharray="2.5 2"' if gone else 'fill="var(--blue)"'
            x = (layer - 1) * cell + gap / 2
            parts.append(
                f'<g><title>{stack} layer {layer}: {"removed" if gone else "kept"}</title>'
                f'<rect x="{x:.2f}" y="{top + 2}" width="{cell - gap:.2f}" height="20" rx="{min(3.0, cell / 5):.1f}" {style}/>'
            )
            if cell >= 13:
                ink = "var(--muted)" if gone else "var(--page)"
                parts.append(f'<text x="{x + (cell - gap) / 2:.2f}" y="{top + 16}" font-size="10.5" text-anchor="middle" fill="{ink}">{layer}</text>')
            parts.append("</g>")
    return "".join([*parts, "</svg>"])


def rate_grid(rates: Mapping[tuple[int, int], float], rows: Sequence[int], columns: Sequence[int], labels: tuple[str, str],
              description: str) -> str:
    """Error rates by what two stacks lose: a square each, with the number in it. labels: of rows and columns."""
    cell, left, top = 58, 52, 44
    values = list(rates.values())
    low, high = min(values), max(max(values), min(values) + 1e-9)
    parts = [_open(max(left + cell * len(columns) + 6, 420), top + cell * len(rows) + 6, description),
             _text(left, 12, f"{labels[1]} layers removed →", "start"), _text(2, top - 8, f"↓ {labels[0]}", "start")]
    for place, column in enumerate(columns):
        parts.append(_text(left + (place + 0.5) * cell, top - 8, column, "middle"))
    for line, row in enumerate(rows):
        y = top + line * cell
        parts.append(_text(left - 10, y + cell / 2 + 4, row, "end"))
        for place, column in enumerate(columns):
            rate = rates.get((row, column))
            if rate is not None:
                share = 1 - (rate - low) / (high - low)
                ink = "#0d1942" if share > 0.6 else "#ffffff"
                parts.append(
                    f'<g><title>{labels[0]} {row}, {labels[1]} {column} removed: {rate:.2f}%</title><rect x="{left + place * cell + 1}" '
                    f'y="{y + 1}" width="{cell - 2}" height="{cell - 2}" rx="4" fill="{colour(share)}"/><text x="{left + (place + 0.5) * cell}" '
                    f'y="{y + cell / 2 + 4}" font-size="12" text-anchor="middle" fill="{ink}">{rate:.1f}</text></g>'
                )
    return "".join([*parts, "</svg>"])


def snapshot_grid(rows: Sequence[tuple[str, dict[int, np.ndarray]]], description: str) -> str:
    """Heat maps of models in training, a row a model and a column an epoch, on one scale (Fig. 3 b)."""
    epochs = sorted({epoch for _, snapshots in rows for epoch in snapshots})
    limits = value_range([matrix for _, snapshots in rows for matrix in snapshots.values()])
    size, label_height, gap = 104, 17, 8
    width = max(len(epochs) * (size + gap) - gap, 440)
    row_height = size + label_height + gap
    height = 16 + len(rows) * row_height + 46
    parts = [_open(width, height, description)]
    for column, epoch in enumerate(epochs):
        parts.append(_text(column * (size + gap) + size / 2, 10, f"epoch {epoch}", "middle"))
    for index, (label, snapshots) in enumerate(rows):
        y = 16 + index * row_height
        parts.append(f'<text x="0" y="{y + 12}" font-size="11" fill="var(--ink)">{html.escape(label)}</text>')
        for column, epoch in enumerate(epochs):
            if epoch in snapshots:
                matrix = snapshots[epoch]
                parts += _squares(matrix, limits, column * (size + gap), y + label_height, size / len(matrix))
    parts += _scale(0, height - 34, min(width, 320), limits)
    return "".join([*parts, "</svg>"])


def _squares(matrix: np.ndarray, limits: tuple[float, float], left: float, top: float, cell: float) -> list[str]:
    low, high = limits
    return [
        f'<rect x="{left + j * cell:.2f}" y="{top + i * cell:.2f}" width="{cell + 0.3:.2f}" height="{cell + 0.3:.2f}" '
        f'fill="{colour(1.0 if i == j else (matrix[i, j] - low) / (high - low))}">'
        f"<title>H{i} and H{j}: {matrix[i, j]:.4f}</title></rect>"
        for i in range(len(matrix))
        for j in range(len(matrix))
    ]


def _scale(x: float, y: float, width: float, limits: tuple[float, float]) -> list[str]:
    low, high = limits
    steps = 48
    parts = [
        f'<rect x="{x + width * i / steps:.2f}" y="{y:.2f}" width="{width / steps + 0.3:.2f}" height="8" fill="{colour(i / (steps - 1))}"/>'
        for i in range(steps)
    ]
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(_text(x + width * share, y + 21, f"{low + share * (high - low):.4f}", anchor))
    return parts


def _text(x: float, y: float, content: str | int | float, anchor: str) -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" font-size="10" text-anchor="{anchor}" fill="var(--muted)">{content}</text>'


def _open(width: float, height: float, description: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{html.escape(description, quote=True)}" font-family="sans-serif">'
    )
