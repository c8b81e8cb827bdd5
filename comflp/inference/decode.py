"""Decoding: utterances in, text out, with the time that it took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Sequence

import torch

from comflp.data.batching import AudioBatch, own_frames
from comflp.data.data_dir import DataDir, Utterance
from comflp.inference.finite import check_finite, not_finite
from comflp.inference.loop import Pass
from comflp.inference.speech import How, Speech
from comflp.models.layered import LayeredModel, Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

Search = Callable[[torch.Tensor, torch.Tensor, Tokenizer], list[str]]


def greedy_search(logits: torch.Tensor, num_frames: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """The best label of each frame, repeats merged and blanks removed, as B texts.

    logits: (B, T, V). num_frames: (B,), frames beyond it are not read.
    """
    return texts_of(best_paths(logits, num_frames).cpu(), tokenizer)


def best_paths(logits: torch.Tensor, num_frames: torch.Tensor) -> torch.Tensor:
    """(B, 1 + T) int32 on the logits' device: how many frames are an utterance's own, then the best label of each frame.

    One tensor holds all that text is made of, so that one copy from a GPU brings the texts of many models. Where a value
    of an own frame is not finite there is no best label, and -1 frames say so
    (:func:`comflp.inference.finite.refuse_marked`).
    """
    fine = torch.isfinite(logits).all(dim=-1) | ~own_frames(num_frames, logits.shape[1])
    marked = torch.where(fine.all(dim=-1), num_frames, -1)
    return torch.cat([marked[:, None], logits.argmax(dim=-1)], dim=1).int()


def texts_of(paths: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """B texts of :func:`best_paths` (on the CPU)."""
    return [tokenizer.decode(labels.tolist()) for labels in labels_of(paths, tokenizer.blank_id)]


def labels_of(paths: torch.Tensor, blank_id: int) -> list[torch.Tensor]:
    """Repeats merged and blanks removed: B tensors (labels,) int64 of :func:`best_paths` (on the CPU)."""
    if (paths[:, 0] < 0).any():
        raise not_finite("the model's output")
    merged = [torch.unique_consecutive(path[1 : 1 + path[0]]).long() for path in paths]
    return [labels[labels != blank_id] for labels in merged]


class Hypotheses(dict):
    """Utterance id -> decoded text, and what decoding took.

    audio_seconds: audio decoded. decode_seconds: time in the model and the
    search, without reading audio, added over processes.
    """

    audio_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of decoding a second of audio."""
        return self.decode_seconds / self.audio_seconds


@dataclass(frozen=True)
class DecodedBatch:
    """One batch's texts in the order of ``utterances``, and the seconds that they took."""

    utterances: Sequence[Utterance]
    texts: list[str]
    seconds: float


def decode_batches(model: LayeredModel, batches: Iterable[AudioBatch], search: Search = greedy_search) -> Iterator[DecodedBatch]:
    """Decode batches one at a time, lazily. The model must be in eval mode (:func:`comflp.inference.device.evaluation`)."""
    for batch in batches:
        start = time.perf_counter()
        output = model(batch)
        check_finite(output.logits, output.num_frames, batch)
        texts = search(output.logits, output.num_frames, model.tokenizer)
        yield DecodedBatch(batch.utterances, texts, time.perf_counter() - start)


def decode(
    model: LayeredModel,
    data: DataDir,
    search: Search = greedy_search,
    search_options: dict | None = None,
    **how: Unpack[How],
) -> Hypotheses:
    """Decode every utterance of ``data``; a dict from utterance id to text, sorted by id.

    search: (logits, num_frames, tokenizer) -> texts, on the CPU. search_options: what distinguishes it from other
        searches (JSON-able), so that a run that goes on does not mix two.
    how: of :class:`comflp.inference.speech.Speech`.
    """
    batches = Pass(Speech(model, data, **how), search=search_options or {})

    def work(_: int, audio: AudioBatch) -> dict:
        (decoded,) = decode_batches(model, [audio], search)
        return {"texts": decoded.texts, "seconds": decoded.seconds}

    results = batches.run(work, "decode")
    texts = {
        utterance.utt_id: text
        for batch, result in zip(batches.batches, results)
        for utterance, text in zip(batch, result["texts"])
    }
    hypotheses = Hypotheses(sorted(texts.items()))
    hypotheses.audio_seconds = sum(utterance.duration for utterance in data.utterances)
    hypotheses.decode_seconds = sum(result["seconds"] for result in results)
    return hypotheses
