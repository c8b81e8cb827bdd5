"""Proposals that need no correlation matrix and no decoding: what CoMFLP is compared with.

Each function takes the number of layers L and the number N to remove, and
returns a list of proposals; several where the rule leaves a choice.
"""

from __future__ import annotations

import math
from typing import Callable

import numpy as np

from comflp.errors import ComflpError
from comflp.proposal import PruningProposal

NUM_RANDOM = 10
"""Draws of the paper's Rand bars (Fig. 2)."""


def top(num_layers: int, num_prune: int) -> list[PruningProposal]:
    """Drop the last N layers (the paper's Top drop).

    >>> [str(proposal) for proposal in top(12, 6)]
    ['7-12']
    """
    return [_removing(range(num_layers - num_prune + 1, num_layers + 1), num_layers)]


def bottom(num_layers: int, num_prune: int) -> list[PruningProposal]:
    """Drop the first N layers.

    >>> [str(proposal) for proposal in bottom(12, 6)]
    ['1-6']
    """
    return [_removing(range(1, num_prune + 1), num_layers)]


def middle(num_layers: int, num_prune: int) -> list[PruningProposal]:
    """Drop N layers around the middle; of two equally central runs, the lower.

    >>> [str(proposal) for proposal in middle(12, 5)]
    ['4-8']
    """
    first = (num_layers - num_prune) // 2 + 1
    return [_removing(range(first, first + num_prune), num_layers)]


def uniform(num_layers: int, num_prune: int) -> list[PruningProposal]:
    """Drop N evenly spaced layers, each from the centre of one of N equal parts of the encoder.

    For half of the layers there are two equally even choices, the odd and the
    even ones; both are returned.

    >>> [str(proposal) for proposal in uniform(12, 6)]
    ['1,3,5,7,9,11', '2,4,6,8,10,12']
    >>> [str(proposal) for proposal in uniform(12, 3)]
    ['3,7,11']
    """
    if num_layers == 2 * num_prune:
        return [_removing(range(first, num_layers + 1, 2), num_layers) for first in (1, 2)]
    return [_removing([(2 * part + 1) * num_layers // (2 * num_prune) + 1 for part in range(num_prune)], num_layers)]


def random(num_layers: int, num_prune: int, seed: int, count: int = NUM_RANDOM) -> list[PruningProposal]:
    """``count`` different proposals, each as likely as any other (fewer where there are not so many), in the order drawn.

    >>> random(12, 6, seed=0) == random(12, 6, seed=0) != random(12, 6, seed=1)
    True
    >>> len(random(4, 1, seed=0))
    4
    """
    rng = np.random.default_rng(seed)
    drawn: dict[PruningProposal, None] = {}
    while len(drawn) < min(count, math.comb(num_layers, num_prune)):
        layers = rng.choice(num_layers, size=num_prune, replace=False) + 1
        drawn[_removing(layers.tolist(), num_layers)] = None
    return list(drawn)


FIXED: dict[str, Callable[[int, int], list[PruningProposal]]] = {
    "top": top,
    "bottom": bottom,
    "middle": middle,
    "uniform": uniform,
}
"""Baselines that follow from L and N alone, by name."""


def _removing(layers, num_layers: int) -> PruningProposal:
    layers = list(layers)
    if not 1 <= len(layers) <= num_layers - 1:
        raise ComflpError(f"cannot remove {len(layers)} of {num_layers} layers; N is from 1 to {num_layers - 1}")
    return PruningProposal.from_layers(layers, num_layers)
