"""Projection weighted CCA (Morcos, Raghu and Bengio, "Insights on representational similarity ...", NeurIPS 2018)."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.measures.covariance import cross_products, moments
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity, warn_constant, warn_few
from comflp.measures.subspaces import check_share, leading, principal_subspace


def pwcca(layers: Layers, seed: int = 0, progress: Callable | None = None, *, variance: float = 1.0) -> np.ndarray:
    """Canonical correlations weighted by how much of a layer each canonical direction explains.

    variance: share of each layer's variance whose directions enter; 1 is all of them, as in the paper above.
    The weight of a direction is the sum over the layer's neurons of its absolute projection on them. That is
    another for each of the two layers, so the value is the mean of both.
    """
    check_share("variance", variance)
    warn_few("PWCCA", layers.num_utterances, max(layers.widths))
    statistics = moments(layers, progress)
    warn_constant([layer for layer, moment in enumerate(statistics) if moment.constant])
    subspaces = [principal_subspace(moment, lambda variances: leading(variances, variance)) for moment in statistics]
    matrix = np.zeros((len(layers), len(layers)))
    means, bases = [moment.mean for moment in statistics], [subspace.basis for subspace in subspaces]
    for i, j, product in cross_products(layers, means, bases, progress):
        if product.size:
            left, correlations, right = np.linalg.svd(product.astype(np.float64), full_matrices=False)
            correlations = np.clip(correlations, 0, 1)
            one = np.abs(left.T @ subspaces[i].loadings).sum(axis=1)
            other = np.abs(right @ subspaces[j].loadings).sum(axis=1)
            matrix[i, j] = (one @ correlations / one.sum() + other @ correlations / other.sum()) / 2
            matrix[j, i] = matrix[i, j]
    return as_similarity(matrix)
