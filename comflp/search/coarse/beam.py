"""The paper's coarse search: Algorithm 1, a beam over the number of removed layers."""

from __future__ import annotations

import heapq
from typing import Sequence

from comflp.proposal import PruningProposal
from comflp.search.coarse.problem import Problem


def beam_search(problem: Problem, num_prunes: Sequence[int], beam_size: int) -> dict[int, list[PruningProposal]]:
    """N -> the proposals of N layers that a beam of K = ``beam_size`` reaches, best first.

    Algorithm 1 of the paper, whose lines the comments number. Its recursion over N is the outer loop here, so that one
    pass serves every N. The paper leaves open which of two equal qualities goes first: here it is the proposal whose
    layers come first. A proposal with a layer that must stay, or a forbidden block, never enters the queue, so a beam
    may end with fewer proposals than there are, or with none. Time O(N^2 K L).
    """
    layers = frozenset(range(1, problem.num_layers + 1))
    beam = [frozenset()]                                                                # lines 3-5: for N = 0
    found = {}
    for num_prune in range(1, max(num_prunes) + 1):
        queue: list[tuple] = []                                                         # line 2: a min-queue ...
        reached = set()                                                                 # ... and the set U
        for proposal in beam:                                                           # line 6
            for layer in layers - proposal:                                             # line 7
                extended = proposal | {layer}                                           # line 8
                if extended in reached:                                                 # line 10
                    continue
                reached.add(extended)                                                   # line 11
                pruning = PruningProposal.from_layers(extended, problem.num_layers)
                score = problem.score(pruning)                                          # line 9
                if score is not None:
                    heapq.heappush(queue, (score, [-layer for layer in pruning.removed], pruning))  # line 14
                if len(queue) > beam_size:                                              # line 12
                    heapq.heappop(queue)                                                # line 13
        best = [pruning for _, _, pruning in sorted(queue, reverse=True)]               # lines 19-21
        beam = [frozenset(pruning.removed) for pruning in best]
        if num_prune in num_prunes:
            found[num_prune] = best                                                     # line 22
    return found
