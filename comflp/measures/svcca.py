"""Singular vector canonical correlation analysis (Section 2.1.1; Raghu et al., NeurIPS 2017)."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.measures.covariance import cross_products, moments
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity, warn_constant, warn_few
from comflp.measures.subspaces import check_share, leading, principal_subspace


def svcca(layers: Layers, seed: int = 0, progress: Callable | None = None, *, variance: float = 0.99) -> np.ndarray:
    """Mean canonical correlation of the directions that hold 99% of each layer's variance.

    variance: the share of variance, that is of the squared singular values, that is kept of each layer.
    All utterances are used (the paper: 9,600). Time: two passes over them and one small decomposition a pair.
    A layer that does not vary correlates with nothing: 0, with a warning. ``seed`` has no part in it.
    """
    check_share("variance", variance)
    return mean_canonical_correlation(layers, lambda variances: leading(variances, variance), progress)


def mean_canonical_correlation(layers: Layers, count: Callable, progress: Callable | None = None) -> np.ndarray:
    """SVCCA with ``count(variances)`` directions a layer, given the eigenvalues of X' X, largest first.

    With Z_i the orthonormal columns that span a layer's kept directions, the canonical correlations of layers i and j
    are the singular values of Z_i' Z_j. Their mean is over the smaller number of directions of the two.
    """
    warn_few("SVCCA", layers.num_utterances, max(layers.widths))
    statistics = moments(layers, progress)
    warn_constant([layer for layer, moment in enumerate(statistics) if moment.constant])
    bases = [principal_subspace(moment, count).basis for moment in statistics]
    matrix = np.zeros((len(layers), len(layers)))
    for i, j, product in cross_products(layers, [moment.mean for moment in statistics], bases, progress):
        if product.size:
            matrix[i, j] = matrix[j, i] = singular_value_sum(product) / min(product.shape)
    return as_similarity(matrix)


def singular_value_sum(product: np.ndarray) -> float:
    """Sum of the singular values of ``product``, none above 1, from the eigenvalues of its smaller Gram matrix."""
    product = product.astype(np.float64)
    gram = product @ product.T if product.shape[0] <= product.shape[1] else product.T @ product
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, 1)).sum())
