"""The deep model's own hypotheses, on which encoder-decoder models are measured, repaired and distilled without any text."""

from __future__ import annotations

import warnings
from dataclasses import replace

from comflp.data.batching import AudioBatch
from comflp.data.data_dir import DataDir
from comflp.errors import ComflpError
from comflp.inference.loop import Pass
from comflp.inference.speech import Speech


def on_own_hypotheses(speech: Speech) -> Speech:
    """``speech`` with what its model recognises as the hypotheses of teacher-forced passes; as it is for CTC models.

    Utterances on which the model's search does not end are left out, and a warning counts them and names the first.
    Raises ComflpError where none is left.
    """
    model = speech.model
    if len(model.stacks) == 1 or speech.hypotheses is not None:
        return speech
    most = model.most_tokens

    def work(_: int, audio: AudioBatch) -> list[list[int]]:
        state = model.begin(audio)
        for step in model.recognition_path():
            state = model.run(state, step)
        return model.spell(state)

    batches = Pass(speech, hypotheses="own")
    results = batches.run(work, "the deep model's hypotheses")
    found = {
        utterance.utt_id: tokens
        for batch, spelled in zip(batches.batches, results)
        for utterance, tokens in zip(batch, spelled)
    }
    endless = sorted(utt_id for utt_id, tokens in found.items() if len(tokens) >= most)
    if len(endless) == len(found):
        raise ComflpError(f"the model's search ends on none of the {len(found)} utterances of {speech.data.path}")
    if endless:
        warnings.warn(
            f"the model's search does not end on {len(endless)} of {len(found)} utterances of {speech.data.path}, the first is "
            f"{endless[0]}; they are left out", stacklevel=2,
        )
    data = DataDir(speech.data.path, [utterance for utterance in speech.data if utterance.utt_id not in set(endless)])
    return replace(speech, data=data, hypotheses={utterance.utt_id: tuple(found[utterance.utt_id]) for utterance in data})
