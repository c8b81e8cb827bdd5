"""What a coarse search returns."""

from __future__ import annotations

from dataclasses import dataclass

from comflp.proposal import PruningProposal


@dataclass(frozen=True)
class Candidate:
    """A proposal with its quality: v(P) of Eq. 5, or minus its cost by a measure of costs; higher is better."""

    proposal: PruningProposal
    quality: float

    def as_dict(self) -> dict:
        """As candidates.json holds it."""
        return {"proposal": str(self.proposal), "quality": self.quality}
