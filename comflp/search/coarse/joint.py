"""Coarse search over several stacks: what goes of each stack is judged alone, the best are put together, and run together.

Sums of blocks mislead inside a decoder: two layers may cost little each and much together. So what goes of a stack is
judged by running it whole, all other stacks complete (step 1): every set of its layers where there are few, else the
best by block sums. The joint proposals with the smallest sums of these costs (step 2) are run whole in their turn (step 3),
because stacks are not independent either.
"""

from __future__ import annotations

import heapq
import itertools
import math
import warnings
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Callable, Iterable, Mapping, Sequence

from comflp.proposal import Proposal, PruningProposal, joined
from comflp.search.baselines.fixed import num_sets, removable
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidate import Candidate, best_by_cost
from comflp.search.coarse.search import FewProposalsWarning, coarse_search
from comflp.target import LayerCounts

MOST_SETS = 500
"""Sets of layers of one stack that are all run whole; where there are more, the best by block sums are."""
NUM_JOINT = 100
"""Joint proposals that are run whole."""

CostOf = Callable[[Sequence[Proposal]], Mapping[Proposal, float]]
"""What proposals cost, run whole, such as ``comflp.inference.output_change.output_changes`` of a model says; lower is better.
One that removes nothing need not be in the answer."""


@dataclass(frozen=True)
class JointResult:
    """What a joint search found for one number of layers of each stack.

    candidates: best first; their quality is minus their cost. sums: proposal -> the sum of what its stacks cost alone.
    costs: proposal -> what it costs run whole. sums and costs are of all proposals of step 3. blocks: stack -> (block sums,
    costs) of what was run of it in step 1.
    """

    candidates: tuple[Candidate, ...]
    sums: Mapping[Proposal, float]
    costs: Mapping[Proposal, float]
    blocks: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)

    @property
    def spearman(self) -> float | None:
        """Rank correlation of sums and costs, in [-1, 1]; None where either says nothing (under three, or all equal)."""
        return _rank_correlation([self.sums[p] for p in self.sums], [self.costs[p] for p in self.sums])

    def as_dict(self) -> dict[str, Any]:
        """As candidates.json holds it: how many were run whole, and the rank correlations of each step."""
        return {
            "joint_proposals": len(self.sums),
            "spearman_of_sums": self.spearman,
            "stack_proposals": {stack: len(costs) for stack, (_, costs) in self.blocks.items()},
            "spearman_of_blocks": {stack: _rank_correlation(*both) for stack, both in self.blocks.items()},
        }


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    from scipy.stats import spearmanr  # takes a second to import, which a stage that is done does not need

    return float(spearmanr(first, second).statistic)


def joint_searches(
    cost_of: CostOf,
    matrices: Mapping[str, BlockMatrix],
    counts: Iterable[LayerCounts],
    beam_size: int = 10,
    num_joint: int = NUM_JOINT,
    num_single: int | None = None,
) -> dict[LayerCounts, JointResult]:
    """The ``beam_size`` joint proposals of lowest cost, for several numbers of layers at once.

    cost_of: runs proposals whole; it is called twice, so that all that they share is run once, and never for one twice. matrices: the costs of
    the blocks of each stack, in the order of the model. num_joint: how many joint proposals are run whole, for each of ``counts``.
    num_single: how many of a stack that has more than ``MOST_SETS`` are; as many where it is not given.

    Ties go to the proposal whose layers come first. Raises ComflpError where a stack has not so many layers that may go.
    """
    counts = list(counts)
    single: dict[tuple[str, int], list[PruningProposal]] = {
        (stack, wanted[stack]): stack_proposals(matrix, wanted[stack], max(num_single or num_joint, beam_size))
        for wanted in counts for stack, matrix in matrices.items()
    }
    whole = {stack: PruningProposal(matrix.num_layers, ()) for stack, matrix in matrices.items()}
    alone = {(stack, part): joined({**whole, stack: part}) for (stack, _), parts in single.items() for part in parts if part.blocks}
    costs = cost_of(list(alone.values()))
    alone_costs = {stack: {part: costs[whole_one] for (of, part), whole_one in alone.items() if of == stack} for stack in matrices}
    sums = {}
    for wanted in counts:
        parts = {stack: single[stack, wanted[stack]] for stack in matrices}
        sums[wanted] = dict(k_best_joint({
            stack: [(part, alone_costs[stack].get(part, 0.0)) for part in found] for stack, found in parts.items()
        }, max(num_joint, beam_size)))
    unknown = {proposal for found in sums.values() for proposal in found} - costs.keys()
    costs = {**costs, **(cost_of(sorted(unknown)) if unknown else {})}
    results = {}
    for wanted, found in sums.items():
        own = {proposal: costs[proposal] for proposal in found}
        blocks = {stack: _block_sums(matrix, single[stack, wanted[stack]], alone_costs[stack]) for stack, matrix in matrices.items()}
        results[wanted] = JointResult(tuple(best_by_cost(own, beam_size)), found, own, blocks)
    return results


