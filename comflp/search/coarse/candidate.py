"""What a coarse search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from comflp.proposal import Proposal


@dataclass(frozen=True)
class Candidate:
    """A proposal with its quality: v(P) of Eq. 5, or minus its cost by a measure of costs; higher is better."""

    proposal: Proposal
    quality: float

    def as_dict(self) -> dict:
        """As candidates.json holds it."""
        return {"proposal": str(self.proposal), "quality": self.quality}


def best_by_cost(costs: Mapping[Proposal, float], beam_size: int) -> list[Candidate]:
    """The ``beam_size`` proposals of lowest cost, best first; ties go to the lower layers. Their quality is minus the cost."""
    return [Candidate(proposal, -costs[proposal]) for proposal in sorted(costs, key=lambda proposal: (costs[proposal], proposal))[:beam_size]]
