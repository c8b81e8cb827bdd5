"""Coarse search by the matrices of all stacks of a model; a model of one stack is the simplest case."""

from __future__ import annotations

import math
import statistics
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping

from comflp.proposal import Proposal, PruningProposal
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.joint import k_best_joint
from comflp.search.coarse.search import FewProposalsWarning, check_number, coarse_searches
from comflp.target import LayerCounts


@dataclass(frozen=True)
class StackMatrices:
    """What one measure says of every block of layers of each stack.

    matrices: stack -> its matrix, in the order of the model. All are of similarities, or all of costs.
    """

    matrices: Mapping[str, BlockMatrix]

    @classmethod
    def read(cls, paths: Mapping[str, Path]) -> StackMatrices:
        """The matrices of stage 2; ComflpError names a file that is none."""
        return cls({stack: BlockMatrix.read(path) for stack, path in paths.items()})

    @property
    def num_layers(self) -> dict[str, int]:
        """L of each stack."""
        return {stack: matrix.num_layers for stack, matrix in self.matrices.items()}

    @property
    def is_cost(self) -> bool:
        """Whether entries are costs."""
        return all(matrix.is_cost for matrix in self.matrices.values())

    def keeping(self, layers: Mapping[str, Mapping[int, str]]) -> StackMatrices:
        """The same, with ``layers`` of some stacks (and the reasons) that must stay too."""
        return StackMatrices({stack: matrix.keeping(layers.get(stack, {})) for stack, matrix in self.matrices.items()})

    def quality(self, proposal: Proposal) -> float | None:
        """Of similarities the mean over the stacks that lose layers of v(P), Eq. 5; of costs minus the sum of all stacks.

        None where no layer is removed, or a block is forbidden.
        """
        parts = {stack: proposal.of(stack) for stack in self.matrices}
        values = [matrix.quality(parts[stack]) for stack, matrix in self.matrices.items() if parts[stack].blocks]
        if not values or None in values:
            return None
        return math.fsum(values) if self.is_cost else statistics.fmean(values)


def stack_searches(
    matrices: StackMatrices,
    counts: Iterable[LayerCounts],
    beam_size: int = 10,
    method: str = "exact",
    reverse: bool = False,
) -> dict[LayerCounts, list[Candidate]]:
    """The ``beam_size`` best proposals for several numbers of layers at once, best first.

    The best of each stack are merged by the sum of their qualities, which is exact: a proposal among the K best of all has a
    part among the K best of each stack. method, reverse, and what is raised: of :func:`comflp.search.coarse.search.coarse_search`.
    """
    counts = list(counts)
    if len(matrices.matrices) == 1:
        ((_, matrix),) = matrices.matrices.items()
        found = coarse_searches(matrix, [wanted.total for wanted in counts], beam_size, method, reverse)
        return {wanted: found[wanted.total] for wanted in counts}
    ranked: dict[tuple[str, int], list[tuple[PruningProposal, float]]] = {}
    for stack, matrix in matrices.matrices.items():
        ranked[stack, 0] = [(PruningProposal(matrix.num_layers, ()), 0.0)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewProposalsWarning)  # one stack may have fewer proposals than are asked for of all
            found = coarse_searches(matrix, sorted({wanted[stack] for wanted in counts} - {0}), beam_size, method, reverse)
        for number, candidates in found.items():
            ranked[stack, number] = [(c.proposal, c.quality if reverse else -c.quality) for c in candidates]
    merged = {
        wanted: k_best_joint({stack: ranked[stack, wanted[stack]] for stack in matrices.matrices}, beam_size) for wanted in counts
    }
    for wanted, found in merged.items():
        check_number(len(found), wanted, beam_size, method)
    return {
        wanted: [Candidate(proposal, matrices.quality(proposal)) for proposal, _ in found] for wanted, found in merged.items()
    }
