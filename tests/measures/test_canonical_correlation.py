"""svcca, svcca_released and pwcca against CCA computed pair by pair from the activations, by QR and SVD."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.measures import correlation_matrix, covariance
from comflp.measures import layers as layers_module


def layers_of(seed, count=200, widths=(6, 9, 4), dtype=np.float64):
    """Layers that share a few strong directions; each has directions of very different strength."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(count, 5))
    made = []
    for width in widths:
        strengths = 0.5 ** np.arange(width)
        mixed = common @ rng.normal(size=(5, width)) + 0.7 * rng.normal(size=(count, width))
        made.append((mixed * strengths @ rng.normal(size=(width, width)) + 10).astype(dtype))
    return made


def directions(layer, share, power):
    """Left singular vectors of the centred layer that hold ``share`` of the sum of its singular values ** power."""
    left, values, right = np.linalg.svd(layer - layer.mean(axis=0), full_matrices=False)
    parts = np.cumsum(values**power) / np.sum(values**power)
    kept = int(np.argmax(parts >= share - 1e-12)) + 1
    return left[:, :kept] * values[:kept], (values[:kept, None] * right[:kept])


def pair_svcca(first, second, share, power):
    bases = [np.linalg.qr(directions(layer, share, power)[0])[0] for layer in (first, second)]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()


def pair_pwcca(first, second):
    """Morcos et al., Section 3: rho_i weighted by sum_j |<h_i, x_j>|, both ways round."""
    bases = [np.linalg.qr(layer - layer.mean(axis=0))[0] for layer in (first, second)]
    left, rho, right = np.linalg.svd(bases[0].T @ bases[1], full_matrices=False)
    values = []
    for layer, variates in ((first, bases[0] @ left), (second, bases[1] @ right.T)):
        weights = np.abs(variates.T @ (layer - layer.mean(axis=0))).sum(axis=1)
        values.append(np.sum(weights * rho) / np.sum(weights))
    return np.mean(values)


def matrix_of(layers, pair):
    return [[1 if i == j else pair(layers[i], layers[j]) for j in range(len(layers))] for i in range(len(layers))]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_svcca_pair_by_pair(share):
    layers = layers_of(0)
    expected = matrix_of(layers, lambda first, second: pair_svcca(first, second, share, power=2))
    np.testing.assert_allclose(correlation_matrix(layers, "svcca", variance=share), expected, atol=1e-7)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_svcca_released_counts_singular_values(share):
    layers = layers_of(1)
    expected = matrix_of(layers, lambda first, second: pair_svcca(first, second, share, power=1))
    np.testing.assert_allclose(correlation_matrix(layers, "svcca_released", share=share), expected, atol=1e-7)


def test_released_keeps_more_directions():
    """On singular values 1/k of 768, 99% of the variance is 56 directions, 99% of the singular values 715."""
    from comflp.measures.subspaces import leading

    values = 1 / np.arange(1, 769)
    assert (leading(values**2, 0.99), leading(values, 0.99)) == (56, 715)


def test_pwcca_pair_by_pair():
    layers = layers_of(2)
    np.testing.assert_allclose(correlation_matrix(layers, "pwcca"), matrix_of(layers, pair_pwcca), atol=1e-7)


def test_one_dimension_is_the_absolute_correlation():
    """By hand: x = -1, 0, 1 and y = -1, 0, 2 centred have the products 3, 2 and 14/3."""
    layers = [np.array([[-1.0], [0.0], [1.0]]), np.array([[1.0], [0.0], [-2.0]])]
    for measure in ("svcca", "svcca_released", "pwcca"):
        with pytest.warns(UserWarning, match="from 3 utterances"):
            matrix = correlation_matrix(layers, measure)
        assert matrix[0, 1] == pytest.approx(3 / np.sqrt(2 * 14 / 3))


@given(st.integers(0, 10**6))
def test_invertible_linear_maps_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(60, 4)), rng.normal(size=(60, 4))]
    layers[1] += layers[0]
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    mapped = [layers[0] @ (rotation * [1, 2, 4, 8]) - 7, layers[1]]
    np.testing.assert_allclose(
        correlation_matrix(mapped, "svcca", variance=1.0), correlation_matrix(layers, "svcca", variance=1.0), atol=1e-6
    )
    rotated = [layers[0] @ rotation * 3, layers[1]]
    np.testing.assert_allclose(correlation_matrix(rotated, "svcca"), correlation_matrix(layers, "svcca"), atol=1e-6)


