"""What the measures of a model's output work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from comflp.data import MAX_SECONDS
from comflp.data.data_dir import DataDir, subset
from comflp.errors import ComflpError

if TYPE_CHECKING:
    from comflp.models.layered import LayeredModel


@dataclass(frozen=True)
class Speech:
    """A deep model and the utterances that its output is looked at on.

    data: a probe set; its texts are read by ``skip_ctc_labelled`` only. max_seconds: padded seconds of audio in a batch.
    work: a directory for partial results; with it a killed run goes on.
    """

    model: LayeredModel
    data: DataDir
    max_seconds: float = MAX_SECONDS
    work: str | Path | None = None
    allow_pipes: bool = False

    def drawn(self, num_utterances: int, seed: int) -> Speech:
        """The same with ``num_utterances`` of the utterances, drawn with ``seed``; all of them where there are fewer."""
        if num_utterances < 1:
            raise ComflpError(f"the number of utterances is at least 1, not {num_utterances}")
        return replace(self, data=subset(self.data, min(num_utterances, len(self.data)), seed))
