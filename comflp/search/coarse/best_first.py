"""The K best proposals under a score that the dynamic programme knows the best completion of."""

from __future__ import annotations

import heapq

import numpy as np

from comflp.proposal import PruningProposal
from comflp.search.coarse.completions import START, Completions
from comflp.search.coarse.problem import LIMIT


def k_best(completions: Completions, num_prune: int, count: int, least: int = LIMIT) -> list[PruningProposal]:
    """The ``count`` best proposals of ``num_prune`` layers whose score is at least ``least``, best first.

    Equal scores are ordered by the removed layers. Fewer are returned where there are not so many.

    A node is a decision for layers 1..j; its bound, the score so far combined with the best completion, is reached by
    one of the proposals that begin so. Nodes are taken in the order of their bounds, so a node that decides all layers is
    the best of what is left. Among equal bounds the node whose first proposal in the order of layers comes first is taken.
    A child that is worse than ``count`` of its siblings is dropped: each sibling has a proposal better than all of its own.
    """
    weights, combine, fixed, step = completions.weights, completions.combine, completions.fixed, completions.step
    num_layers = len(weights) - 1
    bound = completions.best(num_prune)
    if bound < max(least, LIMIT):
        return []
    # (-bound, kept layers as bits with layer 1 highest, boundary j, layers to keep, blocks left, score so far)
    heap = [(-bound, 0, 0, num_layers - num_prune, completions.blocks, START[combine])]
    found = []
    while heap and len(found) < count:
        _, kept, boundary, to_keep, blocks, score = heapq.heappop(heap)
        left = num_layers - boundary
        if to_keep == left:
            found.append(_proposal(kept | ((1 << left) - 1), num_layers))
            continue
        # Child 0 keeps the next layer; child b > 0 removes b layers as a block, and keeps the one after it.
        scores = np.full(left - to_keep + 1, score)
        ahead = fixed[boundary : boundary + len(scores), blocks, to_keep].copy()
        if blocks >= step:
            ahead[1:] = fixed[boundary + 1 : boundary + len(scores), blocks - step, to_keep]
            scores[1:] = combine(score, weights[boundary, boundary + 1 : boundary + len(scores)])
        else:
            scores[1:] = LIMIT - 1
        bounds = combine(scores, ahead)
        floor = max(least, LIMIT)
        if len(bounds) > count:
            floor = max(floor, np.partition(bounds, -count)[-count])
        for removed in np.flatnonzero(bounds >= floor).tolist():
            after = boundary + removed
            child_kept = kept if after == num_layers else kept | (1 << (num_layers - after - 1))
            heapq.heappush(heap, (
                -int(bounds[removed]), child_kept, min(after + 1, num_layers), to_keep - (after < num_layers),
                blocks - (step if removed else 0), int(scores[removed]),
            ))
    return found


def _proposal(kept: int, num_layers: int) -> PruningProposal:
    removed = (layer for layer in range(1, num_layers + 1) if not kept >> (num_layers - layer) & 1)
    return PruningProposal.from_layers(removed, num_layers)
