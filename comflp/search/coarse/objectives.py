"""What a coarse search maximises: how the values of a proposal's blocks become one number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from comflp.errors import ComflpError
from comflp.measures.registry import COST
from comflp.proposal import PruningProposal

MEAN, SUM, MIN = "mean", "sum", "min"
SMALLEST_FACTOR = 1e-12


@dataclass(frozen=True)
class Objective:
    """A named quality of a proposal; higher is better.

    name: as ``--objective`` takes it.
    combine: how blocks make a proposal: MEAN or SUM of what they count, or their MIN.
    count: values M[s-1, e] -> what a block of that value counts, elementwise.
    by_layer: whether a block counts that once for each of its layers.
    final: (what ``combine`` made, N) -> the quality; increasing in the first.
    """

    name: str
    combine: str
    count: Callable[[np.ndarray], np.ndarray] = lambda values: values
    by_layer: bool = False
    final: Callable[[float, int], float] = lambda combined, num_removed: combined

    def quality(self, values: Sequence[float], lengths: Sequence[int]) -> float:
        """The quality of a proposal whose blocks have these ``M[s-1, e]`` and lengths (at least one block).

        >>> OBJECTIVES["mean"].quality([0.5, 1.0], [1, 3])
        0.75
        >>> OBJECTIVES["length_weighted"].quality([0.5, 1.0], [1, 3])
        0.875
        """
        counted = self.count(np.asarray(values, dtype=np.float64))
        counted = (counted * np.asarray(lengths) if self.by_layer else counted).tolist()
        # fsum rounds once, so that the order of the blocks does not show in the last digit.
        combined = min(counted) if self.combine == MIN else math.fsum(counted)
        if self.combine == MEAN:
            combined /= len(counted)
        return float(self.final(combined, int(np.sum(lengths))))


    def of(self, proposal: PruningProposal, matrix: np.ndarray) -> float:
        """The quality of ``proposal`` by ``matrix`` (L+1, L+1)."""
        return self.quality(proposal.block_values(matrix), [end - start + 1 for start, end in proposal.blocks])


def _logarithm(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, SMALLEST_FACTOR))


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        # Eq. 5 of the paper.
        Objective("mean", MEAN),
        # Each block counts as often as it has layers, so that a long bad block does not hide among short ones.
        Objective("length_weighted", SUM, by_layer=True, final=lambda total, num_removed: total / num_removed),
        Objective("sum", SUM),
        # The worst block alone.
        Objective("min", MIN),
        # A factor below 1e-12 counts as 1e-12.
        Objective("product", SUM, count=_logarithm, final=lambda total, _: math.exp(total)),
        # For matrices of costs: minus the sum of the blocks' costs. An infinite cost forbids a block.
        Objective("cost", SUM, count=np.negative),
    )
}


def objective_named(name: str) -> Objective:
    """The objective of that name; ComflpError lists those there are."""
    if name not in OBJECTIVES:
        raise ComflpError(f"there is no objective {name!r}; choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def natural_objective(kind: str | None) -> str:
    """The name of the objective for a measure's kind: ``cost`` for costs, else the paper's ``mean`` (Eq. 5)."""
    return "cost" if kind == COST else "mean"
