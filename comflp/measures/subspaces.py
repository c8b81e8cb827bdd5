"""The principal subspace of a layer: what SVCCA and PWCCA whiten each layer to before CCA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from comflp.errors import ComflpError
from comflp.measures.covariance import Moments

RELATIVE_RANK = 1e-12
"""Directions with less than this share of the largest one's variance are rounding, not rank."""


@dataclass(frozen=True)
class Subspace:
    """Of a layer X, centred, (n, D): ``basis`` (D, k) makes the columns of X basis orthonormal.

    loadings: (k, D) = (X basis)' X, what each of these columns has of each neuron.
    """

    basis: np.ndarray
    loadings: np.ndarray


def principal_subspace(moments: Moments, count: Callable[[np.ndarray], int]) -> Subspace:
    """The first ``count(variances)`` principal directions; ``variances`` are the eigenvalues, largest first."""
    if moments.constant:
        width = len(moments.mean)
        return Subspace(np.zeros((width, 0)), np.zeros((0, width)))
    variances, directions = np.linalg.eigh(moments.gram)
    variances, directions = variances[::-1], directions[:, ::-1]
    rank = int(np.sum(variances > RELATIVE_RANK * variances[0]))
    kept = min(count(np.maximum(variances[:rank], 0)), rank)
    scale = np.sqrt(variances[:kept])
    return Subspace(directions[:, :kept] / scale, (directions[:, :kept] * scale).T)


def check_share(name: str, share: float) -> None:
    """ComflpError unless ``share`` is in (0, 1]."""
    if not 0 < share <= 1:
        raise ComflpError(f"--{name} is a share above 0 and at most 1, not {share}")


def leading(values: np.ndarray, share: float) -> int:
    """The least number of leading ``values`` whose sum is at least ``share`` of all.

    >>> leading(np.array([90.0, 9.0, 1.0]), 0.99)
    2
    """
    cumulative = np.cumsum(values)
    return int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-14))) + 1
