"""Decoding: utterances in, text out, with the time that it took."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator, Sequence

import torch

from comflp.data import MAX_SECONDS
from comflp.data.batching import AudioBatch, load_batch, make_batches
from comflp.data.data_dir import DataDir, Utterance
from comflp.processes import ALONE, Ranks
from comflp.models.layered import LayeredModel, Tokenizer
from comflp.inference.journal import Journal, work_key

Search = Callable[[torch.Tensor, torch.Tensor, Tokenizer], list[str]]


def greedy_search(logits: torch.Tensor, num_frames: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """The best label of each frame, repeats merged and blanks removed, as B texts.

    logits: (B, T, V). num_frames: (B,), frames beyond it are not read.
    """
    return [tokenizer.decode(labels.tolist()) for labels in greedy_labels(logits, num_frames, tokenizer.blank_id)]


def greedy_labels(logits: torch.Tensor, num_frames: torch.Tensor, blank_id: int) -> list[torch.Tensor]:
    """What :func:`greedy_search` spells, as B tensors (labels,) int64 on the CPU."""
    merged = [
        torch.unique_consecutive(path[:length])
        for path, length in zip(logits.argmax(dim=-1).cpu(), num_frames.tolist())
    ]
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
    """Decode batches one at a time, lazily. The model must be in eval mode (:func:`evaluation`)."""
    for batch in batches:
        synchronise(model)
        start = time.perf_counter()
        output = model(batch)
        texts = search(output.logits, output.num_frames, model.tokenizer)
        synchronise(model)
        yield DecodedBatch(batch.utterances, texts, time.perf_counter() - start)


def decode(
    model: LayeredModel,
    data: DataDir,
    max_seconds: float = MAX_SECONDS,
    search: Search = greedy_search,
    search_options: dict | None = None,
    work: str | Path | None = None,
    ranks: Ranks = ALONE,
    allow_pipes: bool = False,
    progress: Callable | None = None,
) -> Hypotheses:
    """Decode every utterance of ``data``; a dict from utterance id to text, sorted by id.

    max_seconds: padded seconds of audio in a batch; texts do not depend on it.
    search: (logits, num_frames, tokenizer) -> texts. search_options: what
        distinguishes it from other searches (JSON-able), so that a resumed run does not mix two.
    work: a directory for partial results; with it a killed run goes on.
    ranks: the processes that share the batches; each returns everything.
    """
    batches = plan_batches(model, data, max_seconds)
    key = work_key(model, data, batches, search=search_options or {}) if work else ""
    journal = Journal(work, key, ranks)
    pending = ranks.share([index for index in range(len(batches)) if index not in journal.done])
    with evaluation(model):
        audio = load_batches(model, [batches[index] for index in pending], allow_pipes)
        decoded = zip(pending, decode_batches(model, audio, search))
        for index, batch in track(decoded, progress if ranks.is_main else None, "decode", len(pending)):
            journal.add(index, {"texts": batch.texts, "seconds": batch.seconds})
    journal.close()
    done = {index: result for share in ranks.gather(journal.done) for index, result in share.items()}
    texts = {
        utterance.utt_id: text
        for index, batch in enumerate(batches)
        for utterance, text in zip(batch, done[index]["texts"])
    }
    hypotheses = Hypotheses(sorted(texts.items()))
    hypotheses.audio_seconds = sum(utterance.duration for utterance in data.utterances)
    hypotheses.decode_seconds = sum(done[index]["seconds"] for index in range(len(batches)))
    return hypotheses


@contextlib.contextmanager
def evaluation(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode without gradients for the time of the block; the mode before it comes back after."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def plan_batches(model: LayeredModel, data: DataDir, max_seconds: float) -> list[list[Utterance]]:
    """Batches of at most ``max_seconds`` padded seconds, utterances of similar length together."""
    return make_batches(data.utterances, max_seconds=max_seconds)


def load_batches(
    model: LayeredModel, batches: Iterable[Sequence[Utterance]], allow_pipes: bool = False
) -> Iterator[AudioBatch]:
    """Batches of audio on the model's device; the next one is read while this one is worked on."""
    device = device_of(model)
    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = None
        for utterances in batches:
            current, ahead = ahead, reader.submit(load_batch, utterances, model.sample_rate, allow_pipes)
            if current is not None:
                yield current.result().to(device)
        if ahead is not None:
            yield ahead.result().to(device)


def device_of(model: torch.nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device


def synchronise(model: torch.nn.Module) -> None:
    """Wait for the GPU, so that a clock read after it counts its work."""
    if device_of(model).type == "cuda":
        torch.cuda.synchronize(device_of(model))


def track(iterable: Iterable, progress: Callable | None, desc: str, total: int) -> Iterable:
    """``iterable``, wrapped by ``progress`` where there is one."""
    return iterable if progress is None else progress(iterable, desc=desc, total=total)
