"""Coarse search by trying every proposal: the yardstick of the others, for few proposals."""

from __future__ import annotations

import itertools
import math
from typing import Sequence

from comflp.errors import ComflpError
from comflp.proposal import PruningProposal
from comflp.search.coarse.problem import Problem

MOST = 300_000
"""Proposals that are tried at most, a few seconds' worth."""


def exhaustive_search(problem: Problem, num_prunes: Sequence[int], count: int) -> dict[int, list[PruningProposal]]:
    """N -> the ``count`` best of all proposals of N layers, best first, ties by the removed layers.

    Raises ComflpError where there are more than ``MOST``; the exact search finds the same without trying them.
    """
    free = [layer for layer in range(1, problem.num_layers + 1) if layer not in problem.constraints.keep]
    result = {}
    for num_prune in num_prunes:
        total = math.comb(len(free), num_prune)
        if total > MOST:
            raise ComflpError(
                f"removing {num_prune} of {len(free)} layers can be done in {total} ways, more than the {MOST} that "
                "an exhaustive search tries; --method exact finds the same best ones"
            )
        proposals = (
            PruningProposal.from_layers(layers, problem.num_layers) for layers in itertools.combinations(free, num_prune)
        )
        result[num_prune] = problem.ranked(filter(problem.constraints.allow, proposals), count)
    return result
