"""What a coarse search maximises: how the values of a proposal's blocks become one number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from comflp.errors import ComflpError

MEAN, SUM, MIN = "mean", "sum", "min"
SMALLEST_FACTOR = 1e-12


@dataclass(frozen=True)
class Objective:
    """A named quality of a proposal; higher is better.

    name: as ``--objective`` takes it.
    combine: how blocks make a proposal: MEAN or SUM of what ``block`` gives, or their MIN.
    block: (values M[s-1, e], lengths e-s+1), arrays of the same shape -> what a block counts, elementwise.
    final: (what ``combine`` made, N) -> the quality; increasing in the first.
    """

    name: str
    combine: str
    block: Callable[[np.ndarray, np.ndarray], np.ndarray]
    final: Callable[[float, int], float]

    def quality(self, values: Sequence[float], lengths: Sequence[int]) -> float:
        """The quality of a proposal whose blocks have these ``M[s-1, e]`` and lengths (at least one block).

        >>> OBJECTIVES["mean"].quality([0.5, 1.0], [1, 3])
        0.75
        >>> OBJECTIVES["length_weighted"].quality([0.5, 1.0], [1, 3])
        0.875
        """
        counted = self.block(np.asarray(values, dtype=np.float64), np.asarray(lengths)).tolist()
        # fsum rounds once, so that the order of the blocks does not show in the last digit.
        combined = min(counted) if self.combine == MIN else math.fsum(counted)
        if self.combine == MEAN:
            combined /= len(counted)
        return float(self.final(combined, int(np.sum(lengths))))


def _value(values, lengths):
    return values


def _same(combined, num_removed):
    return combined


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        # Eq. 5 of the paper.
        Objective("mean", MEAN, _value, _same),
        # Each block counts as often as it has layers, so that a long bad block does not hide among short ones.
        Objective("length_weighted", SUM, lambda values, lengths: values * lengths, lambda total, removed: total / removed),
        Objective("sum", SUM, _value, _same),
        # The worst block alone.
        Objective("min", MIN, _value, _same),
        # A factor below 1e-12 counts as 1e-12.
        Objective("product", SUM, lambda values, _: np.log(np.maximum(values, SMALLEST_FACTOR)), lambda total, _: math.exp(total)),
        # For matrices of costs: minus the sum of the blocks' costs. An infinite cost forbids a block.
        Objective("cost", SUM, lambda values, _: -values, _same),
    )
}


def objective_named(name: str) -> Objective:
    """The objective of that name; ComflpError lists those there are."""
    if name not in OBJECTIVES:
        raise ComflpError(f"there is no objective {name!r}; choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
