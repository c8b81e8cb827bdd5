"""Coarse search (Section 2.2): the K best pruning proposals by the correlation matrix alone."""

from __future__ import annotations

import warnings
from typing import Sequence

import numpy as np

from comflp.errors import ComflpError
from comflp.search import baselines
from comflp.search.coarse.beam import beam_search
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.constraints import Constraints
from comflp.search.coarse.exact import exact_search
from comflp.search.coarse.exhaustive import exhaustive_search
from comflp.search.coarse.objectives import objective_named
from comflp.search.coarse.problem import Problem

SEARCHES = {"exact": exact_search, "beam": beam_search, "exhaustive": exhaustive_search}
METHODS = (*SEARCHES, "random")
_ROUNDING = 1e-6


def coarse_search(
    matrix,
    num_prune: int,
    beam_size: int = 10,
    method: str = "exact",
    reverse: bool = False,
    *,
    objective: str = "mean",
    constraints: Constraints = Constraints(),
    seed: int = 0,
    unit_interval: bool = True,
) -> list[Candidate]:
    """The ``beam_size`` best proposals that remove ``num_prune`` layers, best first.

    matrix: M, (L+1, L+1), symmetric. num_prune: N, from 1 to L-1. beam_size: K.
    method: ``exact``, the true K best; ``beam``, Algorithm 1 of the paper; ``exhaustive``, every proposal tried;
        ``random``, K different proposals, each as likely as any other, in the order drawn with ``seed``.
    reverse: the K worst instead, worst first (the paper's "rev." rows).
    objective: a name of ``comflp.search.coarse.objectives.OBJECTIVES``. The default is v(P), Eq. 5; ``cost`` takes M as what
        removing layers i+1..j costs and minimises the sum over blocks.
    unit_interval: that M should be within [0, 1] is checked. False for measures that are not; ``cost`` never checks it.

    Fewer are returned, with a warning, where there are fewer proposals.
    Raises ComflpError for a matrix, an N or constraints that do not fit, and for constraints that leave no proposal.

    >>> M = np.array([[1, .9, .5, .4], [.9, 1, .6, .5], [.5, .6, 1, .8], [.4, .5, .8, 1]])
    >>> [(str(c.proposal), round(c.quality, 3)) for c in coarse_search(M, 2, beam_size=2)]
    [('1,3', 0.85), ('1-2', 0.5)]
    """
    return coarse_searches(
        matrix, [num_prune], beam_size, method, reverse,
        objective=objective, constraints=constraints, seed=seed, unit_interval=unit_interval,
    )[num_prune]


def coarse_searches(
    matrix,
    num_prunes: Sequence[int],
    beam_size: int = 10,
    method: str = "exact",
    reverse: bool = False,
    *,
    objective: str = "mean",
    constraints: Constraints = Constraints(),
    seed: int = 0,
    unit_interval: bool = True,
) -> dict[int, list[Candidate]]:
    """:func:`coarse_search` for several N at once, which share what they can: N -> candidates."""
    chosen = objective_named(objective)
    matrix = checked_matrix(matrix, unit_interval and objective != "cost", allow_infinity=objective == "cost")
    num_layers = len(matrix) - 1
    if method not in METHODS:
        raise ComflpError(f"there is no search method {method!r}; choose one of {', '.join(METHODS)}")
    if beam_size < 1:
        raise ComflpError(f"the number of candidates (the beam size) is at least 1, not {beam_size}")
    for num_prune in num_prunes:
        if not 1 <= num_prune <= num_layers - 1:
            raise ComflpError(f"cannot remove {num_prune} of {num_layers} layers; N is from 1 to {num_layers - 1}")
    problem = Problem(matrix, chosen, constraints, reverse)
    if method == "random":
        if constraints != Constraints() or reverse:
            raise ComflpError("a random draw takes no constraints and has no reverse")
        found = {n: baselines.random(num_layers, n, seed, beam_size) for n in num_prunes}
    else:
        found = SEARCHES[method](problem, num_prunes, beam_size)
    for num_prune in num_prunes:
        _check_number(len(found[num_prune]), num_prune, beam_size, method, constraints)
    return {n: [Candidate(proposal, problem.quality(proposal)) for proposal in found[n]] for n in num_prunes}


def _check_number(number: int, num_prune: int, beam_size: int, method: str, constraints: Constraints) -> None:
    if not number:
        other = "; --method exact finds what the beam may have missed" if method == "beam" else ""
        raise ComflpError(f"no proposal removes {num_prune} layers within the constraints {constraints.as_dict()}{other}")
    if number < beam_size:
        missed = "the beam reached only" if method == "beam" else "there are only"
        warnings.warn(f"{missed} {number} proposals of {num_prune} layers, not {beam_size}", stacklevel=4)


def found_of_best(found: Sequence[Candidate], best: Sequence[Candidate]) -> int:
    """How many of the ``best`` proposals are among those ``found``: how well a beam does against the exact search."""
    return len({candidate.proposal for candidate in found} & {candidate.proposal for candidate in best})


def checked_matrix(matrix, unit_interval: bool = True, allow_infinity: bool = False) -> np.ndarray:
    """``matrix`` as float64, made exactly symmetric and free of rounding beyond [0, 1].

    Raises ComflpError, with the first offending entry, if it is not a square matrix of numbers for at least two layers,
    has NaN (or infinity, unless allowed), is not symmetric to 1e-6, or has values outside [0, 1] by more than 1e-6.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 3 or matrix.dtype.kind not in "fiu":
        raise ComflpError(
            f"a correlation matrix is a square of numbers of at least 3 rows (2 layers), not {matrix.shape} of {matrix.dtype}"
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
