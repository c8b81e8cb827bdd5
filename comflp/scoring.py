"""Error rates: the one place where hypotheses are compared with references.

Fine search, decoding and the report all count with these functions, so a CER
means the same everywhere: Levenshtein alignment by jiwer, runs of white space
made one space and stripped at both ends, every character (a space inside the
text too) one unit for CER, every white-space separated word one unit for WER.
Case, punctuation and Unicode form are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import jiwer

from comflp.errors import ComflpError

UNITS = ("char", "word")
METRIC_OF_UNIT = {"char": "cer", "word": "wer"}
UNIT_OF_METRIC = {"cer": "char", "wer": "word"}

Texts = Mapping[str, str] | Sequence[str]


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

    def __add__(self, other: ErrorRate) -> ErrorRate:
        return ErrorRate(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.hits + other.hits,
        )


def error_rate(refs: Texts, hyps: Texts, unit: str = "char") -> ErrorRate:
    """Character (``unit="char"``) or word error rate of a whole set: errors added up over the total length.

    refs, hyps: lists of texts in the same order, or dicts by utterance id.

    >>> error_rate(["the cat sat"], ["the  bat"], unit="word")
    ErrorRate(substitutions=1, deletions=1, insertions=0, hits=1)

    Raises ComflpError where utterances are missing on one side, or where the
    references hold not one unit.
    """
    reference_texts, hypothesis_texts = _paired(refs, hyps)
    total = sum(utterances_errors(reference_texts, hypothesis_texts, unit), ErrorRate())
    if total.ref_length == 0:
        raise ComflpError("no error rate can be given: the references are all empty")
    return total


def utterance_errors(ref: str, hyp: str, unit: str = "char") -> ErrorRate:
    """Counts for one utterance.

    >>> utterance_errors("four", "for")
    ErrorRate(substitutions=0, deletions=1, insertions=0, hits=3)
    """
    return utterances_errors([ref], [hyp], unit)[0]


def utterances_errors(refs: Sequence[str], hyps: Sequence[str], unit: str = "char") -> list[ErrorRate]:
    """Counts for each of many utterances, in order."""
    return [_counts(chunks) for chunks in align(refs, hyps, unit).alignments]


def align(refs: Sequence[str], hyps: Sequence[str], unit: str = "char") -> jiwer.WordOutput | jiwer.CharacterOutput:
    """jiwer's alignment of each pair of texts; ``jiwer.visualize_alignment`` prints it."""
    if unit not in UNITS:
        raise ComflpError(f"unit {unit!r} is not known; give one of {', '.join(UNITS)}")
    if len(refs) != len(hyps):
        raise ComflpError(f"{len(refs)} references but {len(hyps)} hypotheses")
    references, hypotheses = list(map(normalise, refs)), list(map(normalise, hyps))
    if unit == "char":
        return jiwer.process_characters(references, hypotheses, _CHARACTERS, _CHARACTERS)
    return jiwer.process_words(references, hypotheses, _WORDS, _WORDS)


def normalise(text: str) -> str:
    """``text`` with runs of white space as one space, and none at the ends.

    >>> normalise(" a \\t b ")
    'a b'
    """
    return " ".join(text.split())


class _Split(jiwer.AbstractTransform):
    """A list of texts to a list of lists of units; an empty text has none."""

    def __init__(self, split):
        self._split = split

    def process_string(self, s: str) -> list[str]:
        return self._split(s)

    def process_list(self, inp: list[str]) -> list[list[str]]:
        return [self._split(text) for text in inp]


_CHARACTERS = _Split(list)
_WORDS = _Split(str.split)


def _counts(chunks: Sequence[jiwer.AlignmentChunk]) -> ErrorRate:
    lengths = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        length = chunk.hyp_end_idx - chunk.hyp_start_idx if chunk.type == "insert" else chunk.ref_end_idx - chunk.ref_start_idx
        lengths[chunk.type] += length
    return ErrorRate(lengths["substitute"], lengths["delete"], lengths["insert"], lengths["equal"])


def _paired(refs: Texts, hyps: Texts) -> tuple[list[str], list[str]]:
    if isinstance(refs, Mapping) != isinstance(hyps, Mapping):
        raise ComflpError("references and hypotheses must both be lists, or both be dicts by utterance id")
    if not isinstance(refs, Mapping):
        return list(refs), list(hyps)
    for missing, side in ((refs.keys() - hyps.keys(), "hypothesis"), (hyps.keys() - refs.keys(), "reference")):
        if missing:
            example = sorted(missing)[0]
            raise ComflpError(f"{len(missing)} utterances have no {side}, the first is {example}")
    utt_ids = sorted(refs)
    return [refs[utt_id] for utt_id in utt_ids], [hyps[utt_id] for utt_id in utt_ids]
