"""What stage 5's --proposal names: a proposal that stage 4 left, typed layers, random weights, or the deep model itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Sequence

from comflp.artifacts import read_json, require
from comflp.errors import ComflpError
from comflp.experiment import Layout, NamedFiles, Result, counts_of, read_proposal
from comflp.proposal import NOTHING, PruningProposal
from comflp.result_names import ProposalName, Scratch
from comflp.target import LayerCounts

DEEP = "deep"
"""The deep model itself, to be trained in the same way as the pruned ones."""
ANEW = ("scratch", "scratch_frontend")
"""What starts from random weights."""


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
        if isinstance(start, Scratch) or not start.num_removed:
            return self.text
        return f"{self.text}, layers {start} removed" if self.named else f"layers {start} removed"


def choose(layout: Layout, wanted: Sequence[LayerCounts], text: str, num_layers: Mapping[str, int]) -> Chosen:
    """What ``--proposal`` names: a proposal that stage 4 left, typed layers, random weights, or ``deep``, which removes nothing.

    wanted: how many layers are to go. Where several numbers would do, as they do for a target and a model of two stacks, the
    named proposal of lowest error rate is taken. num_layers: of each stack.
    """
    if text == DEEP:
        return Chosen(text, layout.result(PruningProposal.parse(NOTHING, num_layers)), None)
    if not is_layers(text) and len(wanted) > 1:
        wanted = [_best(layout, wanted, text)]
    counts = wanted[0]
    if scratch := Scratch.parse(text, counts):
        return Chosen(text, layout.result(scratch), None)
    if is_layers(text):
        proposal = PruningProposal.parse(text, num_layers=num_layers)
        if counts_of(proposal) not in wanted:
            raise ComflpError(f"--proposal {text} removes {counts_of(proposal)} layers, and {' or '.join(map(str, wanted))} are to go")
        return Chosen(text, layout.result(proposal), None)
    named = layout.named(counts, ProposalName.parse(text))
    return Chosen(text, layout.result(read_proposal(require(named.proposal, "stage 4 (fine search)"))), named)


def is_layers(text: str) -> bool:
    """Whether ``--proposal`` is typed layers, and no name."""
    return re.fullmatch(r"[\d,-]+|.*=.*", text) is not None


def _best(layout: Layout, wanted: Sequence[LayerCounts], text: str) -> LayerCounts:
    """The numbers of layers for which the named proposal has the lowest error rate; of equal ones, the first."""
    files = {counts: layout.named(counts, ProposalName.parse(text)).proposal for counts in wanted}
    there = {counts: read_json(path) for counts, path in files.items() if path.exists()}
    if not there:
        shown = ", ".join(map(str, wanted))
        raise ComflpError(f"there is no proposal {text} that removes {shown} layers; stage 4 (fine search) makes it. Random weights take one number")
    return min(there, key=lambda counts: there[counts].get("error_rate", float("inf")))
