"""Coarse search against every proposal scored from its definition, and the beam against Algorithm 1 written out."""

import heapq
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, coarse_search, coarse_searches
from comflp.search.coarse.search import METHODS, beam_against_exact, found_of_best
from fixtures.every_proposal import best_of, every_proposal, random_matrix

def proposals(candidates):
    return [candidate.proposal for candidate in candidates]


@st.composite
def searches(draw):
    num_layers = draw(st.integers(2, 8))
    values = random_matrix(num_layers, draw(st.integers(0, 10**6)), draw(st.sampled_from([None, None, 2, 4])))
    is_cost = draw(st.booleans())
    if is_cost:
        longest = draw(st.integers(1, num_layers))
        values[abs(np.subtract.outer(np.arange(num_layers + 1), np.arange(num_layers + 1))) > longest] = np.inf
    must_stay = draw(st.sets(st.integers(1, num_layers), max_size=2))
    matrix = BlockMatrix(values, is_cost, must_stay=dict.fromkeys(must_stay, "it subsamples"))
    return matrix, draw(st.integers(1, num_layers - 1)), draw(st.integers(1, 12)), draw(st.booleans())


@settings(max_examples=150, deadline=None)
@given(searches())
def test_exact_is_brute_force(case):
    matrix, num_prune, count, reverse = case
    scored = every_proposal(matrix.values, num_prune, matrix.is_cost, matrix.must_stay)
    expected = best_of(scored, count, reverse)
    if not expected:
        with pytest.raises(ComflpError, match="no proposal|no layer may"):
            coarse_search(matrix, num_prune, count, reverse=reverse)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = coarse_search(matrix, num_prune, count, reverse=reverse)
    assert proposals(found) == expected
    quality = {proposal: value for value, proposal in scored}
    assert [candidate.quality for candidate in found] == pytest.approx([quality[p] for p in expected], abs=1e-9)


def algorithm_1(matrix, num_prune, beam_size):
    """As printed in the paper: recursive, a min-queue, each proposal scored from scratch. No ties are expected."""
    if num_prune == 0:
        return [frozenset()]
    num_layers = len(matrix) - 1
    queue, seen = [], set()
    for proposal in algorithm_1(matrix, num_prune - 1, beam_size):
        for layer in set(range(1, num_layers + 1)) - proposal:
            extended = proposal | {layer}
            value = PruningProposal.from_layers(extended, num_layers).quality(matrix)
            if extended not in seen:
                seen.add(extended)
                heapq.heappush(queue, (value, sorted(extended)))
                if len(queue) > beam_size:
                    heapq.heappop(queue)
    return [frozenset(layers) for _, layers in sorted(queue, reverse=True)]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 11), st.integers(0, 10**6), st.integers(1, 10), st.data())
