"""A sentencepiece tokenizer of characters or pieces of words, whose id 0 is the CTC blank."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Iterable, Sequence

import sentencepiece

from comflp.errors import ComflpError
from comflp.text import plain_text

FILE_NAME = "tokenizer.model"
_BLANK = "<blank>"
_SPECIAL = (_BLANK, "<unk>", "\u2581")
UNITS = ("char", "bpe", "unigram")


class SentencePieceTokenizer:
    """Text to ids and back; spaces are sentencepiece's ``▁``.

    model: the bytes of a sentencepiece model whose padding piece is the blank.
    """

    blank_id = 0

    def __init__(self, model: bytes):
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        if self._processor.id_to_piece(self.blank_id) != _BLANK:
            raise ComflpError(f"{FILE_NAME} was not made for CTC: its piece 0 is not {_BLANK}")

    @classmethod
    def train(cls, texts: Iterable[str], unit: str = "char", vocab_size: int = 0) -> SentencePieceTokenizer:
        """A tokenizer of the units of ``texts``, as :func:`comflp.text.plain_text` has them.

        unit: ``char`` (every character that occurs), ``bpe`` or ``unigram`` (pieces of words).
        vocab_size: number of labels of ``bpe`` and ``unigram``, blank and unknown included. ``char`` has as many as there
            are characters and takes none.

        Raises ComflpError where there is no text, or where it does not have ``vocab_size`` pieces.
        """
        if unit not in UNITS:
            raise ComflpError(f"unit {unit}: choose {', '.join(UNITS)}")
        texts = list(map(plain_text, texts))
        characters = {character for text in texts for character in text if not character.isspace()}
        if not characters:
            raise ComflpError("there is no text to take a vocabulary from")
        smallest = len(characters) + len(_SPECIAL)
        if unit != "char" and vocab_size <= smallest:
            raise ComflpError(f"vocab_size {vocab_size} is too small for {unit}: {smallest} labels are needed for the characters alone")
        settings = {"vocab_size": smallest, "hard_vocab_limit": False, "add_dummy_prefix": False}
        if unit != "char":  # a word has the same pieces at the beginning of a text and in it; one thread, for equal results
            settings = {"vocab_size": vocab_size, "add_dummy_prefix": True, "num_threads": 1}
        written = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=written,
                model_type=unit,
                character_coverage=1.0,
                normalization_rule_name="identity",
                pad_id=cls.blank_id,
                pad_piece=_BLANK,
                unk_id=1,
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
                **settings,
            )
        except RuntimeError as error:
            most = re.search(r"<= (\d+)", str(error))
            reason = f"the training texts have {most[1]} pieces at most" if most else str(error)
            raise ComflpError(f"vocab_size {vocab_size} does not suit {unit}: {reason}") from None
        return cls(written.getvalue())

    @classmethod
    def load(cls, directory: str | Path) -> SentencePieceTokenizer:
        """The tokenizer of a model directory."""
        path = Path(directory) / FILE_NAME
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            raise ComflpError(f"{path} does not exist; the model directory is not complete") from None
        except (RuntimeError, IndexError) as error:
            raise ComflpError(f"{path} is not a sentencepiece model: {error}") from None

    @property
    def vocab_size(self) -> int:
        """Number of labels, blank and unknown included."""
        return self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """Label ids of ``text``; a character outside the vocabulary is a ComflpError that names it."""
        text = plain_text(text)
        ids = self._processor.encode(text)
        if self._processor.unk_id() in ids:
            unknown = sorted({c for c in text if self._processor.unk_id() in self._processor.encode(c)})
            raise ComflpError(
                f"{' '.join(unknown)} in {text!r} is not in the model's vocabulary of {self.vocab_size} labels"
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids after the CTC collapse."""
        return self._processor.decode([int(i) for i in ids])

    def pieces(self) -> list[str]:
        """The text of every label, ``▁`` for a space."""
        return [self._processor.id_to_piece(label) for label in range(self.vocab_size)]

    def save(self, directory: Path) -> None:
        """Write ``tokenizer.model`` into ``directory``."""
        (Path(directory) / FILE_NAME).write_bytes(self._model)

    def __deepcopy__(self, memo: dict) -> SentencePieceTokenizer:
        return self
