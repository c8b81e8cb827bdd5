"""Layer strips, grids of error rates and rows of heat maps, written as SVG by hand: plain rectangles with tooltips."""

from __future__ import annotations

import html
from typing import Mapping, Sequence

import numpy as np

from comflp.measures.heat_map import colour, opened, scale, squares, value_range, words
from comflp.proposal import Proposal

_MUTED = "var(--muted)"


def strips(proposal: Proposal, stacks: Mapping[str, int], width: int = 260) -> str:
    """Each stack as a row of layers, one below the other: filled ones stay, hollow ones are removed."""
    names = list(stacks) if len(stacks) > 1 else []
    step = 26 + 15 * bool(names)
    most = max(stacks.values())
    parts = [opened(width, step * len(stacks), f"layers removed: {proposal}")]
    for row, (stack, num_layers) in enumerate(stacks.items()):
        cell, top = width / most, row * step + 15 * bool(names)
        gap = min(3.0, cell * 0.18)
        removed = set(proposal.of(stack).removed)
        if names:
            parts.append(words(gap / 2, top - 4, stack, "start", _MUTED))
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
    """Error rates by what two stacks lose: a square each, with the number in it. labels: the names of rows and columns."""
    cell, left, top = 58, 52, 44
    values = list(rates.values())
    low, high = min(values), max(max(values), min(values) + 1e-9)
    parts = [opened(max(left + cell * len(columns) + 6, 420), top + cell * len(rows) + 6, description),
             words(left, 12, f"{labels[1]} layers removed →", "start", _MUTED), words(2, top - 8, f"↓ {labels[0]}", "start", _MUTED)]
    for place, column in enumerate(columns):
        parts.append(words(left + (place + 0.5) * cell, top - 8, column, "middle", _MUTED))
    for line, row in enumerate(rows):
        y = top + line * cell
        parts.append(words(left - 10, y + cell / 2 + 4, row, "end", _MUTED))
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
    parts = [opened(width, height, description)]
    for column, epoch in enumerate(epochs):
        parts.append(words(column * (size + gap) + size / 2, 10, f"epoch {epoch}", "middle", _MUTED))
    for index, (label, snapshots) in enumerate(rows):
        y = 16 + index * row_height
        parts.append(f'<text x="0" y="{y + 12}" font-size="11" fill="var(--ink)">{html.escape(label)}</text>')
        for column, epoch in enumerate(epochs):
            if epoch in snapshots:
                matrix = snapshots[epoch]
                parts += squares(matrix, limits, column * (size + gap), y + label_height, size / len(matrix))
    parts += scale(0, height - 34, min(width, 320), limits, _MUTED)
    return "".join([*parts, "</svg>"])