def test_beam_is_algorithm_1(num_layers, seed, beam_size, data):
    num_prune = data.draw(st.integers(1, num_layers - 1))
    matrix = random_matrix(num_layers, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = coarse_search(matrix, num_prune, beam_size, "beam")
    assert [frozenset(p.removed) for p in proposals(found)] == algorithm_1(matrix, num_prune, beam_size)


@settings(max_examples=60, deadline=None)
@given(searches())
def test_beam_step_by_step(case):
    """With ties, costs, forbidden blocks and layers that must stay: each step keeps the best of all allowed extensions of the last."""
    matrix, num_prune, count, reverse = case
    beam = {()}
    for size in range(1, num_prune + 1):
        extended = {frozenset(layers) | {new} for layers in beam for new in range(1, matrix.num_layers + 1) if new not in layers}
        every = every_proposal(matrix.values, size, matrix.is_cost, matrix.must_stay)
        beam = [p.removed for p in best_of([pair for pair in every if set(pair[1].removed) in extended], count, reverse)]
    if not beam:
        with pytest.raises(ComflpError, match="no proposal|no layer may"):
            coarse_search(matrix, num_prune, count, "beam", reverse)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = coarse_search(matrix, num_prune, count, "beam", reverse)
    assert [proposal.removed for proposal in proposals(found)] == beam


@pytest.mark.parametrize("search", ["beam", "exact"])
def test_equal_means_are_ties_where_the_largest_is_no_power_of_two(search):
    """Layers 1-2 as a block have 0.5, and so has the mean of layer 1 (0.75) and layer 3 (0.25); of equal ones the first layers come first."""
    matrix = np.array([[1, 0.75, 0.5, 0.75], [0.75, 1, 0.5, 0.75], [0.5, 0.5, 1, 0.25], [0.75, 0.75, 0.25, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = coarse_search(matrix, 2, 3, search, reverse=True)
    assert [proposal.removed for proposal in proposals(found)] == [(1, 2), (1, 3), (2, 3)]


def test_a_beam_wide_enough_is_exact():
    matrix = random_matrix(9, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert coarse_search(matrix, 4, 200, "beam") == coarse_search(matrix, 4, 200, "exact")


def test_the_beam_misses_what_the_exact_search_finds():
    """Layers 3-4 are good only together: a beam of 1 has to take one of them first, and does not."""
    matrix = np.full((6, 6), 0.1)
    np.fill_diagonal(matrix, 1)
    matrix[2, 4] = matrix[4, 2] = 0.9
    matrix[0, 1] = matrix[1, 0] = 0.5
    exact, beam = coarse_search(matrix, 2, 1), coarse_search(matrix, 2, 1, "beam")
    assert (str(exact[0].proposal), str(beam[0].proposal)) == ("3-4", "1,3")
    assert found_of_best(beam, exact) == 0


def test_all_equal_is_ordered_by_layers():
    matrix = np.ones((13, 13))
    expected = [p.removed for p in best_of(every_proposal(matrix, 6), 10)]
    for method in METHODS:
        for reverse in (False, True):
            found = coarse_search(matrix, 6, 10, method, reverse)
            assert [proposal.removed for proposal in proposals(found)] == expected


def test_exact_at_a_depth_where_nothing_else_is():
    """L = 200: the optimum is known, since every block of one odd layer has 1, every other block less."""
    size = 201
    matrix = np.full((size, size), 0.3)
    odd = np.arange(0, size - 1, 2)
    matrix[odd, odd + 1] = matrix[odd + 1, odd] = 1
    np.fill_diagonal(matrix, 1)
    found = coarse_search(matrix, 100, 3)
    assert found[0].proposal.removed == tuple(range(1, 200, 2)) and found[0].quality == 1
    assert found[1].quality == pytest.approx((99 + 0.3) / 100)
    assert found[1].proposal.removed == (*range(1, 198, 2), 200)


def test_exact_is_never_below_the_beam():
    for seed in range(5):
        matrix = random_matrix(40, seed)
        exact, beam = coarse_search(matrix, 20), coarse_search(matrix, 20, method="beam")
        assert all(best.quality >= found.quality - 1e-12 for best, found in zip(exact, beam))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_cost", [False, True])
def test_one_call_for_several_n(method, is_cost):
    matrix = BlockMatrix(random_matrix(8, seed=1), is_cost)
    options = {"method": method, "beam_size": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        together = coarse_searches(matrix, [2, 5, 7], **options)
        assert together == {n: coarse_search(matrix, n, **options) for n in (2, 5, 7)}


@pytest.mark.parametrize("method", METHODS)
def test_more_candidates_than_proposals_are_all_of_them(method):
    with pytest.warns(UserWarning, match="only 3 proposals of 1 layers, not 10"):
        found = coarse_search(random_matrix(3, seed=0), 1, 10, method)
    assert {str(proposal) for proposal in proposals(found)} == {"1", "2", "3"}


@pytest.mark.parametrize("method", METHODS)
def test_layers_that_must_stay_do_stay(method):
    matrix = BlockMatrix(random_matrix(8, seed=2), must_stay={3: "it subsamples"})
    for kept, searched in (({3}, matrix), ({3, 8}, matrix.keeping({8: "--keep"}))):
        found = coarse_search(searched, 3, 10, method)
        assert len(found) == 10 and not any(kept & set(proposal.removed) for proposal in proposals(found))


def test_costs_need_not_be_in_the_unit_interval_and_infinity_forbids():
    cost = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0))) * 100
    cost[0, 1] = cost[1, 0] = np.inf
    matrix = BlockMatrix(cost, is_cost=True)
    found = coarse_search(matrix, 1, 4)
    assert [str(proposal) for proposal in proposals(found)] == ["2", "3", "4", "5"]
    assert found[0].quality == -100
    assert matrix.quality(PruningProposal.parse("1,3", 5)) is None
    with pytest.raises(ComflpError, match=r"M\[0, 1\] = inf"):
        BlockMatrix(cost)
    finite = np.where(np.isinf(cost), 0, cost)
    with pytest.raises(ComflpError, match="outside"):
        coarse_search(finite, 1)
    assert coarse_search(BlockMatrix(finite, unit_interval=False), 1, 1)[0].quality == 100


def test_a_matrix_is_read_with_what_the_measure_says_of_it(tmp_path):
    matrix = random_matrix(4, seed=0) * 3
    np.save(tmp_path / "m.npy", matrix)
    about = {"kind": "cost", "must_stay": {"2": "it subsamples"}}
    (tmp_path / "m.json").write_text(json.dumps(about))
    read = BlockMatrix.read(tmp_path / "m.npy")
    np.testing.assert_array_equal(read.values, matrix)
    assert (read.is_cost, dict(read.must_stay)) == (True, {2: "it subsamples"})
    (tmp_path / "m.json").unlink()
    with pytest.raises(ComflpError, match="m.npy: the correlation matrix has .* outside"):
        BlockMatrix.read(tmp_path / "m.npy")


def test_beam_against_exact():
    matrix = random_matrix(8, seed=3)
    exact, beam = (coarse_searches(matrix, [2, 4], 3, method) for method in METHODS)
    for method, found in (("exact", exact), ("beam", beam)):
        compared = beam_against_exact(BlockMatrix(matrix), found, method, beam_size=3)
        assert compared[4]["exact"] == [candidate.as_dict() for candidate in exact[4]]
        assert compared[4]["beam"] == [candidate.as_dict() for candidate in beam[4]]
        assert (compared[2]["num_true_top"], compared[4]["found_by_beam"]) == (3, found_of_best(beam[4], exact[4]))
    # The one block of two layers that is allowed cannot be reached layer by layer.
    values = np.full((4, 4), np.inf)
    values[1, 3] = values[3, 1] = 1.0
    cost = BlockMatrix(values, is_cost=True)
    with pytest.warns(UserWarning, match="only 1 proposals"):
        found = coarse_searches(cost, [2], 3)
    compared = beam_against_exact(cost, found, "exact", beam_size=3)[2]
    assert (compared["num_true_top"], compared["found_by_beam"], compared["beam"]) == (1, 0, [])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: m[:4], "square of numbers"),
        (lambda m: m[:1, :1], "at least 2 rows"),
        (lambda m: m.astype(str), "square of numbers"),
        (lambda m: m + np.triu(np.full(m.shape, 0.01), 1) * -1, r"not symmetric: M\[0, 1\]"),
        (lambda m: np.where(m == m[1, 3], np.nan, m), r"M\[1, 3\] = nan"),
        (lambda m: m * 1.1, "outside"),
        (lambda m: m - 0.5, "outside"),
    ],
)
def test_matrices_that_do_not_fit(change, message):
    with pytest.raises(ComflpError, match=message):
        coarse_search(change(random_matrix(5, seed=0)), 2)


