"""Greedy removal by loss: step by step the layer without which the output changes least, without labels and without decoding."""

from __future__ import annotations

from typing import Iterable, Mapping

from comflp.proposal import Proposal, PruningProposal, joined
from comflp.search.baselines.baseline import FIRST, Baseline, Stacks, kept
from comflp.search.baselines.fixed import removable
from comflp.search.coarse.joint import CostOf
from comflp.target import LayerCounts


def greedy_by_loss(cost_of: CostOf, stacks: Stacks, counts: Iterable[LayerCounts]) -> dict[LayerCounts, Proposal]:
    """How many layers are to go -> what greedy removal ends with.

    A layer goes of a stack that has not yet lost as many as it is to. All of ``counts`` go on together, a step at a time, so
    that what they have in common is run once; ties go to the layers that come first.
    """
    reached: dict[LayerCounts, dict[str, tuple[int, ...]]] = {wanted: {stack: () for stack in stacks} for wanted in counts}
    for _ in range(max((wanted.total for wanted in reached), default=0)):
        steps = {wanted: list(_one_more(removed, stacks, wanted)) for wanted, removed in reached.items()}
        proposals = {_proposal(removed, stacks) for found in steps.values() for removed in found}
        costs = cost_of(sorted(proposals))
        for wanted, found in steps.items():
            if found:
                reached[wanted] = min(found, key=lambda removed: (costs[_proposal(removed, stacks)], _proposal(removed, stacks)))
    return {wanted: _proposal(removed, stacks) for wanted, removed in reached.items()}


def greedy(cost_of: CostOf, stacks: Stacks, counts: Iterable[LayerCounts], *identity: object) -> Baseline:
    """The baseline; it searches once, for all of ``counts``, when the first of its proposals is asked for.

    identity: what the costs follow from beside the model.
    """
    found: dict[LayerCounts, Proposal] = {}

    def propose(wanted: LayerCounts) -> list[Proposal]:
        if not found:
            found.update(greedy_by_loss(cost_of, stacks, counts))
        return [found[wanted]]

    return Baseline("greedy", FIRST, propose, ("greedy", *identity, *kept(stacks)))


def _one_more(removed: Mapping[str, tuple[int, ...]], stacks: Stacks, wanted: LayerCounts) -> Iterable[dict[str, tuple[int, ...]]]:
    for stack, layers in stacks.items():
        if len(removed[stack]) < wanted[stack]:
            for layer in removable(layers.num_layers, wanted[stack], layers.must_stay):
                if layer not in removed[stack]:
                    yield {**removed, stack: (*removed[stack], layer)}


def _proposal(removed: Mapping[str, tuple[int, ...]], stacks: Stacks) -> Proposal:
    return joined({stack: PruningProposal.from_layers(removed[stack], layers.num_layers) for stack, layers in stacks.items()})
