"""The proposals whose blocks have the largest sums of weights: a dynamic programme, and a best-first search guided by it."""

from __future__ import annotations

import heapq

import numpy as np

from comflp.proposal import PruningProposal
from comflp.search.coarse.problem import IMPOSSIBLE, LIMIT


class Completions:
    """The best sum of weights with which any beginning of a proposal can be completed.

    ``fixed[j, c]`` is the best sum over layers j+1..L of which layer j+1 and c in all are kept. A block from boundary j to
    boundary e changes j and leaves c as it is, so row j comes from all later rows at once, for every c:
    free[j, c] = max(fixed[j, c], max over e of weights[j, e] + fixed[e, c]), and keeping a layer is a step in both,
    fixed[j, c] = free[j+1, c-1]. At j = L, fixed is 0 for c = 0. Time O(L^2 (L-N)), in numpy; memory O(L (L-N)).

    weights: (L+1, L+1) int64 of a Problem. least, most: the numbers N of layers to remove that will be asked for lie
    between them.
    """

    def __init__(self, weights: np.ndarray, least: int, most: int):
        self.weights = weights
        num_layers = len(weights) - 1
        kept = num_layers - least
        self.fixed = np.full((num_layers + 1, kept + 1), IMPOSSIBLE, dtype=np.int64)
        self.fixed[num_layers, 0] = 0
        free = self.fixed[num_layers]
        longest = _longest(weights)
        for boundary in range(num_layers - 1, -1, -1):
            self.fixed[boundary, 1:] = free[:-1]
            free = self.fixed[boundary].copy()
            # With c layers to keep of the L - j that are left, L - j - c are to be removed: at most `most`, at least 1.
            low, high = max(0, num_layers - boundary - most), min(kept, num_layers - boundary - 1)
            last = min(num_layers, boundary + min(most, longest[boundary]))
            if low > high or last == boundary:
                continue
            after = self.fixed[boundary + 1 : last + 1, low : high + 1]
            best = (weights[boundary, boundary + 1 : last + 1, None] + after).max(axis=0)
            free[low : high + 1] = np.maximum(free[low : high + 1], best)
        self._whole = free

    def best(self, num_prune: int) -> int:
        """The best sum of removing ``num_prune`` layers; below LIMIT where there is no such proposal."""
        return int(self._whole[len(self.weights) - 1 - num_prune])


def _longest(weights: np.ndarray) -> list[int]:
    """Of each boundary j, the most layers after it that one block may remove."""
    possible = weights > LIMIT
    size = len(weights)
    ends = np.where(possible.any(axis=1), size - 1 - possible[:, ::-1].argmax(axis=1), np.arange(size))
    return (ends - np.arange(size)).tolist()


def k_best_sums(completions: Completions, num_prune: int, count: int, least: int = LIMIT) -> list[PruningProposal]:
    """The ``count`` proposals of ``num_prune`` layers with the best sums that are at least ``least``, best first.

    Equal sums are ordered by the removed layers. Fewer are returned where there are not so many.

    A node is a decision for layers 1..j; its bound, the sum so far and the best completion, is reached by
    one of the proposals that begin so. Nodes are taken in the order of their bounds, so a node that decides all layers is
    the best of what is left. Among equal bounds the node whose first proposal in the order of layers comes first is taken.
    A child that is worse than ``count`` of its siblings is dropped: each sibling has a proposal better than all of its own.
    """
    weights, fixed = completions.weights, completions.fixed
    num_layers = len(weights) - 1
    bound = completions.best(num_prune)
    if bound < max(least, LIMIT):
        return []
    # (-bound, kept layers as bits with layer 1 highest, boundary j, layers to keep, sum so far)
    heap = [(-bound, 0, 0, num_layers - num_prune, 0)]
    found: list[PruningProposal] = []
    while heap and len(found) < count:
        _, kept, boundary, to_keep, total = heapq.heappop(heap)
        left = num_layers - boundary
        if to_keep == left:
            found.append(_proposal(kept | ((1 << left) - 1), num_layers))
            continue
        # Child 0 keeps the next layer; child b > 0 removes b layers as a block, and keeps the one after it.
        after = slice(boundary, boundary + left - to_keep + 1)
        totals = np.concatenate([[0], weights[boundary, after][1:]]) + total
        bounds = totals + fixed[after, to_keep]
        floor = max(least, LIMIT)
        if len(bounds) > count:
            floor = max(floor, np.partition(bounds, -count)[-count])
        for removed in np.flatnonzero(bounds >= floor).tolist():
            end = boundary + removed
            child = kept if end == num_layers else kept | (1 << (num_layers - end - 1))
            heapq.heappush(heap, (
                -int(bounds[removed]), child, min(end + 1, num_layers), to_keep - (end < num_layers), int(totals[removed])
            ))
    return found


def _proposal(kept: int, num_layers: int) -> PruningProposal:
    removed = (layer for layer in range(1, num_layers + 1) if not kept >> (num_layers - layer) & 1)
    return PruningProposal.from_layers(removed, num_layers)
