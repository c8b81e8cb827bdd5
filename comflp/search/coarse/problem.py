"""A coarse search, stated in whole numbers: one weight a block."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Iterable

import numpy as np

from comflp.errors import ComflpError
from comflp.proposal import PruningProposal
from comflp.search.coarse.block_matrix import BlockMatrix

IMPOSSIBLE = -(2**61)
"""The weight of a block that may not be removed. Sums of two of them still fit an int64."""
_COARSE = 2**10
"""Multiples of the rounding that the middle one of a matrix's entries is below, where another is so large that it hides them."""
LIMIT = -(2**59)
"""Sums of weights below this one hold an impossible block."""


class Problem:
    """Which proposals there are, and which of two is better, for beam and exact search alike.

    The weights of blocks are the entries of the matrix (of costs, their negatives), rounded to whole numbers of 2^-40 of
    the power of two above the largest (less above 1,000 layers), so that entries such as 0.25 stay exact. Scores are
    then exact: equal scores are equal, whatever the order of the blocks, and ties are broken by the layers. Two
    proposals whose qualities differ by less than that rounding are tied.

    num_layers: L. weights: (L+1, L+1) int64, weights[i, j] of removing layers i+1..j as one block, IMPOSSIBLE where
    that is not allowed. is_mean: whether a proposal's score is the mean of its blocks' weights (Eq. 5), not their sum.
    reverse: the lowest quality is sought; the weights are negated for it.

    Warns where an entry is so much larger than the others that these are hardly told apart. Raises ComflpError where no layer may be removed.
    """

    def __init__(self, matrix: BlockMatrix, reverse: bool = False):
        self.num_layers = matrix.num_layers
        self.is_mean = not matrix.is_cost
        allowed = matrix.allowed()
        if not allowed.any():
            raise ComflpError("no layer may be removed: all must stay, or have an infinite cost")
        # Sums of L/2 blocks, times the number of blocks that a mean is compared over, stay below 2^58.
        bits = min(40, 58 - 2 * int(self.num_layers).bit_length() + 2)
        _, exponent = np.frexp(np.abs(matrix.values[allowed]).max())
        whole = np.rint(np.ldexp(np.where(allowed, matrix.values, 0), bits - exponent)).astype(np.int64)
        told = np.abs(whole[allowed & (matrix.values != 0)])
        if told.size and np.median(told) < _COARSE:
            warnings.warn(f"an entry of the matrix is {np.abs(matrix.values[allowed]).max():g}, and most others are so small beside it that they are "
                          "hardly told apart; write inf as the cost of what may not be removed, or --keep", stacklevel=2)
        self.weights = np.where(allowed, whole if reverse == matrix.is_cost else -whole, IMPOSSIBLE)

    def score(self, proposal: PruningProposal) -> Fraction | None:
        """What proposals are ranked by, higher first: the quality up to rounding, scale and sign; None if not allowed."""
        weights = [int(self.weights[start - 1, end]) for start, end in proposal.blocks]
        if min(weights) < LIMIT:
            return None
        return Fraction(sum(weights), len(weights) if self.is_mean else 1)

    def ranked(self, proposals: Iterable[PruningProposal], count: int) -> list[PruningProposal]:
        """The ``count`` best of distinct ``proposals``: by score, and where that is equal by the removed layers."""
        return sorted(proposals, key=lambda proposal: (-self.score(proposal), proposal))[:count]
