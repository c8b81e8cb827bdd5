"""What a measure says of every block of layers: the matrix that coarse search works on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Mapping

import numpy as np

from comflp.artifacts import read_json
from comflp.errors import ComflpError
from comflp.measures.matrix_file import read_matrix
from comflp.measures.table import COST
from comflp.proposal import PruningProposal

_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """A symmetric (L+1, L+1) matrix; entry [i, j] says what removing layers i+1..j as one block is worth, or costs.

    values: the matrix. It is kept as float64, exactly symmetric, and free of rounding beyond [0, 1].
    is_cost: whether entries are costs, which add up over the blocks of a proposal; an infinite cost forbids a block.
        Otherwise they are similarities, whose mean over the blocks is v(P), Eq. 5 of the paper.
    unit_interval: whether similarities outside [0, 1] are an error.
    must_stay: layers that may not be removed -> the reason.

    >>> matrix = BlockMatrix(np.array([[1, .9, .5], [.9, 1, .6], [.5, .6, 1]]))
    >>> matrix.num_layers, matrix.quality(PruningProposal.parse("1", 2))
    (2, 0.9)

    Raises ComflpError, with the first offending entry, if it is not a square matrix of numbers for at least one layer,
    has NaN (or infinity, unless it is of costs), is not symmetric to 1e-6, or has values outside [0, 1] by more than 1e-6;
    and where a layer that must stay is not one of the model's.
    """

    values: np.ndarray
    is_cost: bool = False
    unit_interval: bool = True
    must_stay: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _checked(self.values, self.unit_interval and not self.is_cost, self.is_cost))
        for layer in self.must_stay:
            if not 1 <= layer <= self.num_layers:
                raise ComflpError(f"layer {layer} cannot be kept: the layers are 1 to {self.num_layers}")

    @classmethod
    def read(cls, path: str | Path) -> BlockMatrix:
        """The matrix of stage 2 at ``path`` (.npy) with what the .json beside it says; without one, similarities in [0, 1].

        Raises ComflpError that names the file.
        """
        path = Path(path)
        about = read_json(path.with_suffix(".json")) if path.with_suffix(".json").exists() else {}
        values = read_matrix(path)
        try:
            must_stay = {int(layer): str(reason) for layer, reason in about.get("must_stay", {}).items()}
            return cls(values, about.get("kind") == COST, about.get("unit_interval", True), must_stay)
        except (ComflpError, AttributeError, ValueError) as error:
            raise ComflpError(f"{path}: {error}") from None

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.values) - 1

    def keeping(self, layers: Mapping[int, str]) -> BlockMatrix:
        """The same, with ``layers`` (and the reasons) that must stay too."""
        return replace(self, must_stay={**self.must_stay, **layers})

    def allowed(self) -> np.ndarray:
        """(L+1, L+1) of bool: whether layers i+1..j may be removed as a block; only i < j can be True."""
        start, end = np.ogrid[: len(self.values), : len(self.values)]
        allowed = (end > start) & np.isfinite(self.values)
        for layer in self.must_stay:
            allowed &= (end < layer) | (start >= layer)
        return allowed

    def quality(self, proposal: PruningProposal) -> float | None:
        """v(P), or of costs minus their sum; higher is better. None where no layer is removed, or a block is forbidden.

        Raises ProposalError where the proposal is for another number of layers.
        """
        values = proposal.block_values(self.values).tolist()
        # fsum rounds once, so that the order of the blocks does not show in the last digit.
        total = -math.fsum(values) if self.is_cost else math.fsum(values) / max(1, len(values))
        return total if values and math.isfinite(total) else None


def _checked(matrix: np.ndarray, unit_interval: bool, allow_infinity: bool) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2 or matrix.dtype.kind not in "fiu":
        raise ComflpError(
            f"a correlation matrix is a square of numbers of at least 2 rows (1 layer), not {matrix.shape} of {matrix.dtype}"
        )
    matrix = matrix.astype(np.float64)
    bad = np.isnan(matrix) | np.isneginf(matrix) | (np.isposinf(matrix) & (not allow_infinity))
    if bad.any():
        raise ComflpError(f"the correlation matrix has {_entry(matrix, bad)}, which is not a finite number")
    tolerance = _ROUNDING * max(1.0, np.abs(matrix[np.isfinite(matrix)]).max(initial=0))
    with np.errstate(invalid="ignore"):
        asymmetric = (matrix != matrix.T) & ~(np.abs(matrix - matrix.T) <= tolerance)
    if asymmetric.any():
        i, j = np.argwhere(asymmetric)[0]
        raise ComflpError(f"the correlation matrix is not symmetric: {_entry(matrix, asymmetric)}, but M[{j}, {i}] = {matrix[j, i]}")
    matrix = (matrix + matrix.T) / 2
    if unit_interval:
        outside = (matrix < -_ROUNDING) | (matrix > 1 + _ROUNDING)
        if outside.any():
            raise ComflpError(f"the correlation matrix has {_entry(matrix, outside)}, outside [0, 1]")
        matrix = np.clip(matrix, 0, 1)
    return matrix


def _entry(matrix: np.ndarray, where: np.ndarray) -> str:
    i, j = np.argwhere(where)[0]
    return f"M[{i}, {j}] = {matrix[i, j]}"
