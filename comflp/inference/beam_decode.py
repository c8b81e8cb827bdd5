"""CTC beam search, by SpeechBrain's searcher, with an optional KenLM language model of words or characters."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from speechbrain.decoders import CTCBeamSearcher

from comflp.errors import ComflpError
from comflp.inference.arpa import check_letter_case, read_words
from comflp.models.tokenizer import Tokenizer

_LOGGER = logging.getLogger("speechbrain.decoders.ctc")
_WORD_START = "▁"
SPACE = "<space>"
"""A space in the training text of a language model of characters."""
LM_UNITS = ("word", "char")


class BeamSearch:
    """A search for :func:`comflp.inference.decode.decode`: (logits, num_frames, tokenizer) -> texts.

    tokenizer: the model's; the pieces of text that its labels stand for are taken from it.
    beam_size: hypotheses kept. lm: path of a KenLM file (arpa or binary). lm_weight: SpeechBrain's alpha.
    lm_unit: ``word``, the words that spaces separate in the model's texts; or ``char``, every label one word of the
        language model, for languages written without spaces and models of characters.

    Raises ComflpError where a language model is asked for and kenlm or pygtrie is not installed, or the file is not one,
    or has no word in the letters of the model.
    """

    def __init__(self, tokenizer: Tokenizer, beam_size: int = 20, lm: str | Path | None = None,
                 lm_weight: float = 0.5, lm_unit: str = "word"):
        if lm_unit not in LM_UNITS:
            raise ComflpError(f"lm_unit {lm_unit!r} is not known; give one of {', '.join(LM_UNITS)}")
        self._by_label = lm_unit == "char"
        texts = label_texts(tokenizer)
        words = None if lm is None else read_words(lm)
        if words:
            check_letter_case(words - {SPACE}, texts, lm)
        if self._by_label:
            texts = [text and _WORD_START + text.replace(" ", SPACE).replace(_WORD_START, SPACE) for text in texts]
        _LOGGER.setLevel(logging.ERROR)  # it warns of a vocabulary without a space, which is as it should be for Mandarin
        try:
            self._searcher = CTCBeamSearcher(
                blank_index=tokenizer.blank_id,
                vocab_list=texts,
                space_token=" ",
                kenlm_model_path=None if lm is None else str(lm),
                unigrams=words,
                alpha=lm_weight,
                beam_size=beam_size,
            )
        except ImportError:
            raise ComflpError("a language model needs two more Python packages: pip install kenlm pygtrie") from None
        except (OSError, RuntimeError) as error:
            raise ComflpError(f"{lm} cannot be used as a KenLM language model: {error}") from None

    def __call__(self, logits: torch.Tensor, num_frames: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
        """The most likely text of each utterance; logits (B, T, V), num_frames (B,)."""
        log_probs = logits.float().log_softmax(dim=-1).cpu().numpy()
        lengths = num_frames.tolist()
        texts = [self._searcher.decode_log_probs(rows[:length], length)[0].text for rows, length in zip(log_probs, lengths)]
        if self._by_label:
            texts = ["".join(text.split()).replace(SPACE, " ").strip() for text in texts]
        return texts


def label_texts(tokenizer: Tokenizer) -> list[str]:
    """The text that each label adds between two others, as SpeechBrain's searcher wants it.

    A label that begins a word is written ``▁word`` where labels hold more than
    single characters, and a space of its own is ``" "``. The blank and labels
    that add no text are empty.
    """
    anchor, text = _anchor(tokenizer)
    added = []
    for label in range(tokenizer.vocab_size):
        between = "" if label == tokenizer.blank_id else _text(tokenizer, [anchor, label, anchor])
        fits = len(between) >= 2 * len(text) and between.startswith(text) and between.endswith(text)
        piece = between[len(text) : len(between) - len(text)] if fits else ""
        added.append("" if _is_unknown(piece) else piece)
    if any(piece.startswith(" ") and len(piece) > 1 for piece in added):
        added = [_WORD_START + piece[1:] if piece.startswith(" ") else piece for piece in added]
    return added


def _text(tokenizer: Tokenizer, labels: list[int]) -> str:
    """What labels are written as; nothing where the tokenizer, which may be smaller than the head, has no text for one."""
    try:
        return tokenizer.decode(labels)
    except ComflpError:
        return ""


def _is_unknown(piece: str) -> bool:
    """Sentencepiece writes an unknown label as a mark between spaces."""
    return len(piece) > 1 and piece.startswith(" ") and piece.endswith(" ")


def _anchor(tokenizer: Tokenizer) -> tuple[int, str]:
    """A label whose text stays itself beside another of its kind, and that text."""
    for label in range(tokenizer.vocab_size):
        if label != tokenizer.blank_id:
            text = _text(tokenizer, [label])
            if text.strip() == text != "" and tokenizer.decode([label, label]) == 2 * text:
                return label, text
    raise ComflpError("the tokenizer's labels give no text; this model cannot be decoded by beam search")
