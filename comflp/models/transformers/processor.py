"""A transformers processor as this library needs it: text to labels and back, waveforms as the model expects them."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterable, Sequence

import torch
from transformers import PreTrainedTokenizerBase, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from comflp.data.batching import AudioBatch
from comflp.errors import ComflpError


def normalised_waveforms(batch: AudioBatch, extractor: Wav2Vec2FeatureExtractor) -> torch.Tensor:
    """(B, T) float32: the batch's waveforms as ``extractor`` gives them to the model.

    With ``do_normalize`` each utterance is brought to zero mean and unit
    variance over its own samples, as the extractor does with an utterance
    alone; padding keeps the extractor's padding value. (Given several
    utterances without asking for an attention mask, the extractor itself would
    normalise over the padding too. That would make a score depend on the batch.)
    """
    if len(batch.waveforms) == 1:  # all of it is audio; no value decides a shape, so the pass can be exported
        rows = list(batch.waveforms)
    else:
        rows = [row[:length] for row, length in zip(batch.waveforms, batch.num_samples.tolist())]
    if extractor.do_normalize:
        rows = [(row - row.mean()) / torch.sqrt(row.var(unbiased=False) + 1e-7) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=extractor.padding_value)


class ProcessorTokenizer:
    """Labels by the conventions of a model's own tokenizer.

    A vocabulary with capital letters only takes text in capitals, one with
    small letters only in small ones; any other takes it as it is. Decoded text
    keeps the case of the vocabulary, except where the tokenizer's own
    ``do_lower_case`` says that it lowers what it decodes. Runs of white space
    are one space, which becomes the word delimiter token and back. Special
    tokens (``<s>``, ``<unk>``) are left out of decoded text.

    tokenizer: Wav2Vec2CTCTokenizer or ParakeetTokenizer.
    vocab_size: labels that the model's CTC head tells apart, the blank included.
    blank_id: the tokenizer's pad token, which is the CTC blank in transformers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int):
        self.tokenizer = tokenizer
        self.vocab_size = vocab_size
        if tokenizer.pad_token_id is None or not 0 <= tokenizer.pad_token_id < vocab_size:
            raise ComflpError(
                f"the tokenizer's pad token {tokenizer.pad_token!r} has id {tokenizer.pad_token_id}, which is not one "
                f"of the model's {vocab_size} labels; set pad_token in tokenizer_config.json to the CTC blank"
            )
        self.blank_id = tokenizer.pad_token_id
        self._fold = case_of_vocabulary(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))

    def encode(self, text: str) -> list[int]:
        """Label ids of ``text``; ComflpError names the first character that the vocabulary lacks."""
        text = self._fold(" ".join(text.split()))
        if isinstance(self.tokenizer, Wav2Vec2CTCTokenizer):
            vocabulary = self.tokenizer.encoder
            tokens = self.tokenizer.tokenize(text)
            for token in tokens:
                if token not in vocabulary:
                    self._refuse(token, text)
            ids = [vocabulary[token] for token in tokens]
        else:
            encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids = encoded["input_ids"]
            for label, (start, end) in zip(ids, encoded["offset_mapping"]):
                if label == self.tokenizer.unk_token_id:
                    self._refuse(text[start:end], text)
        for label in ids:
            if label >= self.vocab_size:
                token = self.tokenizer.convert_ids_to_tokens(label)
                self._refuse(f"{token}' (label {label} of a model with {self.vocab_size} labels)'", text)
        return ids

    def _refuse(self, piece: str, text: str) -> None:
        delimiter = getattr(self.tokenizer, "word_delimiter_token", None)
        name = f"{piece!r}, the word delimiter" if piece == delimiter else repr(piece)
        raise ComflpError(
            f"the model's vocabulary has no {name}, which occurs in {text!r}; "
            f"normalise the text of the data directory to the model's characters"
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids after the CTC collapse."""
        return self.tokenizer.decode(
            list(ids), skip_special_tokens=True, group_tokens=False, clean_up_tokenization_spaces=False
        )

    def save(self, directory: str | Path) -> None:
        """Write the tokenizer's own files into ``directory``."""
        self.tokenizer.save_pretrained(directory)


def case_of_vocabulary(tokens: Iterable[str]) -> Callable[[str], str]:
    """What brings text to the case of a vocabulary: str.upper, str.lower, or str for one with both or neither.

    >>> case_of_vocabulary(["A", "B", "|"])("ab"), case_of_vocabulary(["A", "b"])("aB")
    ('AB', 'aB')
    """
    letters = "".join(tokens)
    upper, lower = any(c.isupper() for c in letters), any(c.islower() for c in letters)
    if upper != lower:
        return str.upper if upper else str.lower
    return str
