"""What stage 5's --proposal names: a proposal that stage 4 left, typed layers, random weights, or the deep model itself."""

from __future__ import annotations

import math
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
from comflp.search.coarse.refine import REPAIR
from comflp.target import LayerCounts

DEEP = "deep"
"""The deep model itself, to be trained in the same way as the pruned ones."""
ANEW = ("scratch", "scratch_frontend")
"""What starts from random weights."""


@dataclass(frozen=True)
class Chosen:
    """What ``--proposal`` names. result: where it goes. named: the named proposal that points to it, None where none does.

    record: that of the stage that chose the layers; None where they were typed, or nothing was chosen.
    stale: links of the name to what was made of other layers.
    """

    text: str
    result: Result
    named: NamedFiles | None = None
    record: Path | None = None
    stale: Sequence[Path] = ()

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
    named proposal of lowest error rate is taken (of a coarse search without error rates, or by repaired models, that of highest quality).
    num_layers: the depth of each stack.
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
    if name.search == COARSE:  # what stage 3 puts first now, whether stage 4 has seen it or not
        found = layout.list(counts, name.list)
        first = read_candidates(require(found.candidates, "stage 3 (coarse search)"))[0][0].proposal
        if not named.proposal.exists() or read_proposal(named.proposal) != first:
            return Chosen(text, layout.result(first), record=found.candidates_record, stale=named.links())
    return Chosen(text, layout.result(read_proposal(require(named.proposal, "stage 4 (fine search)"))), named, named.record)


def is_layers(text: str) -> bool:
    """Whether ``--proposal`` is typed layers, and no name."""
    return re.fullmatch(r"[\d,-]+|.*=.*", text) is not None


def _best(layout: Layout, wanted: Sequence[LayerCounts], text: str) -> LayerCounts:
    """The numbers of layers for which the named proposal has the lowest error rate; of equal ones, the first.

    Where stage 4 has ranked none of a coarse search, those whose first proposal has the highest quality; and also where that search went by
    what a repair leaves, since stage 4's error rates are of models before it.
    """
    name = ProposalName.parse(text)
    lists = {counts: layout.list(counts, name.list) for counts in wanted if name.search == COARSE}
    contents = {counts: read_candidates(files.candidates) for counts, files in lists.items() if files.candidates.exists()}
    found = {counts: candidates[0] for counts, (candidates, _) in contents.items()}
    by_repair = found and all(about.get("refined", {}).get("by") == REPAIR for _, about in contents.values())
    ranked = {} if by_repair else {
        counts: read_json(path) for counts in wanted
        if (path := layout.named(counts, name).proposal).exists() and (counts not in found or found[counts].proposal == read_proposal(path))
    }
    if ranked:
        return min(ranked, key=lambda counts: ranked[counts][ranked[counts]["ranked_by"]])
    if found:
        return max(found, key=lambda counts: -math.inf if found[counts].quality is None else found[counts].quality)
    shown, made_by = ", ".join(map(str, wanted)), "stage 3 (coarse search)" if lists else "stage 4 (fine search)"
    raise ComflpError(f"there is no proposal {text} that removes {shown} layers; {made_by} makes it. Random weights take one number")
