"""A transformers processor as this library needs it: text to labels and back, waveforms as the model expects them."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Callable, Sequence

import torch
from transformers import (
    FeatureExtractionMixin,
    PreTrainedTokenizerBase,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2PhonemeCTCTokenizer,
)

from comflp.data.batching import AudioBatch
from comflp.errors import ComflpError
from comflp.models.transformers.split import Family
from comflp.text import case_of_vocabulary, plain_text


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


def input_lengths(family: Family, extractor: FeatureExtractionMixin, num_samples: torch.Tensor) -> torch.Tensor:
    """(B,) samples, or frames of features for models that read these."""
    return num_samples if family.feature_frames is None else family.feature_frames(extractor, num_samples)


class ProcessorTokenizer:
    """Labels by the conventions of a model's own tokenizer, such that ``decode(encode(text)) == text``.

    Text is taken as it looks (:func:`comflp.text.plain_text`). A vocabulary with capital letters only takes text in
    capitals, one with small letters only in small ones; any other takes it as it is. Decoded text keeps the case of
    the vocabulary, except where the tokenizer's own ``do_lower_case`` says that it lowers what it decodes. Special
    tokens (``<s>``, ``<unk>``) are left out of decoded text and refused in text to be encoded.

    Three kinds of tokenizer are known: vocabularies of characters and longer pieces with a word delimiter
    (Wav2Vec2CTCTokenizer: the longest piece that fits comes first), phonemes separated by spaces
    (Wav2Vec2PhonemeCTCTokenizer: text of such a model is phonemes, never words to be turned into them), and the
    tokenizers of the ``tokenizers`` package (Parakeet, LASR, BPE and Unigram).

    vocab_size: labels that the model's head tells apart, the blank included.
    blank_id: the tokenizer's pad token, which is the CTC blank in transformers.

    Raises ComflpError for a tokenizer of another kind, a pad token that is no label, and a vocabulary with more text
    than the head has labels for.
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
        self._spell = self._spelling()
        self._delimiter = None if tokenizer.is_fast else tokenizer._word_delimiter_token  # the property logs where it is None
        self._special = set(tokenizer.all_special_tokens) - {self._delimiter}
        vocabulary = tokenizer.get_vocab()
        self._labels = set(vocabulary.values())
        text = {token: label for token, label in vocabulary.items() if token not in self._special}
        beyond = [token for token, label in text.items() if label >= vocab_size and token != self._delimiter]
        if beyond and not tokenizer.is_fast:
            raise ComflpError(
                f"the tokenizer has {len(beyond)} pieces of text beyond the {vocab_size} labels of the model's head (the "
                f"first is {beyond[0]!r}, label {text[beyond[0]]}): vocabulary and weights are not of one model"
            )
        self._pieces = {token: label for token, label in text.items() if label < vocab_size}
        self._longest = max(map(len, self._pieces), default=1)
        fast = (self.decode([label]) for label in range(vocab_size) if label in self._labels)
        self._fold = case_of_vocabulary(fast if tokenizer.is_fast else self._pieces)

    def encode(self, text: str) -> list[int]:
        """Label ids of ``text``; ComflpError names the first piece that the vocabulary lacks, or a special token."""
        text = plain_text(text)
        folded = self._fold(text)
        for token in self._special:
            if token and (token in text or token in folded):
                self._refuse(token, text, "is a special token")
        try:
            return self._spell(folded)
        except ComflpError as error:
            try:
                return self._spell(unicodedata.normalize("NFD", folded))  # some vocabularies spell an accent by itself
            except ComflpError:
                raise error from None

    def _spelling(self) -> Callable:
        """The method that turns folded text into labels, by the kind of tokenizer."""
        if isinstance(self.tokenizer, Wav2Vec2CTCTokenizer):
            return self._spell_characters
        if isinstance(self.tokenizer, Wav2Vec2PhonemeCTCTokenizer):
            return self._spell_phonemes
        if self.tokenizer.is_fast:
            return self._spell_pieces
        raise ComflpError(
            f"the model's tokenizer is a {type(self.tokenizer).__name__}; Wav2Vec2CTCTokenizer, "
            f"Wav2Vec2PhonemeCTCTokenizer and the tokenizers with a tokenizer.json are supported"
        )

    def _spell_characters(self, text: str) -> list[int]:
        space = self.tokenizer.replace_word_delimiter_char
        if self._delimiter != space and self._delimiter is not None and self._delimiter in text:
            self._refuse(self._delimiter, text, "stands for the space between words")
        spelt = text.replace(space, self._delimiter) if space and self._delimiter else text
        ids, start = [], 0
        while start < len(spelt):
            for end in range(min(len(spelt), start + self._longest), start, -1):
                if spelt[start:end] in self._pieces:
                    break
            else:
                self._refuse(spelt[start], text)
            ids.append(self._pieces[spelt[start:end]])
            start = end
        return ids

    def _spell_phonemes(self, text: str) -> list[int]:
        for phoneme in text.split():
            if phoneme not in self._pieces or phoneme == self._delimiter:
                self._refuse(phoneme, text)
        return [self._pieces[phoneme] for phoneme in text.split()]

    def _spell_pieces(self, text: str) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = encoded["input_ids"]
        for label, (start, end) in zip(ids, encoded["offset_mapping"]):
            if label == self.tokenizer.unk_token_id:
                self._refuse(text[start:end], text)
            if label >= self.vocab_size:
                self._refuse(text[start:end], text, f"has label {label}, beyond the {self.vocab_size} of the model's head")
        back = plain_text(self.decode(ids))
        if unicodedata.normalize("NFKC", back).casefold() != unicodedata.normalize("NFKC", text).casefold():
            raise ComflpError(
                f"the model's tokenizer cannot spell {text!r}: its labels read {back!r}; "
                f"normalise the text of the data directory to the model's characters"
            )
        return ids

    def _refuse(self, piece: str, text: str, reason: str = "") -> None:
        name = f"{piece!r}, the word delimiter" if piece == self._delimiter and not reason else repr(piece)
        fault = f"{name} {reason}, and occurs" if reason else f"the model's vocabulary has no {name}, which occurs"
        raise ComflpError(f"{fault} in {text!r}; normalise the text of the data directory to the model's characters")

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids after the CTC collapse; ComflpError for a label that the vocabulary has no text for."""
        unknown = [label for label in ids if label not in self._labels]
        if unknown:
            raise ComflpError(
                f"the model put out label {unknown[0]}, for which its tokenizer of {len(self._labels)} tokens has no text: "
                f"vocabulary and weights are not of one model"
            )
        return self.tokenizer.decode(
            list(ids), skip_special_tokens=True, group_tokens=False, clean_up_tokenization_spaces=False
        )

    @property
    def silent(self) -> list[int]:
        """Labels that :meth:`decode` leaves out: special tokens other than the blank."""
        ids = self.tokenizer.convert_tokens_to_ids(sorted(self._special))
        return sorted({label for label in ids if label < self.vocab_size} - {self.blank_id})

    def pieces(self) -> list[str]:
        """The text of every label, ``▁`` for a space; a label without any is named by its number."""
        found = self.tokenizer.convert_ids_to_tokens(list(range(self.vocab_size)))
        texts = [f"<{label}>" if token is None else token for label, token in enumerate(found)]
        return ["\u2581" if token in (self._delimiter, " ") else token for token in texts]

    def save(self, directory: str | Path) -> None:
        """Write the tokenizer's own files into ``directory``."""
        self.tokenizer.save_pretrained(directory)
