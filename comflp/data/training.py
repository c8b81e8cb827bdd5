"""What a training loop draws its batches from: utterances with their label ids, batched by duration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import torch
from speechbrain.dataio.sampler import DistributedSamplerWrapper, DynamicBatchSampler
from torch.utils.data import Dataset, DistributedSampler

from comflp.data.batching import AudioBatch, load_batch
from comflp.data.data_dir import Utterance
from comflp.errors import ComflpError

_BUCKETS = 20
_ONE = torch.zeros(1, dtype=torch.int64)  # padded with the targets of a batch, which may all be empty


@dataclass(frozen=True)
class LabelledBatch:
    """A padded batch with CTC targets: ``labels`` (B, U) int64, zero padded, ``num_labels`` (B,) int64, 0 where there are none."""

    audio: AudioBatch
    labels: torch.Tensor
    num_labels: torch.Tensor

    def to(self, device: torch.device | str) -> LabelledBatch:
        """The same batch with its tensors on ``device``."""
        return LabelledBatch(self.audio.to(device), self.labels.to(device), self.num_labels.to(device))

    def required_frames(self) -> torch.Tensor:
        """:func:`required_frames` of the targets."""
        return required_frames(self.labels, self.num_labels)


def required_frames(labels: torch.Tensor, num_labels: torch.Tensor) -> torch.Tensor:
    """(B,) int64: the fewest frames that CTC can align each target with (a blank between repeats).

    labels: (B, U) int64, padded. num_labels: (B,) int64.
    """
    repeats = (labels[:, 1:] == labels[:, :-1]) & (
        torch.arange(1, labels.shape[1], device=labels.device) < num_labels[:, None]
    )
    return num_labels + repeats.sum(dim=1)


class LabelledDataset(Dataset):
    """Utterances that a model can be trained on.

    Utterances too short for their text under CTC, whose text is too long for a decoder, or without targets, are left out; ``skipped`` has their ids.
    A character outside the vocabulary is a ComflpError that names the utterance.

    for_error_rate: keep every utterance. An error rate needs no labels: those whose text cannot be a target, for its
        length or for a character, have none, and only the loss leaves them out.
    targets: utterance -> label ids that stand in the place of its text, which is not read; they may be none.
    """

    def __init__(
        self, utterances: Sequence[Utterance], model: Any, allow_pipes: bool = False, for_error_rate: bool = False,
        targets: Mapping[str, Sequence[int]] | None = None,
    ):
        self.sample_rate = model.sample_rate
        self.allow_pipes = allow_pipes
        self.window = model.window
        self.utterances, self.labels, self.skipped = [], [], []
        for utterance in utterances:
            if targets is not None:
                if utterance.utt_id not in targets:
                    self.skipped.append(utterance.utt_id)
                self._keep(utterance, targets.get(utterance.utt_id))
                continue
            try:
                labels = model.tokenizer.encode(utterance.text)
            except ComflpError as error:
                if not for_error_rate:
                    raise ComflpError(f"utterance {utterance.utt_id}: {error}") from None
                labels = []
            if not labels or not _fits(labels, utterance, model):
                self.skipped.append(utterance.utt_id)
                labels = [] if for_error_rate else None
            self._keep(utterance, labels)
        if not self.utterances:
            why = ("has a hypothesis of the deep model to learn from" if targets is not None else
                   "can be aligned with its text (under CTC it has to be long enough for it); check that text and wav.scp belong together")
            raise ComflpError(f"none of {len(self.skipped)} utterances {why}")

    def _keep(self, utterance: Utterance, labels: Sequence[int] | None) -> None:
        if labels is not None:
            self.utterances.append(utterance)
            self.labels.append(torch.tensor(labels, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> tuple[Utterance, torch.Tensor]:
        return self.utterances[index], self.labels[index]

    def collate(self, items: Sequence[tuple[Utterance, torch.Tensor]]) -> LabelledBatch:
        """Read the audio of a batch and pad audio and labels."""
        utterances, labels = zip(*items)
        return LabelledBatch(
            load_batch(utterances, self.sample_rate, allow_pipes=self.allow_pipes),
            torch.nn.utils.rnn.pad_sequence([*labels, _ONE], batch_first=True)[:-1],
            torch.tensor([len(ids) for ids in labels]),
        )


def _fits(labels: Sequence[int], utterance: Utterance, model: Any) -> bool:
    """Whether a text can be the target of an utterance."""
    if model.teacher_forced:
        return len(labels) <= model.most_tokens
    samples = torch.tensor([round(utterance.duration * model.sample_rate)])
    return int(model.num_frames(samples)) >= len(labels) + sum(a == b for a, b in zip(labels, labels[1:]))


class DurationBatchSampler(DynamicBatchSampler):
    """Batches of similar durations, drawn anew each epoch from seed and epoch.

    max_seconds: padded audio in a batch at most. max_utterances: utterances in a batch at most.
    order: how the batches of an epoch follow each other: ``random``, ``ascending``, ``descending``, or ``sortagrad``
        (ascending in the first epoch, random after it).
    """

    def __init__(self, dataset: LabelledDataset, max_seconds: float, max_utterances: int | None, order: str, seed: int):
        durations = [max(utterance.duration, dataset.window or 0.0) for utterance in dataset.utterances]
        self.order = order
        super().__init__(
            dataset,
            max_batch_length=max_seconds,
            # The last is the longest itself: what is longer, be it by a rounding, has a batch of its own.
            bucket_boundaries=sorted({*(max(durations) * step / _BUCKETS for step in range(1, _BUCKETS)), max(durations)}),
            lengths_list=durations,
            max_batch_ex=max_utterances,
            shuffle=True,
            batch_ordering="ascending" if order == "sortagrad" else order,
            seed=seed,
        )

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of ``epoch`` (from 1)."""
        if self.order == "sortagrad":
            self._batch_ordering = "ascending" if epoch <= 1 else "random"
        super().set_epoch(epoch)


class SharedBatches(DistributedSamplerWrapper):
    """The batches of a sampler shared out over the processes of a training.

    Where there are fewer batches than processes, some processes get the same batch. (SpeechBrain's own wrapper fails
    where a process gets a single batch.)
    """

    def __iter__(self):
        batches = list(self.sampler)
        return (batches[index] for index in DistributedSampler.__iter__(self))
