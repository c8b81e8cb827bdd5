"""Proposals that need no correlation matrix and no decoding: what CoMFLP is compared with.

Each function takes the number of layers L of a stack, the number N to remove, and the layers that must stay, and returns a list
of proposals; several where the rule leaves a choice. Where layers must stay, the rules are of the others alone. Each raises
ComflpError where N is not from 1 to what can be removed.
"""

from __future__ import annotations

import math
from typing import Callable, Collection, Iterable, Iterator, TypeVar

import numpy as np

from comflp.errors import ComflpError
from comflp.proposal import Proposal, PruningProposal

AnyProposal = TypeVar("AnyProposal", bound=Proposal)
NUM_RANDOM = 10
"""Draws of the paper's Rand bars (Fig. 2)."""

Rule = Callable[[int, int, Collection[int]], list[PruningProposal]]


def top(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> list[PruningProposal]:
    """Drop the last N layers (the paper's Top drop).

    >>> [str(proposal) for proposal in top(12, 6)]
    ['7-12']
    >>> [str(proposal) for proposal in top(12, 6, must_stay=[10])]
    ['6-9,11-12']
    """
    return [PruningProposal.from_layers(removable(num_layers, num_prune, must_stay)[-num_prune:], num_layers)]


def bottom(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> list[PruningProposal]:
    """Drop the first N layers.

    >>> [str(proposal) for proposal in bottom(12, 6)]
    ['1-6']
    """
    return [PruningProposal.from_layers(removable(num_layers, num_prune, must_stay)[:num_prune], num_layers)]


def middle(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> list[PruningProposal]:
    """Drop N layers around the middle; of two equally central runs, the lower.

    >>> [str(proposal) for proposal in middle(12, 5)]
    ['4-8']
    """
    layers = removable(num_layers, num_prune, must_stay)
    first = (len(layers) - num_prune) // 2
    return [PruningProposal.from_layers(layers[first : first + num_prune], num_layers)]


def uniform(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> list[PruningProposal]:
    """Drop N evenly spaced layers, each from the centre of one of N equal parts of the stack.

    For half of the layers there are two equally even choices, the odd and the
    even ones; both are returned.

    >>> [str(proposal) for proposal in uniform(12, 6)]
    ['1,3,5,7,9,11', '2,4,6,8,10,12']
    >>> [str(proposal) for proposal in uniform(12, 3)]
    ['3,7,11']
    """
    layers = removable(num_layers, num_prune, must_stay)
    if len(layers) == 2 * num_prune:
        chosen: Iterable[list[int]] = (layers[0::2], layers[1::2])
    else:
        chosen = [[layers[(2 * part + 1) * len(layers) // (2 * num_prune)] for part in range(num_prune)]]
    return [PruningProposal.from_layers(removed, num_layers) for removed in chosen]


def spaced(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> list[PruningProposal]:
    """Keep evenly spaced layers, the last one always and the first where more than one stays, as distil-whisper does.

    >>> [str(proposal) for proposal in spaced(12, 10)], [str(proposal) for proposal in spaced(6, 2)]
    (['2-11'], ['3,5'])
    """
    layers = removable(num_layers, num_prune, must_stay)
    places = np.linspace(0, len(layers) - 1, len(layers) - num_prune, dtype=int)
    kept = {*places[:-1].tolist(), len(layers) - 1} if len(places) else set()
    return [PruningProposal.from_layers((layer for place, layer in enumerate(layers) if place not in kept), num_layers)]


def random(
    num_layers: int, num_prune: int, seed: int, count: int = NUM_RANDOM, must_stay: Collection[int] = ()
) -> list[PruningProposal]:
    """``count`` different proposals, each as likely as any other (fewer where there are not so many), in the order drawn.

    >>> random(12, 6, seed=0) == random(12, 6, seed=0) != random(12, 6, seed=1)
    True
    >>> len(random(4, 1, seed=0))
    4
    """
    draws = drawn_without_end(np.random.default_rng(seed), num_layers, num_prune, must_stay)
    return distinct(draws, min(count, num_sets(num_layers, num_prune, must_stay)))


def drawn_without_end(
    rng: np.random.Generator, num_layers: int, num_prune: int, must_stay: Collection[int] = ()
) -> Iterator[PruningProposal]:
    """Proposals, each drawn as likely as any other, whatever was drawn before."""
    layers = removable(num_layers, num_prune, must_stay)
    while True:
        places = rng.choice(len(layers), size=num_prune, replace=False)
        yield PruningProposal.from_layers([layers[place] for place in places], num_layers)


def distinct(draws: Iterator[AnyProposal], count: int) -> list[AnyProposal]:
    """The first ``count`` different ones, in the order drawn."""
    found: dict[AnyProposal, None] = {}
    while len(found) < count:
        found[next(draws)] = None
    return list(found)


def num_sets(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> int:
    """How many sets of ``num_prune`` layers may be removed."""
    return math.comb(len(removable(num_layers, num_prune, must_stay)), num_prune)


FIXED: dict[str, Rule] = {"top": top, "bottom": bottom, "middle": middle, "uniform": uniform, "spaced": spaced}
"""Baselines that follow from L and N alone, by name."""


def removable(num_layers: int, num_prune: int, must_stay: Collection[int] = ()) -> list[int]:
    """The layers that may be removed, ascending; ComflpError where ``num_prune`` of them cannot be."""
    layers = [layer for layer in range(1, num_layers + 1) if layer not in must_stay]
    most = min(len(layers), num_layers - 1)
    if not 1 <= num_prune <= most:
        kept = f", of which {', '.join(map(str, sorted(must_stay)))} must stay" if must_stay else ""
        raise ComflpError(f"cannot remove {num_prune} of {num_layers} layers{kept}; N is from 1 to {most}")
    return layers
