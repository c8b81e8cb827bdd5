"""Linear centred kernel alignment (Kornblith et al., "Similarity of Neural Network Representations ...", ICML 2019)."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from comflp.errors import ComflpError
from comflp.measures.covariance import cross_products, moments
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity, ratio, warn_constant


def cka(layers: Layers, seed: int = 0, progress: Callable | None = None, *, debiased: bool = False) -> np.ndarray:
    """Linear centred kernel alignment: ||X'Y||^2 / (||X'X|| ||Y'Y||) of centred X, Y.

    debiased: use the unbiased estimate of HSIC (Song et al., JMLR 2012), which does not rise towards 1 where there are
        fewer utterances than values; it needs at least 4 utterances, and a negative estimate becomes 0.
    """
    if debiased and layers.num_utterances < 4:
        raise ComflpError(f"debiased CKA needs at least 4 utterances, not {layers.num_utterances}")
    statistics = moments(layers, progress)
    warn_constant([layer for layer, moment in enumerate(statistics) if moment.constant])
    # Each layer is scaled to a total variance of 1: CKA does not change, and nothing over- or underflows.
    scales = [0.0 if moment.constant else 1 / np.sqrt(np.trace(moment.gram)) for moment in statistics]
    means = [moment.mean for moment in statistics]
    bases = [scale * np.eye(width) for scale, width in zip(scales, layers.widths)]
    hsic = np.diag([np.sum((moment.gram * scale**2) ** 2) for moment, scale in zip(statistics, scales)])
    for i, j, product in cross_products(layers, means, bases, progress):
        hsic[i, j] = hsic[j, i] = np.sum(product.astype(np.float64) ** 2)
    if debiased:
        hsic = _debias(hsic, layers, means, scales)
    return as_similarity(ratio(hsic, np.maximum(np.diag(hsic), 0)))


def _debias(hsic: np.ndarray, layers: Layers, means: Sequence[np.ndarray], scales: Sequence[float]) -> np.ndarray:
    """Song et al.'s HSIC_1 times n(n-3), written for centred linear kernels K = XX', L = YY'.

    Centring makes the rows of K sum to 0, so with k the diagonal of K (squared lengths of the rows of X) and l that
    of L: tr(K~L~) = ||X'Y||^2 - k'l, 1'K~1 = -sum k, 1'K~L~1 = k'l, where ~ sets the diagonal to 0.
    """
    count = layers.num_utterances
    products, totals = np.zeros_like(hsic), np.zeros(len(layers))
    for chunk in layers.chunks():
        lengths = np.stack([
            np.sum(((part - mean) * scale) ** 2, axis=1) for part, mean, scale in zip(chunk, means, scales)
        ])
        products += lengths @ lengths.T
        totals += lengths.sum(axis=1)
    return (
        hsic - products + np.outer(totals, totals) / ((count - 1) * (count - 2)) - 2 / (count - 2) * products
    )
