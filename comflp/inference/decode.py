"""Decoding: utterances in, text out, with the time that it took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Sequence

import torch

from comflp.data.batching import AudioBatch
from comflp.data.data_dir import DataDir, Utterance
from comflp.errors import ComflpError
from comflp.models.finite import check_finite
from comflp.inference.loop import Pass
from comflp.inference.speech import How, Speech
from comflp.models.layered import LayeredModel
from comflp.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

Search = Callable[[torch.Tensor, torch.Tensor, Tokenizer], list[str]]


class Hypotheses(dict):
    """Utterance id -> decoded text, and what decoding took.

    ran_into_limit: utterances on which the search was cut off before its end.
    audio_seconds: audio decoded. decode_seconds: time in the model and the
    search, without reading audio, added over processes.
    """

    ran_into_limit: int = 0
    audio_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of decoding a second of audio."""
        return self.decode_seconds / self.audio_seconds


@dataclass(frozen=True)
class DecodedBatch:
    """One batch's texts in the order of ``utterances``, the seconds that they took, and of how many the search was cut off."""

    utterances: Sequence[Utterance]
    texts: list[str]
    seconds: float
    ran_into_limit: int = 0


def decode_batches(model: LayeredModel, batches: Iterable[AudioBatch], search: Search | None = None) -> Iterator[DecodedBatch]:
    """Decode batches one at a time, lazily. The model must be in eval mode (:func:`comflp.inference.device.evaluation`)."""
    for batch in batches:
        start = time.perf_counter()
        state, unended = model.recognition_state(batch), 0
        if search is None:
            spelled = model.spell(state)
            texts, unended = model.texts({"": spelled}, batch.utterances)[""], sum(model.unended(spelled, state))
        elif model.teacher_forced:
            raise ComflpError("a CTC beam search reads frames, and this model writes tokens; decode it greedily")
        else:
            output = model.finish(state)
            check_finite(output.logits, output.num_frames, batch.utterances, batch.waveforms)
            texts = search(output.logits, output.num_frames, model.tokenizer)
        yield DecodedBatch(batch.utterances, texts, time.perf_counter() - start, unended)


def decode(
    model: LayeredModel,
    data: DataDir,
    search: Search | None = None,
    search_options: dict | None = None,
    **how: Unpack[How],
) -> Hypotheses:
    """Decode every utterance of ``data``; a dict from utterance id to text, sorted by id.

    search: (logits, num_frames, tokenizer) -> texts; the model's own greedy search where it is left out. search_options: what distinguishes it from other
        searches (JSON-able), so that a run that goes on does not mix two.
    how: fields of :class:`comflp.inference.speech.Speech`.
    """
    batches = Pass(Speech(model, data, **how), search=search_options or {})

    def work(_: int, audio: AudioBatch) -> dict:
        (decoded,) = decode_batches(model, [audio], search)
        return {"texts": decoded.texts, "seconds": decoded.seconds, "ran_into_limit": decoded.ran_into_limit}

    results = batches.run(work, "decode")
    texts = {
        utterance.utt_id: text
        for batch, result in zip(batches.batches, results)
        for utterance, text in zip(batch, result["texts"])
    }
    hypotheses = Hypotheses(sorted(texts.items()))
    hypotheses.audio_seconds = data.seconds
    hypotheses.decode_seconds = sum(result["seconds"] for result in results)
    hypotheses.ran_into_limit = sum(result["ran_into_limit"] for result in results)
    return hypotheses
