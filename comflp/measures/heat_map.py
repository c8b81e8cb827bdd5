"""The correlation matrix as a picture."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

MOST_ANNOTATED = 33
"""Rows up to which each value is printed in its cell."""


def heat_map(matrix: np.ndarray, title: str) -> Figure:
    """A figure of M (L+1, L+1), H_0 at the lower left; with four decimals in the cells up to 32 layers.

    Neighbouring layers are often within 0.01 of each other, which two decimals do not show.
    """
    size = len(matrix)
    annotated = size <= MOST_ANNOTATED
    side = min(3 + 0.55 * size, 22) if annotated else 9
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    shown = np.ma.masked_invalid(matrix)
    image = axes.imshow(shown, origin="lower", cmap="viridis")
    middle = (shown.min() + shown.max()) / 2
    if annotated:
        for (row, column), value in np.ndenumerate(matrix):
            colour = "white" if value < middle else "black"
            axes.text(column, row, f"{value:.4f}", ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(size))
        axes.set_yticks(range(size))
    axes.set_xlabel("output of layer (0: what enters layer 1)")
    axes.set_ylabel("output of layer")
    axes.set_title(title)
    figure.colorbar(image, shrink=0.8)
    return figure
