"""Reading candidates.json, the list of proposals that coarse search hands to fine search."""

from __future__ import annotations

import math
from pathlib import Path

from comflp.artifacts import read_json
from comflp.errors import ComflpError
from comflp.proposal import ProposalError, PruningProposal
from comflp.search.coarse.candidate import Candidate


def read_candidates(path: str | Path) -> tuple[list[Candidate], dict]:
    """The candidates of a candidates.json in its order, and all that the file says.

    Raises ComflpError that names the file, and the candidate, where a proposal does not fit ``num_layers`` and
    ``num_prune``, comes twice, or has no finite quality.
    """
    content = read_json(path)
    try:
        num_layers, num_prune, entries = content["num_layers"], content["num_prune"], list(content["candidates"])
        pairs = [(entry["proposal"], entry["quality"]) for entry in entries]
    except (KeyError, TypeError) as error:
        raise ComflpError(f"{path} is not a list of candidates ({error}); run stage 3 again with --force") from None
    candidates = []
    for number, (text, quality) in enumerate(pairs, start=1):
        try:
            proposal = PruningProposal.parse(text, num_layers=num_layers)
            if proposal.num_removed != num_prune:
                raise ProposalError(f"{text!r} removes {proposal.num_removed} layers, not {num_prune!r}")
            if any(proposal == candidate.proposal for candidate in candidates):
                raise ProposalError(f"{text!r} comes twice")
            if quality is not None and not (isinstance(quality, (int, float)) and math.isfinite(quality)):
                raise ProposalError(f"the quality {quality!r} is not a number")
        except (ProposalError, TypeError) as error:
            raise ComflpError(f"{path}: candidate {number}: {error}; run stage 3 again with --force") from None
        candidates.append(Candidate(proposal, quality))
    if not candidates:
        raise ComflpError(f"{path} holds no candidate; let stage 3 remove other layers")
    return candidates, content
