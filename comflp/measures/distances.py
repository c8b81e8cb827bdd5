"""Euclidean distances between utterances, and their double centring (Eq. 2 and 3)."""

from __future__ import annotations

import numpy as np


def squared_distances(vectors: np.ndarray) -> np.ndarray:
    """Squared distances of the rows of ``vectors`` (B, D): (B, B) float64, symmetric, with a diagonal of 0.

    They come from one product of the centred rows, which is exact to rounding: distances below 3e-7 of the rows'
    spread cannot be told from 0, and are 0.

    >>> squared_distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[0.0, 25.0], [25.0, 0.0]]
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    vectors = vectors - vectors.mean(axis=0)
    product = vectors @ vectors.T
    norms = np.diag(product)
    size = norms[:, None] + norms[None, :]
    distances = size - 2 * product
    distances[distances < 1e-13 * size] = 0.0
    np.fill_diagonal(distances, 0.0)
    return distances


def centre(distances: np.ndarray) -> np.ndarray:
    """Eq. 3: row means and column means taken off, the mean of all added (the paper's M there is the batch size B)."""
    return distances - distances.mean(axis=0) - distances.mean(axis=1)[:, None] + distances.mean()
