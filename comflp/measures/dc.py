"""Distance correlation (Section 2.1.2, Eq. 2-4)."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.measures.batches import draw_batches
from comflp.measures.distances import centre, squared_distances
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity, ratio, warn_constant


def dc(layers: Layers, seed: int = 0, progress: Callable | None = None, *, batch_size: int = 4, num_batch: int = 10) -> np.ndarray:
    """Distance correlation, Eq. 2-4, averaged over batches of utterances.

    batch_size: B of the paper; num_batch: batches that the matrix is averaged over. seed: seed for the random draw of batches.
    Memory: 8 (L+1) B^2 bytes. The value is the V-statistic's, as in the paper: for few utterances of many dimensions
    it is near 1 whatever the layers hold, 0.999 for independent 768-dimensional Gaussians with B=4. A batch in which a layer
    is the same for all utterances counts 0 for that layer; a layer that is so in every batch is warned of.
    """
    batches = draw_batches(layers.num_utterances, batch_size, num_batch, seed)
    total = np.zeros((len(layers), len(layers)))
    constant = set(range(len(layers)))
    for rows in progress(batches, desc="dc") if progress else batches:
        centred = [centre(np.sqrt(squared_distances(vectors))).ravel() for vectors in layers.rows(rows)]
        covariance = np.stack(centred)
        covariance = covariance @ covariance.T / len(rows) ** 2
        variance = np.diag(covariance)
        constant.intersection_update(np.flatnonzero(variance <= 0))
        total += np.sqrt(np.maximum(ratio(covariance, variance), 0))
    warn_constant(constant)
    return as_similarity(total / len(batches))
