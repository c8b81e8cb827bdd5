"""Coarse search by the matrices of several stacks: held to a search through all proposals."""

import itertools

import numpy as np
import pytest
from fixtures.every_proposal import random_matrix

from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, coarse_searches
from comflp.search.coarse.stacks import StackMatrices, stack_searches
from comflp.target import LayerCounts, layer_counts

DEPTHS = {"encoder": 5, "decoder": 4}


def matrices(is_cost):
    return StackMatrices({name: BlockMatrix(random_matrix(depth, seed=depth), is_cost) for name, depth in DEPTHS.items()})


def every(counts):
    sets = [itertools.combinations(range(1, depth + 1), counts[name]) for name, depth in DEPTHS.items()]
    for encoder, decoder in itertools.product(*sets):
        text = "+".join(f"{name}={','.join(map(str, part))}" for name, part in (("encoder", encoder), ("decoder", decoder)) if part)
        yield PruningProposal.parse(text, DEPTHS)


@pytest.mark.parametrize("is_cost, reverse", [(False, False), (False, True), (True, False)])
def test_the_best_of_all_are_found(is_cost, reverse):
    both = matrices(is_cost)
    counts = layer_counts("encoder=0:2+decoder=0:2", DEPTHS)
    for wanted, found in stack_searches(both, counts, beam_size=4, reverse=reverse).items():
        values = sorted((both.quality(proposal) for proposal in every(wanted)), reverse=not reverse)
        assert [candidate.quality for candidate in found] == pytest.approx(values[: len(found)])
        assert len(found) == min(4, len(values)) and len({candidate.proposal for candidate in found}) == len(found)
        assert all(both.quality(candidate.proposal) == candidate.quality for candidate in found)


def test_of_one_stack_nothing_may_go():
    both = matrices(is_cost=True)
    [found] = stack_searches(both, [LayerCounts({"encoder": 0, "decoder": 1})]).values()
    assert [str(c.proposal) for c in found] == [f"decoder={c.proposal.of('decoder')}" for c in found] and len(found) == DEPTHS["decoder"]


def test_quality_over_stacks():
    proposal = PruningProposal.parse("encoder=1,3+decoder=2", DEPTHS)
    for is_cost in (False, True):
        both = matrices(is_cost)
        alone = [both.matrices[name].quality(proposal.of(name)) for name in DEPTHS]
        assert both.quality(proposal) == pytest.approx(sum(alone) if is_cost else np.mean(alone))
    assert both.quality(PruningProposal.parse("none", DEPTHS)) is None
    assert both.quality(PruningProposal.parse("decoder=2", DEPTHS)) == both.matrices["decoder"].quality(proposal.of("decoder"))
    kept = both.keeping({"decoder": {2: "--keep"}})
    assert kept.quality(proposal) == both.quality(proposal), "what stays is for the search to leave in"
    found = stack_searches(kept, [LayerCounts({"encoder": 1, "decoder": 2})])
    assert all(2 not in candidate.proposal.of("decoder").removed for group in found.values() for candidate in group)


def test_what_one_matrix_is_warned_of_all_are():
    both = matrices(is_cost=True)
    with pytest.warns(UserWarning, match="there are only 5 proposals of encoder=1 layers, not 10"):
        stack_searches(both, [LayerCounts({"encoder": 1, "decoder": 0})])
    both.matrices["decoder"].values[1, 2] = 1e9
    with pytest.warns(UserWarning, match=r"an entry of the matrix is 1e\+09"):
        stack_searches(both, [LayerCounts({"encoder": 1, "decoder": 1})])


def test_one_stack_is_the_coarse_search_itself():
    matrix = BlockMatrix(random_matrix(6, seed=2))
    found = stack_searches(StackMatrices({"encoder": matrix}), layer_counts("2:3", 6), beam_size=5)
    assert {counts.total: group for counts, group in found.items()} == coarse_searches(matrix, [2, 3], 5)
