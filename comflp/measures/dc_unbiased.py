"""Distance correlation from unbiased estimates (the U-statistic)."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.measures.batches import draw_batches
from comflp.measures.distances import squared_distances
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity, ratio, warn_constant


def dc_unbiased(layers: Layers, seed: int = 0, progress: Callable | None = None, *, batch_size: int = 32, num_batch: int = 10) -> np.ndarray:
    """Bias-corrected distance correlation: 0 on average for independent layers, at any batch size.

    Szekely and Rizzo, "Partial distance correlation with methods for dissimilarities", Annals of Statistics 2014: the
    distances are U-centred, so that the products are unbiased estimates of the squared distance covariance. These are
    averaged over the batches before the ratio of Eq. 4 is taken. A negative estimate becomes 0.
    """
    batches = draw_batches(layers.num_utterances, batch_size, num_batch, seed, smallest=4)
    covariance = np.zeros((len(layers), len(layers)))
    for rows in progress(batches, desc="dc_unbiased") if progress else batches:
        size = len(rows)
        centred = np.stack([u_centre(np.sqrt(squared_distances(vectors))).ravel() for vectors in layers.rows(rows)])
        covariance += centred @ centred.T / (size * (size - 3))
    variance = np.maximum(np.diag(covariance), 0)
    warn_constant(np.flatnonzero(variance == 0))
    return as_similarity(np.sqrt(np.clip(ratio(covariance, variance), 0, 1)))


def u_centre(distances: np.ndarray) -> np.ndarray:
    """U-centring of a (B, B) distance matrix, B >= 4: rows and columns of the result sum to 0, its diagonal is 0."""
    size = len(distances)
    rows = distances.sum(axis=1) / (size - 2)
    centred = distances - rows[:, None] - rows[None, :] + distances.sum() / ((size - 1) * (size - 2))
    np.fill_diagonal(centred, 0.0)
    return centred
