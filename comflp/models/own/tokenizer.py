"""A sentencepiece character tokenizer whose id 0 is the CTC blank."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Iterable, Sequence

import sentencepiece

from comflp.errors import ComflpError
from comflp.text import plain_text

FILE_NAME = "tokenizer.model"
_BLANK = "<blank>"


class SentencePieceTokenizer:
    """Characters to ids and back; spaces are sentencepiece's ``▁``.

    model: the bytes of a sentencepiece model whose padding piece is the blank.
    """

    blank_id = 0

    def __init__(self, model: bytes):
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        if self._processor.id_to_piece(self.blank_id) != _BLANK:
            raise ComflpError(f"{FILE_NAME} was not made for CTC: its piece 0 is not {_BLANK}")

    @classmethod
    def train(cls, texts: Iterable[str]) -> SentencePieceTokenizer:
        """A tokenizer with every character that occurs in ``texts``, as :func:`comflp.text.plain_text` has them."""
        texts = list(map(plain_text, texts))
        characters = {character for text in texts for character in text if not character.isspace()}
        if not characters:
            raise ComflpError("there is no text to take a vocabulary from")
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            model_type="char",
            vocab_size=len(characters) + 3,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            pad_id=cls.blank_id,
            pad_piece=_BLANK,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
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

    def save(self, directory: Path) -> None:
        """Write ``tokenizer.model`` into ``directory``."""
        (Path(directory) / FILE_NAME).write_bytes(self._model)

    def __deepcopy__(self, memo) -> SentencePieceTokenizer:
        return self
