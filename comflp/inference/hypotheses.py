"""The deep model's own hypotheses, on which encoder-decoder models are measured, repaired and distilled without any text."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Mapping, Sequence

from comflp.artifacts import read_json, write_json
from comflp.data.batching import AudioBatch
from comflp.data.data_dir import DataDir
from comflp.errors import ComflpError
from comflp.inference.loop import Pass
from comflp.inference.speech import Speech

Tokens = Mapping[str, Sequence[int]]
"""Utterance id -> the tokens of its hypothesis, prompt and end left out."""


def own_hypotheses(speech: Speech) -> dict[str, tuple[int, ...]]:
    """What ``speech.model``, which writes token by token, recognises: utterance id -> tokens, sorted by id.

    One whose search does not end has ``model.most_tokens`` tokens.
    """
    model = speech.model

    def work(_: int, audio: AudioBatch) -> list[list[int]]:
        return model.own_targets(model.recognition_state(audio))

    batches = Pass(speech, hypotheses="own")
    results = batches.run(work, "the deep model's hypotheses")
    found = {
        utterance.utt_id: tuple(tokens)
        for batch, spelled in zip(batches.batches, results)
        for utterance, tokens in zip(batch, spelled)
    }
    return dict(sorted(found.items()))


def on_own_hypotheses(speech: Speech, known: Tokens | None = None) -> Speech:
    """``speech`` with what its model recognises as the hypotheses of teacher-forced passes; as it is for CTC models.

    known: what :func:`own_hypotheses` gave for these utterances, where it is there already.

    Utterances on which the model's search does not end are left out, and a warning counts them and names the first.
    Raises ComflpError where none is left.
    """
    model = speech.model
    if not model.teacher_forced or speech.hypotheses is not None:
        return speech
    found = own_hypotheses(speech) if known is None else known
    endless = {utterance.utt_id for utterance in speech.data if len(found[utterance.utt_id]) >= model.most_tokens}
    if len(endless) == len(speech.data):
        raise ComflpError(f"the model's search ends on none of the {len(endless)} utterances of {speech.data.path}")
    if endless:
        warnings.warn(
            f"the model's search does not end on {len(endless)} of {len(speech.data)} utterances of {speech.data.path}, the "
            f"first is {min(endless)}; they are left out", stacklevel=2,
        )
    data = DataDir(speech.data.path, [utterance for utterance in speech.data if utterance.utt_id not in endless])
    return replace(speech, data=data, hypotheses={utterance.utt_id: tuple(found[utterance.utt_id]) for utterance in data})


def write_hypotheses(path: Path, hypotheses: Tokens, most_tokens: int) -> None:
    """Write hypotheses.json: of each utterance its tokens, and whether its search ended before ``most_tokens``."""
    write_json(path, {
        "most_tokens": most_tokens,
        "utterances": {
            utt_id: {"tokens": list(tokens), "ended": len(tokens) < most_tokens} for utt_id, tokens in hypotheses.items()
        },
    })


def read_hypotheses(path: Path) -> dict[str, tuple[int, ...]]:
    """The tokens of a hypotheses.json; ComflpError where it is damaged."""
    try:
        return {utt_id: tuple(entry["tokens"]) for utt_id, entry in read_json(path)["utterances"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ComflpError(f"{path} is damaged ({error}); delete it, and it is made again") from None
