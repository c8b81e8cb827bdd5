"""A coarse search, stated in whole numbers: one weight a block, and how weights make a score."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from comflp.errors import ComflpError
from comflp.proposal import PruningProposal
from comflp.search.coarse.constraints import Constraints
from comflp.search.coarse.objectives import MEAN, MIN, Objective

IMPOSSIBLE = -(2**61)
"""The weight of a block that may not be removed. Sums of two of them still fit an int64."""
LIMIT = -(2**59)
"""Scores below this one hold an impossible block."""


class Problem:
    """Which proposals there are, and which of two is better, for beam, exact and exhaustive search alike.

    Block weights are the objective's, rounded to whole numbers of 2^-40 of the largest (less above 1,000 layers).
    Scores are then exact: equal scores are equal, whatever the order of the blocks, and ties are broken by the layers.
    Two proposals whose qualities differ by less than that rounding count as tied.

    num_layers: L. weights: (L+1, L+1) int64, weights[i, j] of removing layers i+1..j as one block, IMPOSSIBLE where
    that is not allowed. reverse: the lowest quality is sought; the weights are negated for it. combine: MEAN, SUM or MIN
    of the objective.
    """

    def __init__(self, matrix: np.ndarray, objective: Objective, constraints: Constraints, reverse: bool = False):
        self.matrix = np.asarray(matrix, dtype=np.float64)
        self.num_layers = len(self.matrix) - 1
        self.objective = objective
        self.constraints = constraints
        self.reverse = reverse
        self.combine = objective.combine
        constraints.check(self.num_layers)
        allowed = constraints.allowed_blocks(self.num_layers)
        counted = objective.count(self.matrix)
        allowed &= np.isfinite(counted)
        if not allowed.any():
            raise ComflpError("the constraints allow no layer to be removed")
        # Sums of L/2 blocks, times the number of blocks that a mean is compared over, stay below 2^58.
        bits = min(40, 58 - 2 * int(self.num_layers).bit_length() + 2)
        largest = np.abs(counted[allowed]).max() or 1.0
        whole = np.rint(np.where(allowed, counted, 0) / largest * 2.0**bits).astype(np.int64)
        if objective.by_layer:
            start, end = np.ogrid[: self.num_layers + 1, : self.num_layers + 1]
            whole *= end - start
        self.weights = np.where(allowed, -whole if reverse else whole, IMPOSSIBLE)

    def score(self, proposal: PruningProposal) -> Fraction:
        """What proposals are ranked by, higher first; the objective's quality up to rounding, scale and sign."""
        weights = [int(self.weights[start - 1, end]) for start, end in proposal.blocks]
        if self.combine == MEAN:
            return Fraction(sum(weights), len(weights))
        if self.combine == MIN:
            return Fraction(max(weights) if self.reverse else min(weights))
        return Fraction(sum(weights))

    def quality(self, proposal: PruningProposal) -> float:
        """The objective's quality of the proposal, from the matrix itself."""
        return self.objective.of(proposal, self.matrix)

    def ranked(self, proposals, count: int) -> list[PruningProposal]:
        """The ``count`` best of distinct ``proposals``: by score, and where that is equal by the removed layers."""
        return sorted(proposals, key=lambda proposal: (-self.score(proposal), proposal.removed))[:count]
