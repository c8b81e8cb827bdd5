"""Coarse search (Section 2.2): the K best pruning proposals by the correlation matrix alone."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Mapping, Sequence

import numpy as np

from comflp.errors import ComflpError
from comflp.search.coarse.beam import beam_search
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.exact import exact_search
from comflp.search.coarse.problem import Problem
from comflp.target import LayerCounts

METHODS = {"exact": exact_search, "beam": beam_search}
"""Name -> function: ``exact`` finds the true K best; ``beam`` is Algorithm 1 of the paper."""


class NoProposalError(ComflpError):
    """No proposal is allowed, or the beam reached none."""


class FewProposalsWarning(UserWarning):
    """There are fewer proposals than were asked for."""


def coarse_search(
    matrix: BlockMatrix | np.ndarray,
    num_prune: int,
    beam_size: int = 10,
    method: str = "exact",
    reverse: bool = False,
) -> list[Candidate]:
    """The ``beam_size`` best proposals that remove ``num_prune`` layers, best first.

    matrix: what removing each block is worth; an array is taken for a BlockMatrix of similarities in [0, 1].
        Layers that must stay, and blocks of infinite cost, are in no proposal.
    num_prune: N, from 1 to L-1. beam_size: K. method: a name of METHODS.
    reverse: the K worst instead, worst first (the paper's "rev." rows).

    Fewer are returned, with a warning, where there are fewer proposals.
    Raises ComflpError for a matrix or an N that does not fit, and where no proposal is allowed.

    >>> M = np.array([[1, .9, .5, .4], [.9, 1, .6, .5], [.5, .6, 1, .8], [.4, .5, .8, 1]])
    >>> [(str(c.proposal), round(c.quality, 3)) for c in coarse_search(M, 2, beam_size=2)]
    [('1,3', 0.85), ('1-2', 0.5)]
    """
    return coarse_searches(matrix, [num_prune], beam_size, method, reverse)[num_prune]


def coarse_searches(
    matrix: BlockMatrix | np.ndarray,
    num_prunes: Sequence[int],
    beam_size: int = 10,
    method: str = "exact",
    reverse: bool = False,
) -> dict[int, list[Candidate]]:
    """:func:`coarse_search` for several N at once, which share what they can: N -> candidates."""
    if not isinstance(matrix, BlockMatrix):
        matrix = BlockMatrix(matrix)
    if method not in METHODS:
        raise ComflpError(f"there is no search method {method!r}; choose one of {', '.join(METHODS)}")
    if beam_size < 1:
        raise ComflpError(f"the number of candidates (the beam size) is at least 1, not {beam_size}")
    for num_prune in num_prunes:
        if not 1 <= num_prune <= matrix.num_layers - 1:
            raise ComflpError(f"cannot remove {num_prune} of {matrix.num_layers} layers; N is from 1 to {matrix.num_layers - 1}")
    found = METHODS[method](Problem(matrix, reverse), num_prunes, beam_size) if num_prunes else {}
    for num_prune in num_prunes:
        check_number(len(found[num_prune]), num_prune, beam_size, method)
    return {n: [Candidate(proposal, matrix.quality(proposal)) for proposal in found[n]] for n in num_prunes}


def check_number(number: int, num_prune: int | LayerCounts, beam_size: int, method: str) -> None:
    """NoProposalError where no proposal was found, a warning where there are fewer than ``beam_size``."""
    if not number:
        other = "; --method exact finds what the beam may have missed" if method == "beam" else ""
        raise NoProposalError(f"no proposal removes {num_prune} layers without a layer that must stay or a forbidden block{other}")
    if number < beam_size:
        missed = "the beam reached only" if method == "beam" else "there are only"
        warnings.warn(f"{missed} {number} proposals of {num_prune} layers, not {beam_size}", FewProposalsWarning, stacklevel=4)


def beam_against_exact(
    matrix: BlockMatrix, found: Mapping[int, Sequence[Candidate]], method: str, beam_size: int = 10, **options: Any
) -> dict[int, dict[str, Any]]:
    """N -> how many of the true best the beam finds, and the candidates of both methods, as candidates.json holds them.

    found: what :func:`coarse_searches` found by ``method`` with the same ``beam_size`` and ``options``; the other method is
    run here.
    """
    (other,) = set(METHODS) - {method}
    compared = {}
    for num_prune, candidates in found.items():
        lists = {method: candidates, other: []}
        # That there are fewer proposals was said by the search itself; and where blocks are forbidden a beam can end with none.
        with warnings.catch_warnings(), contextlib.suppress(NoProposalError):
            warnings.simplefilter("ignore", UserWarning)
            lists[other] = coarse_search(matrix, num_prune, beam_size, other, **options)
        compared[num_prune] = {
            "num_true_top": len(lists["exact"]),
            "found_by_beam": found_of_best(lists["beam"], lists["exact"]),
            **{name: [candidate.as_dict() for candidate in lists[name]] for name in sorted(lists)},
        }
    return compared


def found_of_best(found: Sequence[Candidate], best: Sequence[Candidate]) -> int:
    """How many of the ``best`` proposals are among those ``found``: how well a beam does against the exact search."""
    return len({candidate.proposal for candidate in found} & {candidate.proposal for candidate in best})
