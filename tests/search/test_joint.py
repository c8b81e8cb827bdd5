"""Joint search over two stacks, against every combination scored from its definition."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.proposal import JointProposal, PruningProposal
from comflp.search import BlockMatrix
from comflp.search.coarse.joint import JointResult, joint_searches, k_best_joint, stack_proposals
from comflp.target import LayerCounts, layer_counts
from fixtures.every_proposal import best_of, every_proposal, random_matrix

NAMES = ("encoder", "decoder", "joiner")


def every_set(num_layers, num_prune):
    return [PruningProposal.from_layers(s, num_layers) for s in itertools.combinations(range(1, num_layers + 1), num_prune)]


@st.composite
def lists_of_stacks(draw):
    """Two or three stacks with lists in any order; few different costs, so that there are many ties, or any."""
    cost = draw(st.sampled_from([st.sampled_from([0.0, 0.5, 1.0, math.inf]), st.floats(-5, 5), st.floats(0, 1e-300)]))
    lists = {}
    for name in NAMES[: draw(st.integers(2, 3))]:
        size = draw(st.integers(2, 5))
        proposals = draw(st.lists(st.sampled_from(every_set(size, draw(st.integers(1, size - 1)))), unique=True, min_size=1))
        lists[name] = [(proposal, draw(cost)) for proposal in proposals]
    return lists


@settings(max_examples=200, deadline=None)
@given(lists_of_stacks(), st.integers(1, 30))
def test_merged_lists_are_the_best_of_all_combinations(lists, count):
    every = []
    for parts in itertools.product(*lists.values()):
        if all(math.isfinite(cost) for _, cost in parts):
            total = sum(Fraction(cost) for _, cost in parts)
            every.append((total, JointProposal({name: part for name, (part, _) in zip(lists, parts)})))
    expected = [(proposal, float(total)) for total, proposal in sorted(every)[:count]]
    assert k_best_joint(lists, count) == expected


def test_one_stack_is_its_own_list():
    parts = [(proposal, float(cost)) for cost, proposal in enumerate(reversed(every_set(4, 2)))]
    assert k_best_joint({"encoder": parts}, 3) == parts[:3]


def test_every_set_where_there_are_few_else_the_best_by_block_sums():
    costs = random_matrix(12, seed=0)
    matrix = BlockMatrix(costs, is_cost=True)
    assert stack_proposals(matrix, 3, count=10) == every_set(12, 3)
    assert math.comb(12, 4) == 495 and len(stack_proposals(matrix, 4, count=10)) == 495
    assert math.comb(12, 5) == 792
    assert stack_proposals(matrix, 5, count=10) == best_of(every_proposal(costs, 5, is_cost=True), 10)
    assert stack_proposals(matrix, 0, count=10) == [PruningProposal(12, ())]
    kept = BlockMatrix(costs, is_cost=True, must_stay={1: "it owns the bias of all", 7: "it subsamples"})
    for num_prune in (2, 5):
        found = stack_proposals(kept, num_prune, count=20, most=100)
        assert found and not any({1, 7} & set(proposal.removed) for proposal in found)
    with pytest.raises(ComflpError, match="of which 1, 7 must stay; N is from 1 to 10"):
        stack_proposals(kept, 11, count=10)


class Costs:
    """A model's costs: sums of blocks within a stack, and something for every pair of stacks; it counts its calls."""

    def __init__(self, matrices):
        self.matrices, self.calls = matrices, []

    def __call__(self, proposals):
        self.calls.append(list(proposals))
        return {proposal: self.true(proposal) for proposal in proposals}

    def true(self, proposal):
        parts = [proposal.of(stack) for stack in self.matrices]
        alone = sum(-(m.quality(part) or 0.0) for part, m in zip(parts, self.matrices.values()))
        return alone + math.prod(sum(part.removed) for part in parts) / 20


@pytest.fixture
def matrices():
    return {name: BlockMatrix(random_matrix(size, seed=size), is_cost=True) for name, size in (("encoder", 6), ("decoder", 5))}


def test_a_joint_search_is_brute_force_where_all_are_run(matrices):
    cost_of = Costs(matrices)
    sizes = {name: matrix.num_layers for name, matrix in matrices.items()}
    counts = layer_counts("encoder=0:2+decoder=0:3", sizes)
    found = joint_searches(cost_of, matrices, counts, beam_size=5, num_joint=10**6)
    assert list(found) == counts and len(cost_of.calls) == 2
    for wanted in counts:
        every = [JointProposal(dict(zip(sizes, parts)))
                 for parts in itertools.product(*(every_set(sizes[name], wanted[name]) for name in sizes))]
        expected = sorted(every, key=lambda proposal: (cost_of.true(proposal), proposal))[:5]
        assert [candidate.proposal for candidate in found[wanted].candidates] == expected
        assert [-candidate.quality for candidate in found[wanted].candidates] == [cost_of.true(p) for p in expected]
        assert set(found[wanted].costs) == set(found[wanted].sums) == set(every)
    assert all(len(proposals) == len(set(proposals)) for proposals in cost_of.calls)


def test_no_more_joint_proposals_are_run_than_asked_for(matrices):
    cost_of = Costs(matrices)
    wanted = LayerCounts({"encoder": 2, "decoder": 2})
    found = joint_searches(cost_of, matrices, [wanted], beam_size=3, num_joint=7)[wanted]
    assert len(cost_of.calls[1]) == len(found.costs) == 7
    assert [c.proposal for c in found.candidates] == sorted(found.costs, key=lambda p: (found.costs[p], p))[:3]
    assert list(found.sums.values()) == sorted(found.sums.values())


def test_spearman_is_of_ranks():
    proposals = every_set(4, 1)
    assert JointResult((), dict(zip(proposals, (1, 2, 3, 4))), dict(zip(proposals, (1, 10, 11, 99)))).spearman == pytest.approx(1)
    assert JointResult((), dict(zip(proposals, (1, 2, 3, 4))), dict(zip(proposals, (4, 3, 2, 1)))).spearman == pytest.approx(-1)
    assert JointResult((), dict.fromkeys(proposals, 1.0), dict(zip(proposals, (4, 3, 2, 1)))).spearman is None
    assert JointResult((), dict(zip(proposals, (1, 2))), dict(zip(proposals, (4, 3)))).spearman is None
