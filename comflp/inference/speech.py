"""A model and the utterances that it runs on: what dumps, searches, decoding and the measures of the output work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence, TypedDict, cast

from comflp.data import MAX_SECONDS
from comflp.data.data_dir import DataDir, subset
from comflp.errors import ComflpError
from comflp.processes import ALONE, Ranks

if TYPE_CHECKING:  # torch takes seconds to import, and not everything that names this class runs a model
    from comflp.data.batching import AudioBatch
    from comflp.models.layered import LayeredModel

Progress = Callable[..., Iterable[Any]]
"""``progress(iterable, desc=..., total=...)``: the iterable again, shown to the user while it is read, as tqdm does."""

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Name -> the type of torch that a model computes in; with fp32 it is that of its weights."""


class How(TypedDict, total=False):
    """The fields of :class:`Speech` beside the model and the data, as functions take them by keyword."""

    max_seconds: float
    work: str | Path | None
    ranks: Ranks
    allow_pipes: bool
    precision: str
    progress: Progress | None
    hypotheses: Mapping[str, Sequence[int]] | None


@dataclass(frozen=True)
class Speech:
    """A model, the utterances that it runs on, and how it runs over them. Of the how, results depend on ``precision`` alone.

    data: the utterances; their texts are read only by what is measured against texts.
    max_seconds: padded seconds of audio in a batch.
    work: a directory for partial results; with it a killed run goes on.
    ranks: the processes that share the batches; each of them gets all results.
    allow_pipes: whether commands of wav.scp entries that are pipes may run.
    precision: what is computed in: ``fp32``, ``bf16`` or ``fp16`` (:data:`PRECISIONS`).
    progress: shows the utterances that are done.
    hypotheses: utterance id -> the tokens that a decoder reads in teacher-forced passes; None for models without one
        (:func:`comflp.inference.hypotheses.on_own_hypotheses` makes them).
    """

    model: LayeredModel
    data: DataDir
    max_seconds: float = MAX_SECONDS
    work: str | Path | None = None
    ranks: Ranks = ALONE
    allow_pipes: bool = False
    precision: str = "fp32"
    progress: Progress | None = None
    hypotheses: Mapping[str, Sequence[int]] | None = None

    @property
    def how(self) -> How:
        """How it runs, as functions take it by keyword."""
        return cast(How, {name: getattr(self, name) for name in How.__annotations__})

    def drawn(self, num_utterances: int, seed: int) -> Speech:
        """The same with ``num_utterances`` of the utterances, drawn with ``seed``; all of them where there are fewer."""
        if num_utterances < 1:
            raise ComflpError(f"the number of utterances is at least 1, not {num_utterances}")
        return replace(self, data=subset(self.data, min(num_utterances, len(self.data)), seed))

    def with_targets(self, batch: AudioBatch) -> AudioBatch:
        """A batch of these utterances with the hypotheses that its decoder reads, where there are some."""
        if self.hypotheses is None:
            return batch
        return batch.with_targets([self.hypotheses[utterance.utt_id] for utterance in batch.utterances])
