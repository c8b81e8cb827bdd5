"""How methods, measures and models are called in the report."""

from __future__ import annotations

from typing import Union

from comflp.result_names import FineTuned, ListName, ProposalName, Scratch, Start

_WORDS = {
    "dc": "DC",
    "dc_unbiased": "DC, unbiased",
    "dc_released": "DC, released code",
    "svcca": "SVCCA",
    "svcca_released": "SVCCA, released code",
    "pwcca": "PWCCA",
    "cka": "CKA",
    "cosine": "Cosine",
    "angular": "Angular",
    "skip_kl": "Skip KL",
    "skip_ctc": "Skip CTC",
    "skip_ctc_labelled": "Skip CTC, labelled",
    "top": "Top drop",
    "bottom": "Bottom drop",
    "middle": "Middle drop",
    "random": "Random",
    "uniform": "Evenly spaced",
    "spaced": "Evenly spaced, both ends kept",
    "greedy": "Greedy by loss",
    "glp": "GLP",
    "linear_probe": "Linear probe",
    "reverse": "Worst by quality",
    "scratch": "Scratch",
    "scratch_frontend": "Scratch, front end kept",
}
_SEARCHES = {"coarse": ", coarse", "fine": ", fine", "": ""}

Name = Union[str, ListName, ProposalName, Start]
"""A measure or a baseline by itself, a list of candidates, a named proposal, or what a model is made of."""


def label(name: Name, settings: FineTuned | None = None) -> str:
    """The written name; with the settings of a training where they are not the usual ones.

    >>> from comflp.proposal import PruningProposal
    >>> label("dc"), label(ListName("svcca", reverse=True)), label(ProposalName("top"))
    ('DC', 'rev. SVCCA', 'Top drop')
    >>> label(ProposalName("dc", "fine"), FineTuned(distill="both", tag="e2")), label(PruningProposal.parse("1,3-4", 12))
    ('DC, fine (distill both e2)', 'Layers 1,3-4')
    """
    if isinstance(name, ListName):
        written = f"{'rev. ' if name.reverse else ''}{_WORDS.get(name.source, name.source)}"
    elif isinstance(name, ProposalName):
        written = _WORDS.get(name.source, name.source) + _SEARCHES[name.search]
    elif isinstance(name, (str, Scratch)):
        written = _WORDS.get(str(name), str(name))
    else:
        written = f"Layers {name}"
    if settings is None:
        return written
    told = [*(["repaired"] if settings.repaired else []), f"distill {settings.distill}", settings.tag.replace("_", " ")]
    shown = " ".join(word for word in told if word and word != "distill none")
    return f"{written} ({shown})" if shown else written


def method(name: Name) -> str:
    """The measure or the baseline that a name goes back to: what has a colour."""
    if isinstance(name, (ListName, ProposalName)):
        return name.source
    return str(name) if isinstance(name, (str, Scratch)) else "layers"
