"""A model's output that is not finite: an error that names the utterance and what is likely to be wrong with it.

A NaN has no largest label: decoding would write nothing or the first letter of the vocabulary, and a mean of it would
spoil a whole matrix. So whoever reads an output checks it here first.
"""

from __future__ import annotations

from typing import Sequence

import torch

from comflp.data.batching import own_frames
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError
from comflp.proposal import NOTHING

_LOUD = 10.0
"""Peak of a waveform, of which 1 is full scale, above which it is no audio."""


def finite_rows(values: torch.Tensor, num_frames: torch.Tensor) -> torch.Tensor:
    """(B,) bool: whether all values of an utterance's own frames are finite.

    values: (B, T, ...) float. num_frames: (B,) frames of each utterance, the rest is padding.
    """
    return (torch.isfinite(values).flatten(2).all(dim=2) | ~own_frames(num_frames, values.shape[1])).all(dim=1)


def check_finite(
    values: torch.Tensor,
    num_frames: torch.Tensor,
    utterances: Sequence[Utterance],
    waveforms: Sequence[torch.Tensor] | torch.Tensor | None = None,
    what: str = "the model's output",
) -> None:
    """ComflpError that names ``what`` and the first utterance of which a value is NaN or infinite (:func:`finite_rows`).

    utterances, waveforms: the B that the values are of; from a waveform the likely cause is read off.
    """
    fine = finite_rows(values, num_frames)
    if not fine.all():
        row = int((~fine).nonzero()[0])
        raise not_finite(what, utterances[row] if utterances else None, None if waveforms is None else waveforms[row])


def not_finite(what: str, utterance: Utterance | None = None, waveform: torch.Tensor | None = None) -> ComflpError:
    """The error that says ``what`` is not finite, for which utterance, and the likely cause, read off the waveform."""
    of = "" if utterance is None else f" for utterance {utterance.utt_id} ({utterance.wav})"
    return ComflpError(f"{what} is not finite (NaN or infinity){of}; {_cause(waveform)}")


def _cause(waveform: torch.Tensor | None) -> str:
    if waveform is None:
        return "look at its audio, or at the model's weights"
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    if not peak < float("inf"):
        return "its audio holds samples that are no finite numbers"
    if peak > _LOUD:
        return f"its audio reaches {peak:.3g} where 1 is full scale; scale the samples"
    if peak == 0:
        return "its audio is silence from beginning to end, which this model cannot normalise; take it out"
    return "its audio looks sound, so look at the model's weights (a damaged file, a training that diverged)"


def output_of(proposal: object | None) -> str:
    """The output of a model without a proposal's layers, as errors name it; without any, of the whole model."""
    return "the model's output" if str(proposal or NOTHING) == NOTHING else f"without the layers {proposal} the model's output"


def refuse_marked(paths: torch.Tensor, utterances: Sequence[Utterance], what: str = "the model's output") -> None:
    """ComflpError for the first of :func:`comflp.models.greedy.best_paths` (on the CPU) that is marked as not finite."""
    for path, utterance in zip(paths, utterances):
        if path[0] < 0:
            raise not_finite(what, utterance)
