"""Text to labels and back with the tokenizer of a pretrained SpeechBrain model."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import sentencepiece
from speechbrain.dataio.encoder import CTCTextEncoder

from comflp.errors import ComflpError
from comflp.text import case_of_vocabulary, plain_text


class SpeechBrainTokenizer:
    """A SentencePieceProcessor or a CTCTextEncoder of characters, by the conventions of ``EncoderASR``.

    Text is taken as it looks (:func:`comflp.text.plain_text`) and brought to the
    case of the vocabulary where that has only one; decoded text keeps that case.

    tokenizer: the object under ``tokenizer`` in hyperparams.yaml.
    vocab_size: labels of the CTC projection. blank_id: the CTC blank's label.
    """

    def __init__(self, tokenizer: sentencepiece.SentencePieceProcessor | CTCTextEncoder, vocab_size: int, blank_id: int):
        if not isinstance(tokenizer, (sentencepiece.SentencePieceProcessor, CTCTextEncoder)):
            raise ComflpError(
                f"the SpeechBrain model's tokenizer is a {type(tokenizer).__name__}; "
                f"SentencePieceProcessor and CTCTextEncoder are supported"
            )
        self.tokenizer = tokenizer
        self.vocab_size = vocab_size
        self.blank_id = blank_id
        self._pieces = isinstance(tokenizer, sentencepiece.SentencePieceProcessor)
        tokens = (
            [tokenizer.id_to_piece(i) for i in range(tokenizer.get_piece_size()) if not tokenizer.is_control(i)]
            if self._pieces
            else [str(label) for label in tokenizer.lab2ind]
        )
        self._fold = case_of_vocabulary(token for token in tokens if not (token.startswith("<") and token.endswith(">")))

    def encode(self, text: str) -> list[int]:
        """Label ids of ``text``; ComflpError names the first piece that has none."""
        text = self._fold(plain_text(text))
        if self._pieces:
            pieces = self.tokenizer.encode_as_pieces(text)
            ids = [self.tokenizer.piece_to_id(piece) for piece in pieces]
            known = [label != self.tokenizer.unk_id() for label in ids]
        else:
            pieces = list(text)
            ids = [self.tokenizer.lab2ind.get(piece, -1) for piece in pieces]
            known = [label >= 0 for label in ids]
        for piece, label, is_known in zip(pieces, ids, known):
            if not is_known or label >= self.vocab_size or label == self.blank_id:
                raise ComflpError(
                    f"the model's vocabulary has no {piece!r}, which occurs in {text!r}; "
                    f"normalise the text of the data directory to the model's characters"
                )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids after the CTC collapse."""
        if self._pieces:
            return self.tokenizer.decode_ids(list(ids))
        return "".join(self.tokenizer.decode_ndim(list(ids)))

    def save(self, directory: str | Path) -> None:
        """Write ``tokenizer.ckpt``, the file that published models have."""
        self.write(Path(directory) / "tokenizer.ckpt")

    def write(self, path: Path) -> None:
        """Write the tokenizer as SpeechBrain's Pretrainer reads it."""
        if self._pieces:
            path.write_bytes(self.tokenizer.serialized_model_proto())
        else:
            self.tokenizer.save(path)
