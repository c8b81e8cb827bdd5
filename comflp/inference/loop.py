"""The one loop over a data set: utterances cut into batches, shared over processes, read ahead, and never done twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Container, Iterable, Iterator, Sequence

import torch

from comflp.artifacts import fingerprint_value
from comflp.data.batching import AudioBatch, load_batch, make_batches, refuse_too_long, refuse_too_short
from comflp.data.data_dir import DataDir, Utterance
from comflp.inference.device import evaluation
from comflp.inference.journal import Journal, work_key
from comflp.inference.speech import Progress, Speech
from comflp.models.layered import LayeredModel

Work = Callable[[int, AudioBatch | None], Any]


class Pass:
    """A pass of a model over a data set.

    speech: the model, the data, and how it runs.
    batches: those of the utterances; :func:`plan_batches` makes them where they are left out.
    options: what results depend on besides the model, the data and the batches (JSON-able), so that a run that goes on
        never mixes two.
    """

    def __init__(self, speech: Speech, batches: Sequence[Sequence[Utterance]] | None = None, **options: Any):
        self.speech = speech
        if speech.hypotheses is not None:
            options["hypotheses"] = fingerprint_value({key: list(tokens) for key, tokens in speech.hypotheses.items()})
        if speech.precision != "fp32":
            options["precision"] = speech.precision
        self.batches = plan_batches(speech.model, speech.data, speech.max_seconds) if batches is None else batches
        self._journal = Journal(
            speech.work, lambda: work_key(speech.model, speech.data, self.batches, **options), speech.ranks
        )

    def run(self, work: Work, desc: str, only: Iterable[int] | None = None, unread: Container[int] = ()) -> list[Any]:
        """The results of all batches in their order, in every process; what is done already is not done again.

        work: (index of a batch, its audio on the model's device) -> its result (JSON-able). It is called in evaluation
            mode without gradients.
        desc: what the user is told is done. only: indices of the batches to run, in place of all of them.
        unread: indices of batches whose audio ``work`` does not need; it gets None for them.
        """
        ranks, done = self.speech.ranks, self._journal.done
        indices = list(range(len(self.batches)) if only is None else only)
        mine = ranks.share([index for index in indices if index not in done])
        total = sum(len(self.batches[index]) for index in mine)
        with evaluation(self.speech.model, self.speech.precision):
            finished = self._finished(work, mine, unread)
            for _ in track(finished, self.speech.progress if ranks.is_main else None, desc, total):
                pass
        for share in ranks.gather({index: done[index] for index in mine}):
            done.update(share)
        return [done[index] for index in indices]

    def _finished(self, work: Work, indices: Sequence[int], unread: Container[int]) -> Iterator[Utterance]:
        """Run the batches; each utterance when its result is kept."""
        to_read = [self.batches[index] for index in indices if index not in unread]
        audio = load_batches(self.speech.model, to_read, self.speech.allow_pipes)
        for index in indices:
            self._journal.add(index, work(index, None if index in unread else self.speech.with_targets(next(audio))))
            yield from self.batches[index]


def plan_batches(model: LayeredModel, data: DataDir, max_seconds: float) -> list[list[Utterance]]:
    """Batches of at most ``max_seconds`` seconds as the model pads them, utterances of similar length together.

    Raises ComflpError for an utterance that is longer than the model takes, or too short for it, before any work is done.
    """
    samples = torch.tensor([round(utterance.duration * model.sample_rate) for utterance in data.utterances], dtype=torch.int64)
    refuse_too_short(data.utterances, model.num_frames(samples), samples, model.sample_rate)
    for utterance in data.utterances:
        refuse_too_long(utterance, utterance.duration, model.longest)
    return make_batches(data.utterances, max_seconds=max_seconds, window=model.window)


def load_batches(
    model: LayeredModel, batches: Iterable[Sequence[Utterance]], allow_pipes: bool = False
) -> Iterator[AudioBatch]:
    """Batches of audio on the model's device; the next one is read while this one is worked on."""
    device = model.device

    def read(utterances: Sequence[Utterance]) -> AudioBatch:
        batch = load_batch(utterances, model.sample_rate, allow_pipes)
        return batch.pinned() if device.type == "cuda" else batch

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = None
        for utterances in batches:
            current, ahead = ahead, reader.submit(read, utterances)
            if current is not None:
                yield current.result().to(device)
        if ahead is not None:
            yield ahead.result().to(device)


def track(iterable: Iterable, progress: Progress | None, desc: str, total: int) -> Iterable:
    """``iterable``, wrapped by ``progress`` where there is one."""
    return iterable if progress is None else progress(iterable, desc=desc, total=total)
