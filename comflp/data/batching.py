"""Batches of similar lengths: what is padded is little, and how much memory a batch takes is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Sequence

import numpy as np
import torch

from comflp.data.audio import read_audio
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError


_ROUNDING = 1e-9
"""Seconds by which a sum of equal durations may miss their multiple; a sample is longer."""


@dataclass(frozen=True)
class AudioBatch:
    """``waveforms`` (B, T) float32, zero after each utterance's end; ``num_samples`` (B,) int64; ``utterances`` of length B.

    ``targets`` (B, U) int64 and ``num_targets`` (B,) int64: the tokens that a decoder reads in a teacher-forced pass, or the
    steps of a transducer's path, padded with zeros; None where there are none.
    """

    utterances: tuple[Utterance, ...]
    waveforms: torch.Tensor
    num_samples: torch.Tensor
    targets: torch.Tensor | None = None
    num_targets: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.utterances)

    def to(self, device: torch.device | str) -> AudioBatch:
        """The same batch with its tensors on ``device``."""
        targets = (None, None) if self.targets is None else (self.targets.to(device), self.num_targets.to(device))
        audio = (tensor.to(device, non_blocking=tensor.is_pinned()) for tensor in (self.waveforms, self.num_samples))
        return AudioBatch(self.utterances, *audio, *targets)

    def pinned(self) -> AudioBatch:
        """The same audio in memory from which a GPU copies while the program goes on."""
        return AudioBatch(self.utterances, self.waveforms.pin_memory(), self.num_samples.pin_memory())

    def with_targets(self, targets: Iterable[Sequence[int]]) -> AudioBatch:
        """The same batch with a list of token ids for each utterance, in order."""
        rows = [torch.tensor(row, dtype=torch.int64) for row in targets]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return AudioBatch(self.utterances, self.waveforms, self.num_samples, padded, lengths).to(self.waveforms.device)


def make_batches(
    utterances: Iterable[Utterance], max_seconds: float = 60.0, max_utterances: int = 64, max_padding: float = 0.05,
    window: float | None = None,
) -> list[list[Utterance]]:
    """Cut utterances into batches of similar length, the longest first.

    A batch is closed when one more utterance would make its padded size (utterances x longest) exceed ``max_seconds``,
    its count exceed ``max_utterances``, or its share of padding exceed ``max_padding``. An utterance longer than
    ``max_seconds`` is a batch of its own. window: seconds to which the model pads every utterance whatever its length, so
    that all count as much and none pads another. The same utterances give the same batches, in whatever order they come.

    >>> from comflp.data.data_dir import Utterance
    >>> lengths = {"a": 1.0, "b": 3.0, "c": 2.99, "d": 1.0, "e": 9.0}
    >>> batches = make_batches([Utterance(i, "", "", "", s) for i, s in lengths.items()], max_seconds=6.0)
    >>> [[u.utt_id for u in batch] for batch in batches]
    [['e'], ['b', 'c'], ['a', 'd']]
    """
    if max_seconds <= 0 or max_utterances < 1 or not 0 <= max_padding < 1:
        raise ComflpError("batches need max_seconds > 0, max_utterances >= 1 and 0 <= max_padding < 1, not "
                          f"{max_seconds}, {max_utterances} and {max_padding}")
    batches: list[list[Utterance]] = []
    spoken = 0.0
    for utterance in sorted(utterances, key=lambda u: (-u.duration, u.utt_id)):
        length = max(utterance.duration, window or 0.0)
        if batches:
            batch = batches[-1]
            padded = max(batch[0].duration, window or 0.0) * (len(batch) + 1)
            if (padded <= max_seconds and len(batch) < max_utterances
                    and padded - spoken - length <= max_padding * padded + _ROUNDING):
                batch.append(utterance)
                spoken += length
                continue
        batches.append([utterance])
        spoken = length
    return batches


def refuse_too_long(utterance: Utterance, seconds: float, longest: float | None) -> None:
    """ComflpError for an utterance of more seconds than a model takes at a time; None for a model that takes any."""
    if longest is not None and seconds > longest:
        raise ComflpError(f"utterance {utterance.utt_id} lasts {seconds:.1f} s, and this model takes {longest:g} s at a time; "
                          "cut it (Kaldi: segments), or leave it out")


def refuse_too_short(utterances: Sequence[Utterance], frames: torch.Tensor, num_samples: torch.Tensor, sample_rate: int) -> None:
    """ComflpError for an utterance whose (B,) ``num_samples`` make none of its (B,) ``frames``."""
    for utterance, length, samples in zip(utterances, frames.tolist(), num_samples.tolist()):
        if length < 1:
            raise ComflpError(f"utterance {utterance.utt_id} has only {samples} samples at {sample_rate} Hz, too few for one frame of "
                              "this model; remove it from the data directory")


def load_batch(utterances: Sequence[Utterance], sample_rate: int, allow_pipes: bool = False) -> AudioBatch:
    """Read the audio of some utterances into one zero-padded AudioBatch, in the order given."""
    waveforms = [read_audio(utterance, sample_rate, allow_pipes) for utterance in utterances]
    num_samples = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    padded = np.zeros((len(waveforms), num_samples.max()), dtype=np.float32)
    for row, waveform in zip(padded, waveforms):
        row[:len(waveform)] = waveform
    return AudioBatch(tuple(utterances), torch.from_numpy(padded), torch.from_numpy(num_samples))


def own_frames(num_frames: torch.Tensor, length: int) -> torch.Tensor:
    """(B, length) bool, true on the frames (or samples) that are an utterance's own and not padding.

    num_frames: (B,) int64.

    >>> own_frames(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(length, device=num_frames.device)[None, :] < num_frames[:, None]
