"""What the results of an experiment are called: lists of candidates, named proposals, starts and the states of models.

Each name is a value with a written form, which is also that of its directory (comflp/experiment.py); nobody else takes the
written forms apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from comflp.errors import ComflpError
from comflp.proposal import Proposal
from comflp.target import LayerCounts

COARSE, FINE = "coarse", "fine"
"""The two searches (the paper's subscripts): the proposal of highest quality, and the one of lowest error rate."""

_REVERSE = "_reverse"
_TAG = re.compile(r"[\w.+=,-]*")
_FINE_TUNED = re.compile(r"finetuned(?:_(?P<repaired>repaired))?(?:_distill_(?P<distill>[a-z]+))?(?:_(?P<tag>.+))?")


@dataclass(frozen=True, order=True)
class ListName:
    """A list of candidates. source: the measure that coarse search went by, or the baseline. reverse: the worst by it.

    >>> str(ListName("dc", reverse=True)), ListName.parse("skip_kl_reverse"), ListName.parse("reverse")
    ('dc_reverse', ListName(source='skip_kl', reverse=True), ListName(source='reverse', reverse=False))
    """

    source: str
    reverse: bool = False

    @classmethod
    def parse(cls, text: str) -> ListName:
        """The list of a directory's name."""
        return cls(text.removesuffix(_REVERSE), text.endswith(_REVERSE))

    def __str__(self) -> str:
        return f"{self.source}{_REVERSE if self.reverse else ''}"


@dataclass(frozen=True, order=True)
class ProposalName:
    """A proposal with a name. source: a measure or a baseline. search: ``coarse`` or ``fine`` where it is a measure's.

    >>> str(ProposalName("skip_kl", "fine")), ProposalName.parse("dc_coarse"), ProposalName.parse("linear_probe")
    ('skip_kl_fine', ProposalName(source='dc', search='coarse'), ProposalName(source='linear_probe', search=''))
    """

    source: str
    search: str = ""

    @classmethod
    def parse(cls, text: str) -> ProposalName:
        """The proposal of a directory's name, or of what was typed."""
        source, _, search = text.rpartition("_")
        return cls(source, search) if source and search in (COARSE, FINE) else cls(text)

    @property
    def list(self) -> ListName:
        """The list that it was chosen from."""
        return ListName(self.source)

    def __str__(self) -> str:
        return f"{self.source}_{self.search}" if self.search else self.source


@dataclass(frozen=True)
class Scratch:
    """No layers of the deep model: as many as it has without ``counts`` of them, with random weights.

    keep_frontend: what lies below the layers is the deep model's.
    """

    counts: LayerCounts
    keep_frontend: bool = False

    @classmethod
    def parse(cls, text: str, counts: LayerCounts) -> Scratch | None:
        """``scratch`` or ``scratch_frontend``; None for any other text."""
        return {str(start): start for start in (cls(counts), cls(counts, True))}.get(text)

    def __str__(self) -> str:
        return "scratch_frontend" if self.keep_frontend else "scratch"


Start = Proposal | Scratch
"""What a result is made of: the deep model without some layers, or random weights."""


@dataclass(frozen=True, order=True)
class Pruned:
    """The state of a model as the search left it."""

    def __str__(self) -> str:
        return "pruned"


@dataclass(frozen=True, order=True)
class Repaired:
    """The state after the closed-form repair."""

    def __str__(self) -> str:
        return "repaired"


@dataclass(frozen=True, order=True)
class FineTuned:
    """The state after training. repaired: it started from the repaired model, not from the pruned one.

    distill: how it learned from the deep model too (``none``, ``ctc``, ``hidden``, ``both``). tag: the user's own word.

    >>> str(FineTuned()), str(FineTuned(distill="both", tag="e2")), str(FineTuned(repaired=True))
    ('finetuned', 'finetuned_distill_both_e2', 'finetuned_repaired')
    >>> parse_state("finetuned_repaired_distill_ctc_my_tag")
    FineTuned(repaired=True, distill='ctc', tag='my_tag')
    """

    repaired: bool = False
    distill: str = "none"
    tag: str = ""

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.tag):
            raise ComflpError(f"--tag {self.tag!r} is to be part of a file name: letters, digits and any of . _ + = , - only")
        match = _FINE_TUNED.fullmatch(str(self))
        if match is None or (match["tag"] or "") != self.tag:
            raise ComflpError(f"--tag {self.tag} reads like a setting of stage 5; take another word")

    @property
    def training(self) -> str:
        """The name of the directory of its training: log, checkpoints, snapshots."""
        return str(self).replace("finetuned", "train", 1)

    def __str__(self) -> str:
        distilled = [] if self.distill == "none" else [f"distill_{self.distill}"]
        return "_".join(["finetuned", *(["repaired"] if self.repaired else []), *distilled, *filter(None, [self.tag])])


State = Pruned | Repaired | FineTuned
"""The three states of a result."""


def parse_state(text: str) -> State | None:
    """The state of a model directory's name; None for what is no state."""
    if state := {str(state): state for state in (Pruned(), Repaired())}.get(text):
        return state
    match = _FINE_TUNED.fullmatch(text)
    if match is None or not _TAG.fullmatch(match["tag"] or ""):
        return None
    return FineTuned(match["repaired"] is not None, match["distill"] or "none", match["tag"] or "")
