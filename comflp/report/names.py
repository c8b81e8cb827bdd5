"""How methods, measures and models are called in the report."""

from __future__ import annotations

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
    "glp": "GLP",
    "linear_probe": "Linear probe",
    "reverse": "Worst by quality",
    "scratch": "Scratch",
    "scratch_frontend": "Scratch, front end kept",
}
_ENDINGS = {"_coarse": "{}, coarse", "_fine": "{}, fine", "_reverse": "rev. {}"}


def label(name: str) -> str:
    """The written name of a list, a proposal or a run.

    >>> label("dc_fine"), label("svcca_reverse"), label("top"), label("dc_fine_seed2"), label("layers_1,3-4")
    ('DC, fine', 'rev. SVCCA', 'Top drop', 'DC, fine (seed2)', 'Layers 1,3-4')
    """
    if name.startswith("layers_"):
        return f"Layers {name.removeprefix('layers_')}"
    if name in _WORDS:
        return _WORDS[name]
    for ending, form in _ENDINGS.items():
        base, found, tag = name.partition(ending)
        if found and (not tag or tag.startswith("_")):
            return form.format(_WORDS.get(base, base)) + _tag(tag)
    known = [word for word in _WORDS if name.startswith(f"{word}_")]
    if known:
        word = max(known, key=len)
        return _WORDS[word] + _tag(name[len(word):])
    return name


def _tag(text: str) -> str:
    return f" ({text.strip('_').replace('_', ' ')})" if text else ""
