"""dc, dc_released and dc_unbiased against dcor, slow transcriptions of the formulas, and values worked out by hand."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.measures import correlation_matrix
from comflp.measures.batches import draw_batches

MEASURES = ("dc", "dc_released", "dc_unbiased")


def related_layers(seed, count=24, widths=(5, 3, 8)):
    """Layers of different widths that share some of what they vary by."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(count, 4))
    return [common @ rng.normal(size=(4, width)) + rng.normal(size=(count, width)) + 3 for width in widths]


def one_batch(layers, measure):
    return correlation_matrix(layers, measure, batch_size=len(layers[0]), num_batch=1)


def test_dc_and_unbiased_are_dcor():
    """One test, so that one process imports dcor: two that compile it at once leave a cache that aborts all later ones."""
    import dcor

    layers = related_layers(0)
    expected = [[dcor.distance_correlation(first, second) for second in layers] for first in layers]
    np.testing.assert_allclose(one_batch(layers, "dc"), expected, rtol=1e-12)
    layers = related_layers(1)
    squares = np.array([[dcor.u_distance_correlation_sqr(first, second) for second in layers] for first in layers])
    np.testing.assert_allclose(one_batch(layers, "dc_unbiased"), np.sqrt(np.maximum(squares, 0)), rtol=1e-12)


def test_three_utterances_by_hand():
    # Distances 1, 1, 2 and 1, 1, 0: V_xx = 40/81, V_yy = 16/81, V_xy = 8/81, so M = (8 / sqrt(640)) ^ (1/2).
    layers = [np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [0.0]])]
    assert one_batch(layers, "dc")[0, 1] == pytest.approx(10 ** -0.25, rel=1e-12)


def test_two_utterances_are_always_fully_correlated():
    layers = [np.array([[0.0, 1.0], [5.0, 2.0]]), np.array([[1.0], [-3.0]])]
    np.testing.assert_allclose(one_batch(layers, "dc"), np.ones((2, 2)))


def test_released_by_loops():
    layers = related_layers(2, count=7)

    def centred(vectors):
        vectors = [row / max(math.sqrt(sum(row**2)), 1e-12) for row in vectors]
        size = len(vectors)
        a = [[math.sqrt(sum((x - y) ** 2) + 1e-12) for y in vectors] for x in vectors]
        rows = [sum(row) / size for row in a]
        return [[a[k][l] - rows[k] - rows[l] + sum(rows) / size for l in range(size)] for k in range(size)]

    def product(first, second):
        return sum(a * b for ra, rb in zip(first, second) for a, b in zip(ra, rb)) / len(first) ** 2

    maps = [centred(vectors) for vectors in layers]
    matrix = one_batch(layers, "dc_released")
    for i in range(3):
        for j in range(i):
            denominator = math.sqrt(product(maps[i], maps[i]) * product(maps[j], maps[j]) + 1e-9)
            assert matrix[i, j] == pytest.approx(product(maps[i], maps[j]) / denominator, rel=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_average_over_batches_of_all_utterances(measure):
    """With B = n/2 and two batches, each half enters once; dc and dc_released are the mean of the two halves."""
    layers = related_layers(3)
    whole = correlation_matrix(layers, measure, seed=5, batch_size=12, num_batch=2)
    order = np.random.default_rng(5).permutation(24)
    halves = [one_batch([layer[rows] for layer in layers], measure) for rows in (order[:12], order[12:])]
    if measure == "dc_unbiased":
        # The covariances are averaged, not their ratios; the halves bound the result only roughly.
        assert np.abs(whole - np.mean(halves, axis=0)).max() < 0.2
    else:
        np.testing.assert_allclose(whole, np.mean(halves, axis=0), rtol=1e-9)


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-50, 50))
def test_dc_ignores_rotation_shift_and_scale(seed, scale, shift):
    layers = related_layers(seed, count=9, widths=(4, 4))
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))
    moved = [layers[0] @ rotation * scale + shift, layers[1]]
    for measure in ("dc", "dc_unbiased"):
        np.testing.assert_allclose(one_batch(moved, measure), one_batch(layers, measure), atol=1e-6)


@given(st.integers(0, 10**6))
def test_order_of_utterances_does_not_matter(seed):
    layers = related_layers(seed, count=9)
    order = np.random.default_rng(seed).permutation(9)
    for measure in MEASURES:
        shuffled = one_batch([layer[order] for layer in layers], measure)
        np.testing.assert_allclose(shuffled, one_batch(layers, measure), atol=1e-7)


def test_v_statistic_is_near_one_for_independent_layers_and_the_u_statistic_is_not():
    hidden = np.random.default_rng(0).normal(size=(40, 2, 768))
    assert correlation_matrix(hidden, "dc", batch_size=4)[0, 1] > 0.99
    assert correlation_matrix(hidden, "dc_unbiased", batch_size=40, num_batch=1)[0, 1] < 0.5


def test_seed_chooses_the_utterances():
    hidden = np.random.default_rng(0).normal(size=(100, 3, 6))
    same = [correlation_matrix(hidden, "dc", seed=seed) for seed in (1, 1, 2)]
    assert (same[0] == same[1]).all() and (same[0] != same[2]).any()


def test_a_batch_larger_than_the_probe_set_is_all_of_it():
    layers = related_layers(0)
    with pytest.warns(UserWarning, match="batch of 30 is more than the 24 utterances"):
        matrix = correlation_matrix(layers, "dc", batch_size=30)
    np.testing.assert_allclose(matrix, one_batch(layers, "dc"))


@pytest.mark.parametrize("measure", ["dc", "dc_unbiased"])
def test_a_constant_layer_correlates_with_nothing(measure):
    layers = related_layers(0) + [np.full((24, 7), 1.1)]
    with pytest.warns(UserWarning, match="layer 3 is the same"):
        matrix = one_batch(layers, measure)
    assert matrix[3].tolist() == [0, 0, 0, 1]


def test_a_batch_in_which_a_layer_is_constant_counts_nothing():
    layers = [layer[:8] for layer in related_layers(0)]
    layers[2][:4] = 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = correlation_matrix(layers, "dc", batch_size=2, num_batch=20, seed=2)
    assert 0 < matrix[1, 2] < 1 == matrix[0, 1], "two utterances alone correlate fully, or not at all where they are the same"


def test_more_batches_than_utterances_shuffle_again():
    layers = related_layers(0, count=5)
    assert np.isfinite(correlation_matrix(layers, "dc", batch_size=4, num_batch=10)).all()


@pytest.mark.parametrize(
    "measure, options, message",
    [
        ("dc", {"batch_size": 1}, "at least 2 utterances"),
        ("dc_unbiased", {"batch_size": 3}, "at least 4 utterances"),
        ("dc", {"num_batch": 0}, "number of batches"),
    ],
)
def test_impossible_batches_are_refused(measure, options, message):
    with pytest.raises(ComflpError, match=message):
        correlation_matrix(related_layers(0), measure, **options)


def test_utterances_are_shuffled_again_when_all_were_drawn():
    batches = draw_batches(9, 4, 6, seed=0)
    assert [len(set(batch)) for batch in batches] == [4] * 6 and len({tuple(sorted(batch)) for batch in batches}) == 6
    for first, second in zip(batches[::2], batches[1::2]):
        assert not set(first) & set(second)
