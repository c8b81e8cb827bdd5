"""The dynamic programme of the exact coarse search: the best way to complete any beginning of a proposal."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.search.coarse.problem import IMPOSSIBLE, LIMIT

Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]
NEUTRAL = 2**59
"""Beyond every score: what a minimum or maximum over no block starts from."""


def add(first, second):
    """Scores of blocks together: their sum."""
    return first + second


def smaller(first, second):
    """Scores of blocks together: the smaller one. IMPOSSIBLE is below everything and so stays."""
    return np.minimum(first, second)


def larger(first, second):
    """Scores of blocks together: the larger one, and IMPOSSIBLE where either is."""
    return np.where((first < LIMIT) | (second < LIMIT), IMPOSSIBLE, np.maximum(first, second))


START = {add: 0, smaller: NEUTRAL, larger: -NEUTRAL}
"""The score of no block at all, under each of the three."""


class Completions:
    """``fixed[j, q, c]``: the best score of layers j+1..L of which layer j+1 and c in all are kept, with q blocks left.

    A block from boundary j to boundary e changes j and leaves c as it is, so row j comes from all later rows at
    once, for every c: free[j, c] = max(fixed[j, c], max over e of weights[j, e] (+) fixed[e, c]), where (+) combines two
    scores, and keeping a layer is a step in both, fixed[j, c] = free[j+1, c-1]. At j = L, fixed is the start for c = 0.
    Time O(L^2 (L-N)) for the sum, in numpy; memory O(L (L-N)).

    weights: (L+1, L+1) int64. combine: ``add``, ``smaller`` or ``larger``. least, most: the numbers N of layers to remove
    that will be asked for lie in between. max_blocks: None, or the most blocks; without it q has the one value 0.
    """

    def __init__(self, weights: np.ndarray, combine: Combine, least: int, most: int, max_blocks: int | None = None):
        self.weights, self.combine = weights, combine
        num_layers = len(weights) - 1
        self.step = 0 if max_blocks is None else 1
        self.blocks = 0 if max_blocks is None else max_blocks
        kept = num_layers - least
        fixed = np.full((num_layers + 1, self.blocks + 1, kept + 1), IMPOSSIBLE, dtype=np.int64)
        fixed[num_layers, :, 0] = START[combine]
        free = fixed[num_layers]
        longest = _longest(weights)
        for boundary in range(num_layers - 1, -1, -1):
            fixed[boundary, :, 1:] = free[:, :-1]
            free = fixed[boundary].copy()
            # With c layers to keep of the L - j that are left, L - j - c are to be removed: at most `most`, at least 1.
            low, high = max(0, num_layers - boundary - most), min(kept, num_layers - boundary - 1)
            last = min(num_layers, boundary + min(most, longest[boundary]))
            if low > high or last == boundary:
                continue
            after = fixed[boundary + 1 : last + 1, : self.blocks + 1 - self.step, low : high + 1]
            best = combine(weights[boundary, boundary + 1 : last + 1, None, None], after).max(axis=0)
            target = free[self.step :, low : high + 1]
            np.maximum(target, best, out=target)
        self.fixed, self.start = fixed, free

    def best(self, num_prune: int) -> int:
        """The best score of removing ``num_prune`` layers; below LIMIT where there is no such proposal."""
        return int(self.start[self.blocks, len(self.weights) - 1 - num_prune])


def _longest(weights: np.ndarray) -> list[int]:
    """Of each boundary j, the most layers after it that one block may remove."""
    possible = weights > LIMIT
    size = len(weights)
    ends = np.where(possible.any(axis=1), size - 1 - possible[:, ::-1].argmax(axis=1), np.arange(size))
    return (ends - np.arange(size)).tolist()
