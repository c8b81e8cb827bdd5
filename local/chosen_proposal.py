"""What stage 5's --proposal names: a proposal that stage 4 left, typed layers, or random weights."""

import re
from dataclasses import dataclass
from typing import Mapping

from comflp.artifacts import require
from comflp.errors import ComflpError
from comflp.experiment import Layout, NamedFiles, Result, counts_of, read_proposal
from comflp.proposal import PruningProposal
from comflp.result_names import ProposalName, Scratch
from comflp.target import layer_counts


@dataclass(frozen=True)
class Chosen:
    """What ``--proposal`` names. result: where it goes. named: the named proposal that points to it, None where none does."""

    text: str
    result: Result
    named: NamedFiles | None

    @property
    def description(self) -> str:
        """For model cards."""
        start = self.result.start
        if isinstance(start, Scratch):
            return str(start)
        return f"{self.text}, layers {start} removed" if self.named else f"layers {start} removed"


def choose(layout: Layout, num_prune: str, text: str, num_layers: Mapping[str, int]) -> Chosen:
    """What ``--proposal`` names: a proposal that stage 4 left, typed layers, or random weights. num_layers: of each stack."""
    counts, *more = layer_counts(num_prune, num_layers)
    if more:
        raise ComflpError(f"--num-prune {num_prune}: stage 5 prunes once; give one number of layers")
    if scratch := Scratch.parse(text, counts):
        return Chosen(text, layout.result(scratch), None)
    if re.fullmatch(r"[\d,-]+|.*=.*", text):
        proposal = PruningProposal.parse(text, num_layers=num_layers)
        if counts_of(proposal) != counts:
            raise ComflpError(f"--proposal {text} removes {proposal.num_removed} layers, --num-prune is {num_prune}")
        return Chosen(text, layout.result(proposal), None)
    named = layout.named(counts, ProposalName.parse(text))
    return Chosen(text, layout.result(read_proposal(require(named.proposal, "stage 4 (fine search)"))), named)