def _block_sums(
    matrix: BlockMatrix, parts: Sequence[PruningProposal], costs: Mapping[PruningProposal, float]
) -> tuple[list[float], list[float]]:
    """(minus their qualities by the matrix, costs) of the parts that have both."""
    pairs = [(-quality, costs[part]) for part in parts if part in costs and (quality := matrix.quality(part)) is not None]
    return [first for first, _ in pairs], [second for _, second in pairs]


def stack_proposals(matrix: BlockMatrix, num_prune: int, count: int, most: int = MOST_SETS) -> list[PruningProposal]:
    """What may go of one stack if ``num_prune`` of its layers go: every set of layers, or the ``count`` best by block sums.

    Every set where there are at most ``most``, ordered by their layers. Layers that must stay do; 0 layers are one set.
    Raises ComflpError where there are not so many layers that may go.

    >>> import numpy as np
    >>> matrix = BlockMatrix(np.zeros((5, 5)), is_cost=True, must_stay={2: "it subsamples"})
    >>> [str(proposal) for proposal in stack_proposals(matrix, 2, count=10)]
    ['1,3', '1,4', '3-4']
    """
    if not num_prune:
        return [PruningProposal(matrix.num_layers, ())]
    if num_sets(matrix.num_layers, num_prune, matrix.must_stay) <= most:
        sets = itertools.combinations(removable(matrix.num_layers, num_prune, matrix.must_stay), num_prune)
        return sorted(PruningProposal.from_layers(removed, matrix.num_layers) for removed in sets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewProposalsWarning)  # fewer than asked for are all that there are
        return [candidate.proposal for candidate in coarse_search(matrix, num_prune, count)]


def k_best_joint(
    costs: Mapping[str, Sequence[tuple[PruningProposal, float]]], count: int
) -> list[tuple[Proposal, float]]:
    """The ``count`` joint proposals with the smallest sums of costs, with these sums, smallest first.

    costs: stack -> (what goes of it, what that costs alone), in the order of the model. An infinite cost forbids.

    The sums are added exactly, and ties go to the proposal whose layers come first. A combination of places in the sorted
    lists is put on the heap when one that is a step nearer to the front of some list leaves it, so nothing is missed.

    >>> parts = [(PruningProposal(3, ()), 0.0), (PruningProposal(3, ((1, 1),)), 1.5)]
    >>> [(str(proposal), cost) for proposal, cost in k_best_joint({"encoder": parts, "decoder": parts}, 3)]
    [('none', 0.0), ('decoder=1', 1.5), ('encoder=1', 1.5)]
    """
    lists = {
        stack: sorted((Fraction(cost), part) for part, cost in parts if math.isfinite(cost)) for stack, parts in costs.items()
    }
    if not all(lists.values()):
        return []

    def entry(places: tuple[int, ...]) -> tuple[Fraction, Proposal, tuple[int, ...]]:
        chosen = {stack: parts[place] for (stack, parts), place in zip(lists.items(), places)}
        return sum(cost for cost, _ in chosen.values()), joined({stack: part for stack, (_, part) in chosen.items()}), places

    heap = [entry((0,) * len(lists))]
    reached = {heap[0][2]}
    found: list[tuple[Proposal, float]] = []
    while heap and len(found) < count:
        total, proposal, places = heapq.heappop(heap)
        found.append((proposal, float(total)))
        for stack, parts in enumerate(lists.values()):
            after = (*places[:stack], places[stack] + 1, *places[stack + 1 :])
            if after[stack] < len(parts) and after not in reached:
                reached.add(after)
                heapq.heappush(heap, entry(after))
    return found
