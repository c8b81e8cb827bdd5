"""Refinement: the order is that of the whole pruned models' output, not that of the sum of block costs."""

import itertools

import pytest

from comflp.measures import Speech, skip_matrix
from comflp.inference.output_change import output_changes
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, coarse_searches
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.refine import refine


def test_candidates_are_ordered_by_their_true_cost(make_model, make_data):
    model = make_model(num_layers=5)
    speech = Speech(model, make_data(8))
    found = coarse_searches(BlockMatrix(skip_matrix(speech, "skip_kl"), is_cost=True), [2, 3], 8)
    refined = refine(speech, found)
    for num_prune, candidates in refined.items():
        assert {c.proposal for c in candidates} == {c.proposal for c in found[num_prune]}
        alone = {c.proposal: output_changes(speech, [c.proposal], "ctc")[c.proposal] for c in candidates}
        assert [-c.quality for c in candidates] == pytest.approx([alone[c.proposal] for c in candidates], rel=1e-5)
        assert [c.quality for c in candidates] == sorted((c.quality for c in candidates), reverse=True)
    orders = [[c.proposal for c in group[n]] for group in (found, refined) for n in (2, 3)]
    assert orders[:2] != orders[2:], "the sums must be wrong somewhere for this test to mean anything"


def test_equal_costs_go_to_the_lower_layers(make_model, make_data):
    model = make_model(num_layers=4)
    for layer in model.layer_modules:
        for name in ("linear2", "self_attn.out_proj"):
            layer.get_submodule(name).weight.data.zero_()
            layer.get_submodule(name).bias.data.zero_()
    pairs = [PruningProposal.from_layers(layers, 4) for layers in itertools.combinations((4, 3, 2, 1), 2)]
    refined = refine(Speech(model, make_data(3)), {2: [Candidate(p, 0.0) for p in pairs]})
    assert [c.proposal for c in refined[2]] == sorted(pairs)
    assert {c.quality for c in refined[2]} == {0.0}
