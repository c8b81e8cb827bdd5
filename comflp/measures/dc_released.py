"""Distance correlation as the paper's released code computes it, for comparison with its numbers."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.measures.batches import draw_batches
from comflp.measures.distances import centre, squared_distances
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity


def dc_released(layers: Layers, seed: int = 0, progress: Callable | None = None, *, batch_size: int = 32, num_batch: int = 10) -> np.ndarray:
    """Distance correlation of the released code: rows of length 1, no square root of the ratio.

    It departs from Eq. 2-4: each utterance's vector is divided by its length, 1e-12 is added below the root of Eq. 2
    and 1e-9 below the root of Eq. 4's denominator, and Eq. 4's outer square root is left out. The ``quality`` column of
    the paper's Table 1 is of this kind, with 32 utterances a batch. Its diagonal is V / sqrt(V^2 + 1e-9) there, and 1 here.
    """
    batches = draw_batches(layers.num_utterances, batch_size, num_batch, seed)
    total = np.zeros((len(layers), len(layers)))
    for rows in progress(batches, desc="dc_released") if progress else batches:
        centred = []
        for vectors in layers.rows(rows):
            vectors = vectors.astype(np.float64)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            centred.append(centre(np.sqrt(squared_distances(vectors) + 1e-12)).ravel())
        covariance = np.stack(centred)
        covariance = covariance @ covariance.T / len(rows) ** 2
        variance = np.diag(covariance)
        total += covariance / np.sqrt(np.outer(variance, variance) + 1e-9)
    return as_similarity(total / len(batches))
