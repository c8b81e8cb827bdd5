"""cka, cosine and angular against their definitions, written out."""

import math

import numpy as np
import pytest

from comflp.errors import ComflpError
from comflp.measures import correlation_matrix


@pytest.fixture
def hidden():
    return np.random.default_rng(0).normal(size=(12, 4, 6)).cumsum(axis=1) + 0.5


def test_cka_from_kernels(hidden):
    count = len(hidden)
    centring = np.eye(count) - 1 / count
    kernels = [centring @ hidden[:, i] @ hidden[:, i].T @ centring for i in range(4)]
    hsic = np.array([[np.sum(first * second) for second in kernels] for first in kernels])
    expected = hsic / np.sqrt(np.outer(np.diag(hsic), np.diag(hsic)))
    np.testing.assert_allclose(correlation_matrix(hidden, "cka"), expected, rtol=1e-10)


def test_debiased_cka_from_kernels(hidden):
    """HSIC_1 of Song et al. (2012), Eq. 5, on kernels that are not centred."""
    n = len(hidden)
    kernels = [hidden[:, i] @ hidden[:, i].T for i in range(4)]
    for kernel in kernels:
        np.fill_diagonal(kernel, 0)

    def hsic(k, l):
        middle = k.sum() * l.sum() / ((n - 1) * (n - 2))
        return (np.trace(k @ l) + middle - 2 / (n - 2) * (k @ l).sum()) / (n * (n - 3))

    expected = np.array([
        [hsic(k, l) / math.sqrt(hsic(k, k) * hsic(l, l)) for l in kernels] for k in kernels
    ])
    np.testing.assert_allclose(correlation_matrix(hidden, "cka", debiased=True), np.maximum(expected, 0), rtol=1e-9)


def test_debiased_cka_of_independent_layers_is_small():
    hidden = np.random.default_rng(1).normal(size=(30, 2, 300))
    assert correlation_matrix(hidden, "cka")[0, 1] > 0.8
    assert correlation_matrix(hidden, "cka", debiased=True)[0, 1] < 0.2
    with pytest.raises(ComflpError, match="at least 4"):
        correlation_matrix(hidden[:3], "cka", debiased=True)


def test_cosine_and_angular_by_loops(hidden):
    cosines = np.array([
        [[row[i] @ row[j] / math.sqrt(row[i] @ row[i] * (row[j] @ row[j])) for j in range(4)] for i in range(4)]
        for row in hidden
    ])
    np.testing.assert_allclose(correlation_matrix(hidden, "cosine"), np.clip(cosines.mean(axis=0), 0, 1), rtol=1e-12)
    angles = np.arccos(np.clip(cosines, -1, 1)).mean(axis=0)
    np.testing.assert_allclose(correlation_matrix(hidden, "angular"), 1 - angles / math.pi, rtol=1e-7)


def test_right_angle_opposite_and_zero_vectors():
    layers = [np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), np.array([[-3.0, 0.0]]), np.array([[0.0, 0.0]])]
    assert correlation_matrix(layers, "cosine")[0].tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(correlation_matrix(layers, "angular")[0], [1, 0.5, 0, 0.5])


@pytest.mark.parametrize("measure", ["cosine", "angular"])
def test_layers_of_different_width_cannot_be_compared(measure):
    with pytest.raises(ComflpError, match="one width"):
        correlation_matrix([np.ones((3, 2)), np.ones((3, 4))], measure)