@given(st.integers(0, 10**6))
@example(201556)  # an ill-conditioned one, all of whose directions pwcca reads
def test_order_of_utterances_does_not_matter(seed):
    layers = layers_of(seed, count=80)
    order = np.random.default_rng(seed).permutation(80)
    # Gram matrices square the condition number, and with it the rounding of their sums; svcca leaves the weak directions out.
    rounding = np.finfo(float).eps * max(np.linalg.cond(layer - layer.mean(axis=0)) for layer in layers) ** 2
    for measure, atol in (("svcca", 1e-6), ("pwcca", max(1e-6, rounding))):
        shuffled = correlation_matrix([layer[order] for layer in layers], measure)
        np.testing.assert_allclose(shuffled, correlation_matrix(layers, measure), atol=atol)


def test_single_precision_is_close():
    """The same values, of precision float32 both times, computed in single and in double precision."""
    layers = layers_of(3, count=500, widths=(20, 20, 20), dtype=np.float32)
    for measure in ("svcca", "svcca_released", "pwcca", "cka"):
        double = correlation_matrix([layer.astype(np.float64) for layer in layers], measure)
        single = correlation_matrix(layers, measure)
        np.testing.assert_allclose(single, double, atol=1e-6)


@pytest.mark.parametrize("measure", ["svcca", "pwcca", "cka"])
def test_chunks_and_groups_of_pairs_change_nothing(measure, monkeypatch, tmp_path):
    """The same from a file, in chunks of a few utterances, with the pairs in several groups."""
    hidden = np.stack(layers_of(4, widths=(5, 5, 5, 5, 5)), axis=1)
    expected = correlation_matrix(hidden, measure)
    np.save(tmp_path / "hidden.npy", hidden)
    mapped = np.load(tmp_path / "hidden.npy", mmap_mode="r")
    monkeypatch.setattr(layers_module, "CHUNK_VALUES", 7 * 25)
    monkeypatch.setattr(covariance, "PRODUCT_BYTES", 8 * 25 * 5)
    np.testing.assert_allclose(correlation_matrix(mapped, measure), expected, atol=1e-9)


def test_few_utterances_are_warned_about():
    hidden = np.random.default_rng(0).normal(size=(10, 3, 20))
    with pytest.warns(UserWarning, match="100 to 200"):
        matrix = correlation_matrix(hidden, "svcca")
    assert ((0 <= matrix) & (matrix <= 1)).all()


def test_rank_deficient_layers():
    """A layer whose columns repeat has the rank of one of the copies; its noise-free directions alone count."""
    layers = layers_of(5)
    doubled = [np.hstack([layers[0], layers[0]]), layers[1]]
    for measure in ("svcca", "pwcca"):
        expected = correlation_matrix(layers[:2], measure)
        np.testing.assert_allclose(correlation_matrix(doubled, measure), expected, atol=1e-6)
    single = [layer.astype(np.float32) for layer in doubled]
    np.testing.assert_allclose(correlation_matrix(single, "svcca"), correlation_matrix(layers[:2], "svcca"), atol=1e-5)


@pytest.mark.parametrize("measure", ["svcca", "svcca_released", "pwcca", "cka"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_layer_correlates_with_nothing(measure, dtype):
    layers = [layer.astype(dtype) for layer in layers_of(6)] + [np.full((200, 3), 1.1, dtype)]
    with pytest.warns(UserWarning, match="layer 3 is the same"):
        matrix = correlation_matrix(layers, measure)
    assert matrix[3].tolist() == [0, 0, 0, 1]
    assert matrix[0, 1] > 0.1


@pytest.mark.parametrize("measure, option", [("svcca", "variance"), ("svcca_released", "share"), ("pwcca", "variance")])
@pytest.mark.parametrize("value", [0, 1.01, -1])
def test_shares_are_above_0_and_at_most_1(measure, option, value):
    with pytest.raises(ComflpError, match=option):
        correlation_matrix(layers_of(0), measure, **{option: value})
