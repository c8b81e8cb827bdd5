"""Covariances of all pairs of layers in few passes over the utterances, however many there are.

CCA and CKA of layers i and j need no more than X_i' X_i, X_j' X_j and X_i' X_j. One pass gives the means and X_i' X_i
of every layer, in double precision; a second gives X_i' X_j of all pairs, each side first taken to the basis that the
measure wants. What is held is those matrices and one chunk of utterances, not the utterances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

import numpy as np

from comflp.measures.layers import Layers

PRODUCT_BYTES = 3 << 29
"""Cross products held at once (1.5 GiB); with more, the utterances are read again for each further group of pairs."""


@dataclass(frozen=True)
class Moments:
    """Of one layer over n utterances: mean (D,), gram (D, D) = sum of (x - mean)(x - mean)', both float64."""

    mean: np.ndarray
    gram: np.ndarray
    constant: bool


def moments(layers: Layers, progress: Callable | None = None) -> list[Moments]:
    """The :class:`Moments` of every layer, in one pass."""
    shift, sums, grams = None, None, None
    for chunk in layers.chunks(progress, "covariances"):
        if shift is None:
            # Taking a first mean off keeps the products small where a layer's mean is far larger than its spread.
            shift = [part.mean(axis=0, dtype=np.float64) for part in chunk]
            sums = [np.zeros(width) for width in layers.widths]
            grams = [np.zeros((width, width)) for width in layers.widths]
        for layer, part in enumerate(chunk):
            shifted = part - shift[layer]
            sums[layer] += shifted.sum(axis=0)
            grams[layer] += shifted.T @ shifted
    count = layers.num_utterances
    result = []
    for layer in range(len(layers)):
        rest = sums[layer] / count
        mean = shift[layer] + rest
        gram = grams[layer] - count * np.outer(rest, rest)
        # Variation at the size of the input's own rounding is none.
        smallest = (4 * np.finfo(layers.dtype).eps) ** 2 * (mean @ mean)
        result.append(Moments(mean, gram, constant=bool(np.trace(gram) / count <= smallest)))
    return result


def cross_products(
    layers: Layers,
    means: Sequence[np.ndarray],
    bases: Sequence[np.ndarray],
    progress: Callable | None = None,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (i, j, Z_i' Z_j) for all i < j, where Z_i = (X_i - mean_i) basis_i.

    means: L+1 arrays (D_i,); bases: L+1 arrays (D_i, k_i), scaled so that Z_i has entries of the order 1/sqrt(n).
    The product (k_i, k_j) is in the precision of the input: float32 for float32, after a change of basis in float64.
    """
    for group in _groups([basis.shape[1] for basis in bases], np.dtype(layers.dtype).itemsize):
        first = group[0]
        widths = [basis.shape[1] for basis in bases]
        starts = np.cumsum([0] + widths[first:])
        products = {i: np.zeros((widths[i], starts[-1] - starts[i - first + 1]), layers.dtype) for i in group}
        for chunk in layers.chunks(progress, "pairs of layers"):
            joint = np.empty((len(chunk[0]), starts[-1]), layers.dtype)
            for layer in range(first, len(layers)):
                place = slice(starts[layer - first], starts[layer - first + 1])
                joint[:, place] = (chunk[layer] - means[layer]) @ bases[layer]
            for i in group:
                own, others = slice(starts[i - first], starts[i - first + 1]), slice(starts[i - first + 1], None)
                products[i] += joint[:, own].T @ joint[:, others]
        for i in group:
            row = products.pop(i)
            offset = starts[i - first + 1]
            for j in range(i + 1, len(layers)):
                yield i, j, row[:, starts[j - first] - offset : starts[j - first + 1] - offset]


def _groups(widths: Sequence[int], itemsize: int) -> Iterator[list[int]]:
    """Successive first layers i whose products with all later layers fit ``PRODUCT_BYTES`` together (at least one)."""
    group, size = [], 0
    for i in range(len(widths) - 1):
        row = itemsize * widths[i] * sum(widths[i + 1 :])
        if group and size + row > PRODUCT_BYTES:
            yield group
            group, size = [], 0
        group.append(i)
        size += row
    yield group
