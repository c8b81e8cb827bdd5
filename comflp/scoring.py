"""Error rates: the one place where hypotheses are compared with references.

Fine search, training, decoding and the report all count with these functions,
so a CER means the same everywhere: both texts as they look
(:func:`comflp.text.plain_text`), then through a normaliser where one is asked
for; Levenshtein alignment by jiwer; every character (a space between words
too) one unit for CER, every word between spaces one unit for WER. Beside letters
of scripts that write no spaces between words none counts for CER: corpora of
these are cut into words or not. Without a normaliser case and punctuation count.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Protocol, Sequence

import jiwer
import numpy as np

from comflp.errors import ComflpError
from comflp.text import letter_cases, plain_text

METRICS = ("cer", "wer")
"""Error rates of characters and of words."""

NORMALISERS = ("none", "basic", "english")
"""What texts are put through before they are compared. ``basic`` and ``english`` are those of Whisper: small letters, no
punctuation; ``basic`` keeps the marks on letters, vowel signs above all, which Whisper's takes out; ``english`` also writes
numbers in digits and contractions in full, whichever apostrophe they have. (British spellings stay what they are: the table of
them is a file of Whisper's models.)"""

_SPACELESS = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters."""
_SPACE_OF_NO_WORD = re.compile(f"(?<={_SPACELESS}) | (?={_SPACELESS})")
_APOSTROPHE = re.compile("[\u2018\u2019\u02bc\uff07\u00b4`]")

_OTHER_CASE_ALLOWED = 0.01
"""Share of the references' letters that may be in a case that the model cannot write: a name here and there."""

Texts = Mapping[str, str] | Sequence[str]


class Speller(Protocol):
    """As much of a model's tokenizer as is needed to see what it can write."""

    vocab_size: int

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids."""


@dataclass(frozen=True)
class ErrorRate:
    """Counts of one alignment, or of many added up. ``hits + substitutions + deletions == ref_length``.

    >>> ErrorRate(substitutions=1, deletions=0, insertions=1, hits=7).rate
    25.0
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0

    @property
    def ref_length(self) -> int:
        """Number of characters or words in the references."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors in percent of the reference length; above 100 where much is inserted.

        Against an empty reference: 0 without insertions, else infinity.
        """
        if self.ref_length == 0:
            return float("inf") if self.insertions else 0.0
        return 100.0 * self.errors / self.ref_length

    @property
    def capped(self) -> ErrorRate:
        """For one utterance: the same with no more insertions than bring its rate to 100%, or than one where nothing was said.

        Added up over a set, one output that repeats itself for ever then counts no more than an empty one, and words that
        are made up of silence still count.

        >>> ErrorRate(substitutions=1, insertions=50, hits=3).capped.rate
        100.0
        >>> ErrorRate(insertions=50).capped.insertions
        1
        """
        counts = (self.substitutions, self.deletions, self.insertions, self.hits)
        return ErrorRate(*capped_counts(np.array([counts]))[0].tolist())

    def __add__(self, other: ErrorRate) -> ErrorRate:
        return ErrorRate(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.hits + other.hits,
        )


def capped_counts(counts: np.ndarray) -> np.ndarray:
    """Counts (n, 4) of substitutions, deletions, insertions and hits, each utterance's as :attr:`ErrorRate.capped`."""
    substitutions, deletions, insertions, hits = counts.T
    most = np.maximum(hits, counts[:, [0, 1, 3]].sum(axis=1) == 0)
    return np.stack([substitutions, deletions, np.minimum(insertions, most), hits], axis=1)


def error_rate(refs: Texts, hyps: Texts, metric: str = "cer", normaliser: str = "none") -> ErrorRate:
    """Error rate of a whole set: errors added up over the total length.

    refs, hyps: lists of texts in the same order, or dicts by utterance id. metric: ``cer`` or ``wer``. normaliser: one of ``NORMALISERS``.

    >>> error_rate(["the cat sat"], ["the  bat"], metric="wer")
    ErrorRate(substitutions=1, deletions=1, insertions=0, hits=1)

    Raises ComflpError where utterances are missing on one side, or where the
    references hold no character.
    """
    return total_of(utterances_errors(*_paired(refs, hyps), metric, normaliser))


def total_of(errors: Sequence[ErrorRate]) -> ErrorRate:
    """Counts of all utterances together; ComflpError where their references hold no character."""
    total = sum(errors, ErrorRate())
    if total.ref_length == 0:
        raise ComflpError("no error rate can be given: the references are all empty")
    return total


def utterances_errors(
    refs: Sequence[str], hyps: Sequence[str], metric: str = "cer", normaliser: str = "none"
) -> list[ErrorRate]:
    """Counts for each of many utterances, in order.

    >>> utterances_errors(["four"], ["for"])
    [ErrorRate(substitutions=0, deletions=1, insertions=0, hits=3)]
    >>> [counts.errors for counts in utterances_errors(["It's Twenty-One!", "one"], ["it is 21", "1"], "wer", "english")]
    [0, 0]
    """
    return [_counts(chunks) for chunks in align(refs, hyps, metric, normaliser).alignments]


def align(
    refs: Sequence[str], hyps: Sequence[str], metric: str = "cer", normaliser: str = "none"
) -> jiwer.WordOutput | jiwer.CharacterOutput:
    """jiwer's alignment of each pair of texts; ``jiwer.visualize_alignment`` prints it."""
    if metric not in METRICS:
        raise ComflpError(f"metric {metric!r} is not known; give one of {', '.join(METRICS)}")
    if len(refs) != len(hyps):
        raise ComflpError(f"{len(refs)} references but {len(hyps)} hypotheses")
    references, hypotheses = ([normalise(text, normaliser) for text in texts] for texts in (refs, hyps))
    if metric == "cer":
        return jiwer.process_characters(references, hypotheses, _CHARACTERS, _CHARACTERS)
    return jiwer.process_words(references, hypotheses, _WORDS, _WORDS)


def normalise(text: str, normaliser: str = "none") -> str:
    """``text`` as it is compared: as it looks, and through one of ``NORMALISERS``.

    >>> normalise(" a \\t b "), normalise("Well, a Cat!", "basic")
    ('a b', 'well a cat')
    """
    return plain_text(_normaliser(normaliser)(plain_text(text)))


def characters(text: str) -> list[str]:
    """What CER counts of a text: its characters, of spaces those between words of scripts that have them.

    >>> characters("a b"), len(characters("\\u4f60 \\u597d"))
    (['a', ' ', 'b'], 2)
    """
    return list(_SPACE_OF_NO_WORD.sub("", text))


@functools.cache
def _normaliser(name: str) -> Callable[[str], str]:
    if name not in NORMALISERS:
        raise ComflpError(f"normaliser {name!r} is not known; give one of {', '.join(NORMALISERS)}")
    if name == "none":
        return str
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    if name == "english":
        english = EnglishTextNormalizer({})
        return lambda text: english(_APOSTROPHE.sub("'", text))
    basic = BasicTextNormalizer()
    basic.clean = _without_symbols
    return basic


def _without_symbols(text: str) -> str:
    """Punctuation and symbols become spaces, and marks that stand on one of them. Whisper's own normaliser takes out all marks: in India and
    South-East Asia they are vowels.
    """
    kept: list[str] = []
    for character in unicodedata.normalize("NFKC", text):
        kind = unicodedata.category(character)[0]
        gone = kind in "SP" or (kind == "M" and kept[-1:] in ([], [" "]))
        kept.append(" " if gone else character)
    return "".join(kept)


def usual_normaliser(teacher_forced: bool) -> str:
    """That of a model where nobody names one: models that write text as people do are scored without its capitals and punctuation."""
    return "basic" if teacher_forced else "none"


def check_references(references: Mapping[str, str], tokenizer: Speller, normaliser: str = "none") -> None:
    """Refuse, before any work, references that no error rate can be given against, and those that a model could not write
    however well it recognised: letters of the other case.

    references: utterance id -> text. Vocabularies of one case are common, and so are corpora of the other; every letter
    would then count as an error, and a search would rank models by noise. Raises ComflpError, with an example and the
    remedy, where more than one letter of a hundred is in a case that the model does not write, and where the normaliser
    leaves nothing of any text.
    """
    if any(references.values()) and not any(normalise(text, normaliser) for text in references.values()):
        raise ComflpError(f"no error rate can be given: the references are all empty, as the normaliser {normaliser!r} leaves them; "
                          "correct the texts, or give another --normaliser")
    if normaliser != "none":
        return  # both sides are brought to small letters
    written = letter_cases(_label_texts(tokenizer))
    if len(written) != 1:
        return
    ours, other = ("upper", str.islower) if written == {"upper"} else ("lower", str.isupper)
    letters = wrong = 0
    example = ""
    for utt_id, text in references.items():
        in_other_case = sum(map(other, text))
        letters += sum(character.isupper() or character.islower() for character in text)
        wrong += in_other_case
        if in_other_case and not example:
            example = utt_id
    if wrong > _OTHER_CASE_ALLOWED * letters:
        raise ComflpError(
            f"the model writes {_CASE_NAMES[ours]} letters only, and {100 * wrong / letters:.0f}% of the letters in the "
            f"references are of the other case (utterance {example}: {references[example]!r}): they would all count as "
            f"errors. Bring the text of the data directory to {_CASE_NAMES[ours]} letters (recipes/librispeech: "
            f"--letter-case {ours}), or compare without case (--normaliser basic)"
        )


_CASE_NAMES = {"upper": "capital", "lower": "small"}


def _label_texts(tokenizer: Speller) -> Iterator[str]:
    """What the labels write one by one; marks such as <blank> or [UNK], which some tokenizers write too, left out."""
    for label in range(tokenizer.vocab_size):
        try:
            text = tokenizer.decode([label])
        except ComflpError:  # a label that the tokenizer has no text for
            continue
        if not (text.strip().startswith(("<", "[")) and text.strip().endswith((">", "]"))):
            yield text


class _Split(jiwer.AbstractTransform):
    """A list of texts to a list of lists of units; an empty text has none."""

    def __init__(self, split: Callable[[str], list[str]]):
        self._split = split

    def process_string(self, s: str) -> list[str]:
        return self._split(s)

    def process_list(self, inp: list[str]) -> list[list[str]]:
        return [self._split(text) for text in inp]


_CHARACTERS = _Split(characters)
_WORDS = _Split(str.split)


def _counts(chunks: Sequence[jiwer.AlignmentChunk]) -> ErrorRate:
    lengths = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        length = chunk.hyp_end_idx - chunk.hyp_start_idx if chunk.type == "insert" else chunk.ref_end_idx - chunk.ref_start_idx
        lengths[chunk.type] += length
    return ErrorRate(lengths["substitute"], lengths["delete"], lengths["insert"], lengths["equal"])


def _paired(refs: Texts, hyps: Texts) -> tuple[list[str], list[str]]:
    if not isinstance(refs, Mapping) and not isinstance(hyps, Mapping):
        return list(refs), list(hyps)
    if not isinstance(refs, Mapping) or not isinstance(hyps, Mapping):
        raise ComflpError("references and hypotheses must both be lists, or both be dicts by utterance id")
    for missing, side in ((refs.keys() - hyps.keys(), "hypothesis"), (hyps.keys() - refs.keys(), "reference")):
        if missing:
            example = sorted(missing)[0]
            raise ComflpError(f"{len(missing)} utterances have no {side}, the first is {example}")
    utt_ids = sorted(refs)
    return [refs[utt_id] for utt_id in utt_ids], [hyps[utt_id] for utt_id in utt_ids]
