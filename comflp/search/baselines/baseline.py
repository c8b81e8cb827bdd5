"""What a baseline is: how it proposes, which of its proposals is taken, and what they follow from."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from comflp.errors import ComflpError
from comflp.proposal import Proposal, PruningProposal, joined
from comflp.search.baselines.fixed import FIXED, NUM_RANDOM, Rule, distinct, drawn_without_end, num_sets
from comflp.search.coarse.stacks import StackMatrices, stack_searches
from comflp.stacks import Layers, Stacks
from comflp.target import LayerCounts

if TYPE_CHECKING:  # the probes need torch, which takes seconds to import
    from comflp.search.baselines.linear_probe import ProbeResult

FIRST, BEST = "first", "best"
"""Which of its proposals a baseline stands for: the first, chosen without decoding, or the one that decodes best."""
NAMES = (*FIXED, "random", "reverse", "glp", "greedy", "linear_probe")


@dataclass(frozen=True)
class Baseline:
    """A way to choose layers that CoMFLP is compared with.

    name: one of NAMES. choice: FIRST or BEST.
    propose: how many layers are to go -> its proposals, in its order; None where it decodes to find them
        (comflp/search/baselines/greedy.py).
    identity: what the proposals follow from beside the model, how many layers are to go and the seed (JSON-able), for the record.
    details: more for ranked.json, once it has proposed. upstream: records of the stages whose results it reads.
    """

    name: str
    choice: str
    propose: Callable[[LayerCounts], list[Proposal]] | None
    identity: tuple[Any, ...]
    details: Callable[[], Mapping[str, Any]] = dict
    upstream: tuple[Path, ...] = ()


def fixed(name: str, stacks: Stacks) -> Baseline:
    """A rule of FIXED, in each stack; where it leaves a choice in several stacks, every combination."""
    return Baseline(name, BEST, lambda counts: _by_rule(FIXED[name], stacks, counts), (name, *kept(stacks)))


def random(stacks: Stacks, seed: int, count: int = NUM_RANDOM) -> Baseline:
    """``count`` different proposals, each as likely as any other; the first drawn is taken, so that nothing chooses it."""
    number = [] if count == NUM_RANDOM else [count]
    return Baseline("random", FIRST, lambda counts: _drawn(stacks, counts, seed, count), ("random", *number, *kept(stacks)))


def reverse(matrices: StackMatrices, fingerprint: str, record: Path) -> Baseline:
    """The worst proposals by the matrices of a measure, the very worst of which is taken.

    fingerprint: that of the matrices. record: the record of the stage that made them.
    """

    def propose(counts: LayerCounts) -> list[Proposal]:
        return [candidate.proposal for candidate in stack_searches(matrices, [counts], reverse=True)[counts]]

    return Baseline("reverse", FIRST, propose, ("reverse", fingerprint), upstream=(record,))


def linear_probe(probe: Callable[[], ProbeResult], train: str, num_utterances: int, stacks: Stacks) -> Baseline:
    """The layers of a model of one stack whose output is least easier to read than their input.

    probe: trains the probes, or gives them again. train, num_utterances: fingerprint of their data, and how much of it.
    Raises ComflpError for a model of several stacks.
    """
    _only_one(stacks, "linear_probe", "its probes are CTC heads")
    (layers,) = stacks.values()
    return Baseline(
        "linear_probe", BEST, lambda counts: [probe().proposal(counts.total, layers.must_stay)],
        ("linear_probe", train, num_utterances, *kept(stacks)),
        lambda: {"probe_losses": list(probe().losses), "layer_gains": list(probe().gains)},
    )


def glp(stacks: Stacks) -> Baseline:
    """Greedy layer pruning of a model of one stack by error rate, which decodes to find its proposal.

    Raises ComflpError for a model of several stacks.
    """
    _only_one(stacks, "glp", "take greedy, which goes by loss")
    return Baseline("glp", BEST, None, ("glp", *kept(stacks)))


def _by_rule(rule: Rule, stacks: Stacks, counts: LayerCounts) -> list[Proposal]:
    parts = [
        rule(layers.num_layers, counts[stack], layers.must_stay) if counts[stack] else [_nothing(layers)]
        for stack, layers in stacks.items()
    ]
    return [joined(dict(zip(stacks, chosen))) for chosen in itertools.product(*parts)]


def _drawn(stacks: Stacks, counts: LayerCounts, seed: int, count: int) -> list[Proposal]:
    rng = np.random.default_rng(seed)
    losing = {stack: (layers.num_layers, counts[stack], layers.must_stay) for stack, layers in stacks.items() if counts[stack]}
    draws = [
        drawn_without_end(rng, *losing[stack]) if stack in losing else itertools.repeat(_nothing(layers))
        for stack, layers in stacks.items()
    ]
    count = min(count, math.prod(num_sets(*of_stack) for of_stack in losing.values()))
    return distinct((joined(dict(zip(stacks, parts))) for parts in zip(*draws)), count)


def _only_one(stacks: Stacks, name: str, instead: str) -> None:
    if len(stacks) > 1:
        raise ComflpError(f"the baseline {name} is of models of one stack, and this one has {', '.join(stacks)}; {instead}")


def _nothing(layers: Layers) -> PruningProposal:
    return PruningProposal(layers.num_layers, ())


def kept(stacks: Stacks) -> list[dict[str, list[int]]]:
    """The layers that must stay as a record says them; nothing where there are none."""
    found = {stack: sorted(layers.must_stay) for stack, layers in stacks.items() if layers.must_stay}
    return [found] if found else []
