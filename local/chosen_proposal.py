"""What stage 5's --proposal names: a proposal that stage 4 left, typed layers, random weights, or the deep model itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from comflp.artifacts import read_json, require
from comflp.errors import ComflpError
from comflp.experiment import Layout, NamedFiles, Result, counts_of, read_proposal
from comflp.proposal import NOTHING, PruningProposal
from comflp.result_names import COARSE, ProposalName, Scratch
from comflp.search.coarse.candidates_file import read_candidates
from comflp.target import LayerCounts

DEEP = "deep"
"""The deep model itself, to be trained in the same way as the pruned ones."""
ANEW = ("scratch", "scratch_frontend")
"""What starts from random weights."""


@dataclass(frozen=True)
class Chosen:
    """What ``--proposal`` names. result: where it goes. named: the named proposal that points to it, None where none does.

    record: that of the stage that chose the layers; None where they were typed, or nothing was chosen.
    """

    text: str
    result: Result
    named: NamedFiles | None = None
    record: Path | None = None

    @property
    def description(self) -> str:
        """For model cards."""
        start = self.result.start
        if isinstance(start, Scratch) or not start.num_removed:
            return self.text
        return f"{self.text}, layers {start} removed" if self.record else f"layers {start} removed"


def choose(layout: Layout, wanted: Sequence[LayerCounts], text: str, num_layers: Mapping[str, int]) -> Chosen:
    """What ``--proposal`` names: a proposal that stage 4 left, typed layers, random weights, or ``deep``, which removes nothing.

    The first proposal of a coarse search is there after stage 3, for who has no texts for stage 4.
    wanted: how many layers are to go. Where several numbers would do, as they do for a target and a model of two stacks, the
    named proposal of lowest error rate is taken. num_layers: of each stack.
    """
    if text == DEEP:
        return Chosen(text, layout.result(PruningProposal.parse(NOTHING, num_layers)))
    if not is_layers(text) and len(wanted) > 1:
        wanted = [_best(layout, wanted, text)]
    counts = wanted[0]
    if scratch := Scratch.parse(text, counts):
        return Chosen(text, layout.result(scratch))
    if is_layers(text):
        proposal = PruningProposal.parse(text, num_layers=num_layers)
        if counts_of(proposal) not in wanted:
            raise ComflpError(f"--proposal {text} removes {counts_of(proposal)} layers, and {' or '.join(map(str, wanted))} are to go")
        return Chosen(text, layout.result(proposal))
    name = ProposalName.parse(text)
    named = layout.named(counts, name)
    if name.search == COARSE and not named.proposal.exists():
        found = layout.list(counts, name.list)
        candidates, _ = read_candidates(require(found.candidates, "stage 3 (coarse search)"))
        return Chosen(text, layout.result(candidates[0].proposal), record=found.candidates_record)
    return Chosen(text, layout.result(read_proposal(require(named.proposal, "stage 4 (fine search)"))), named, named.record)


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
