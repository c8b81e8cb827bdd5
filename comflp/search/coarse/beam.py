"""The paper's coarse search: Algorithm 1, a beam over the number of removed layers."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from comflp.proposal import PruningProposal
from comflp.search.coarse.completions import NEUTRAL
from comflp.search.coarse.objectives import MEAN, MIN
from comflp.search.coarse.problem import LIMIT, Problem


def beam_search(problem: Problem, num_prunes: Sequence[int], beam_size: int) -> dict[int, list[PruningProposal]]:
    """N -> the proposals of N layers that a beam of ``beam_size`` reaches, best first, ties by the removed layers.

    As printed: each proposal of the beam for N-1 layers is extended by each layer that it keeps, a set of layers reached in
    several ways counts once, and the ``beam_size`` best go on. The paper leaves the order of equal qualities open; here the
    proposal whose layers come first goes first. Constraints hold at each step, so a beam may end with fewer
    proposals than there are, or with none.

    The extensions of the whole beam by all layers are scored at once, from what the blocks before and after the new layer
    amount to. Time O(N K L); one pass serves every N.
    """
    num_layers = problem.num_layers
    removed = np.zeros((1, num_layers + 2), dtype=bool)
    found = {}
    for size in range(1, max(num_prunes) + 1):
        removed = _extend(problem, removed, beam_size)
        if size in num_prunes:
            proposals = [
                PruningProposal.from_layers(np.flatnonzero(row).tolist(), num_layers) for row in removed
            ]
            found[size] = problem.ranked(proposals, beam_size)
    return found


def _extend(problem: Problem, removed: np.ndarray, beam_size: int) -> np.ndarray:
    """The beam with one more layer removed; ``removed`` is (beam, L+2) of bool, columns 0 and L+1 never set."""
    if not len(removed):
        return removed
    scores = _scores(problem, removed).ravel()
    # A set of layers is reached from each proposal of the beam at most once, so that this many hold enough sets.
    enough = min(beam_size * len(removed), len(scores))
    least = np.partition(scores, -enough)[-enough]
    chosen = np.flatnonzero((scores >= least) & (scores > -np.inf))
    rows, columns = np.divmod(chosen, problem.num_layers)
    extended = removed[rows]
    extended[np.arange(len(rows)), columns + 1] = True
    # Packed bits, layer 1 highest: of two sets of one size, the greater is the one whose layers come first.
    names = [packed.tobytes() for packed in np.packbits(extended, axis=1)]
    best = {name: (score, index) for index, (name, score) in enumerate(zip(names, scores[chosen].tolist()))}
    order = sorted(best, key=lambda name: (best[name][0], name), reverse=True)[:beam_size]
    return extended[[best[name][1] for name in order]]


def _scores(problem: Problem, removed: np.ndarray) -> np.ndarray:
    """(beam, L) of the score with layer 1..L removed as well; -inf where that is not possible."""
    num_layers, weights = problem.num_layers, problem.weights
    layers = np.arange(num_layers + 2)
    row = np.arange(len(removed))[:, None]
    # The block that a layer makes, with its neighbours, reaches from the kept layer before it to the one after it.
    before = np.maximum.accumulate(np.where(removed, 0, layers), axis=1)
    after = np.minimum.accumulate(np.where(removed, num_layers + 1, layers)[:, ::-1], axis=1)[:, ::-1]
    start, end = before[:, :num_layers], after[:, 2:] - 1
    # The blocks outside it: each weighs at its last layer, and they are combined from both ends.
    combine, neutral = _combination(problem)
    last = removed & ~np.roll(removed, -1, axis=1)
    present = np.full(removed.shape, neutral)
    present[last] = weights[before[last], np.nonzero(last)[1]]
    up_to = combine.accumulate(present, axis=1)
    from_on = combine.accumulate(present[:, ::-1], axis=1)[:, ::-1]
    blocks = np.cumsum(last, axis=1)
    own = weights[start, end]
    score = combine(combine(up_to[row, start], from_on[row, end + 1]), own).astype(np.float64)
    count = blocks[:, -1:] - blocks[row, end] + blocks[row, start] + 1
    if problem.combine == MEAN:
        score /= count
    possible = ~removed[:, 1:-1] & (own > LIMIT)
    if problem.constraints.max_blocks is not None:
        possible &= count <= problem.constraints.max_blocks
    score[~possible] = -np.inf
    return score


def _combination(problem: Problem) -> tuple[np.ufunc, int]:
    """How the weights of blocks combine, and what changes nothing in it."""
    if problem.combine != MIN:
        return np.add, 0
    return (np.maximum, -NEUTRAL) if problem.reverse else (np.minimum, NEUTRAL)