def test_rounding_of_a_matrix_is_forgiven():
    matrix = random_matrix(5, seed=0)
    rounded = matrix + np.random.default_rng(0).uniform(-1e-7, 1e-7, size=matrix.shape)
    assert proposals(coarse_search(rounded.astype(np.float32), 2, 3)) == proposals(coarse_search(matrix, 2, 3))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_prune": 0}, "N is from 1 to 4"),
        ({"num_prune": 5}, "N is from 1 to 4"),
        ({"beam_size": 0}, "at least 1"),
        ({"method": "greedy"}, "no search method 'greedy'"),
        ({"must_stay": [6]}, "layer 6 cannot be kept"),
        ({"must_stay": [1, 2, 3, 4, 5]}, "no layer may be removed"),
        ({"must_stay": [1, 2, 3, 4]}, "no proposal removes 2 layers"),
        ({"must_stay": [1, 2, 3, 4], "method": "beam"}, "--method exact finds"),
    ],
)
def test_impossible_searches(options, message):
    must_stay = dict.fromkeys(options.get("must_stay", ()), "it subsamples")
    options = {"num_prune": 2, **{name: value for name, value in options.items() if name != "must_stay"}}
    with pytest.raises(ComflpError, match=message):
        coarse_search(BlockMatrix(random_matrix(5, seed=0), must_stay=must_stay), **options)


def test_a_cost_that_hides_the_others_is_told():
    costs = random_matrix(8, 0) / 50
    costs[2, 3] = costs[3, 2] = 1e9
    with pytest.warns(UserWarning, match=r"an entry of the matrix is 1e\+09, .* write inf"):
        coarse_search(BlockMatrix(costs, is_cost=True), 3, 4)
    costs[2, 3] = costs[3, 2] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coarse_search(BlockMatrix(costs, is_cost=True), 3, 4)
