"""Refinement: the order is that of the whole pruned models' output, and the pool grows until nothing better follows."""

import itertools

import numpy as np
import pytest

from comflp.errors import ComflpError
from comflp.inference.output_change import output_changes
from comflp.measures import Speech, skip_matrix
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, coarse_searches
from comflp.search.coarse.refine import KINDS, Refinement


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_ordered_by_their_true_cost(make_model, make_data, kind):
    speech = Speech(make_model(num_layers=5), make_data(8))
    matrix = BlockMatrix(skip_matrix(speech, "skip_kl"), is_cost=True)
    by_sums = coarse_searches(matrix, [2, 3], 8)
    refined = Refinement(8, 8, seed=0, kind=kind).search(speech, matrix, [2, 3], 8)
    for result in refined.values():
        alone = {c.proposal: output_changes(speech, [c.proposal], kind)[c.proposal] for c in result.candidates}
        assert [-c.quality for c in result.candidates] == pytest.approx([alone[c.proposal] for c in result.candidates], rel=1e-5)
        assert [c.quality for c in result.candidates] == sorted((c.quality for c in result.candidates), reverse=True)
    orders = [[c.proposal for c in group] for n in (2, 3) for group in (by_sums[n], refined[n].candidates)]
    assert orders[0] != orders[1] or orders[2] != orders[3], "the sums must be wrong somewhere for this test to mean anything"


def test_the_pool_grows_until_nothing_better_follows(make_model, make_data):
    """With sums that are worth nothing the pool ends with every proposal, or at its limit; with the true order it does not grow."""
    speech = Speech(make_model(num_layers=5), make_data(4))
    everything = [PruningProposal.from_layers(layers, 5) for layers in itertools.combinations(range(1, 6), 2)]
    true = output_changes(speech, everything, KINDS[0])
    best = min(true, key=true.get)
    wrong = np.full((6, 6), 5.0)
    for block in range(5):
        wrong[block, block + 1] = wrong[block + 1, block] = 1.0
    for start, end in best.blocks:
        wrong[start - 1, end] = wrong[end, start - 1] = 99.0
    found = Refinement(5, 4, seed=0).search(speech, BlockMatrix(wrong, is_cost=True), [2], 5)[2]
    assert found.pool == 10 and found.candidates[0].proposal == best
    assert best not in [c.proposal for c in coarse_searches(BlockMatrix(wrong, is_cost=True), [2], 5)[2]]
    single = np.ones((6, 6))
    for proposal in (PruningProposal.from_layers([layer], 5) for layer in range(1, 6)):
        single[proposal.blocks[0][0] - 1, proposal.blocks[0][1]] = output_changes(speech, [proposal], KINDS[0])[proposal]
    right = BlockMatrix(np.minimum(single, single.T), is_cost=True)
    assert Refinement(2, 4, seed=0).search(speech, right, [1], 1)[1].pool == 2


def test_equal_costs_go_to_the_lower_layers(make_model, make_data):
    model = make_model(num_layers=4)
    for layer in model.stacks["encoder"].layers:
        for name in ("linear2", "self_attn.out_proj"):
            layer.get_submodule(name).weight.data.zero_()
            layer.get_submodule(name).bias.data.zero_()
    speech = Speech(model, make_data(3))
    refined = Refinement(6, 3, seed=0).search(speech, BlockMatrix(skip_matrix(speech, "skip_kl"), is_cost=True), [2], 6)[2]
    assert [c.proposal for c in refined.candidates] == sorted(
        PruningProposal.from_layers(layers, 4) for layers in itertools.combinations(range(1, 5), 2)
    )
    assert {c.quality for c in refined.candidates} == {0.0}


def test_a_refinement_of_nothing_is_refused(make_model, make_data):
    speech = Speech(make_model(num_layers=4), make_data(3))
    with pytest.raises(ComflpError, match="at least 1 proposal"):
        Refinement(0, 3, seed=0).search(speech, BlockMatrix(np.ones((5, 5)), is_cost=True), [2])
