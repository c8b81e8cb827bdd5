"""The exact coarse search: the true K best proposals, which the paper calls intractable and approximates by a beam.

A sum over blocks has an exact dynamic programme and so an exact best-first search (best_sums.py). The paper's quality is a
mean over blocks, a ratio: v(P) = (sum of M over P's blocks) / (their number p). For a rate r,

    g_r(P) = sum over blocks of (M[s-1, e] - r) = p (v(P) - r)

is a sum again, and g_r(P) >= 0 exactly where v(P) >= r. Let v_K be the K-th best quality. Dinkelbach's iteration:

    1. Start from an r <= v_K that some K proposals reach.
    2. Take the K best proposals by g_r, ties by their layers, none below 0. There are K, since K have v >= r.
    3. All of them have v >= r, so the K-th best v seen so far, r', is at most v_K and at least r. If r' > r, go to 2 with r'.
    4. If r' = r, they are the K best by v. For K proposals have v >= r, and if all K of step 2 had g_r > 0, the least of
       their v would be an r' > r. So the K-th has g_r = 0, which means that step 2 returned every proposal of v > r (their
       g_r is above 0, and there are fewer than K), and of those with v = r the first by their layers.

r rises at each turn and takes finitely many values, so it ends; two to five turns are usual. All scores are whole numbers
(problem.py): r is the fraction S/p of a proposal's score and blocks, and p M - S is a whole number, so that "equal" is equal.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Sequence

import numpy as np

from comflp.proposal import PruningProposal
from comflp.search.coarse.best_sums import Completions, k_best_sums
from comflp.search.coarse.problem import IMPOSSIBLE, LIMIT, Problem


def exact_search(problem: Problem, num_prunes: Sequence[int], count: int) -> dict[int, list[PruningProposal]]:
    """N -> the ``count`` best proposals of N layers, best first, ties by the removed layers; fewer if there are fewer."""
    if problem.is_mean:
        return {num_prune: _k_best_means(problem, num_prune, count) for num_prune in num_prunes}
    completions = Completions(problem.weights, min(num_prunes), max(num_prunes))
    return {num_prune: k_best_sums(completions, num_prune, count) for num_prune in num_prunes}


def _k_best_means(problem: Problem, num_prune: int, count: int) -> list[PruningProposal]:
    possible = problem.weights > LIMIT
    rate = Fraction(int(problem.weights[possible].min()))
    seen: set[PruningProposal] = set()
    while True:
        weights = np.where(possible, problem.weights * rate.denominator - rate.numerator, IMPOSSIBLE)
        found = k_best_sums(Completions(weights, num_prune, num_prune), num_prune, count, least=0)
        if len(found) < count:
            return problem.ranked(found, count)
        seen.update(found)
        reached = sorted(map(problem.score, seen), reverse=True)[count - 1]
        if reached == rate:
            return problem.ranked(found, count)
        rate = reached
