"""What every model's tokenizer does."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Sequence


class Tokenizer(Protocol):
    """Text to label ids and back, in the words of the model's own processor."""

    vocab_size: int
    blank_id: int

    def encode(self, text: str) -> list[int]:
        """Label ids of ``text``, without blanks; ComflpError names a character that has none."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids after the CTC collapse (no repeats, no blanks)."""

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files into a model directory."""
