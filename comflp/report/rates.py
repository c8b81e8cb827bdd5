"""Error rates and what they are worth: their intervals, and differences on the same utterances."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from comflp.artifacts import read_text
from comflp.scoring import ErrorRate, capped_counts, utterances_errors
from comflp.search.fine.bootstrap import Difference, difference, rate_interval

_CAPPED = "capped_error_rate"


@dataclass(frozen=True, eq=False)
class Counts:
    """Errors of each utterance, by which models are compared.

    values: (n, 4) substitutions, deletions, insertions, hits; of models that write token by token with no utterance above
    100%, as in fine search. speakers: who speaks each; none if not known. references: the texts, as they were scored.
    """

    utt_ids: tuple[str, ...]
    values: np.ndarray
    speakers: tuple[str, ...]
    references: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Rate:
    """An error rate in percent. low, high: its 95% interval; None where the utterances' texts are not there any more.

    counts: errors of each utterance, where they are there; of a candidate of stage 4, ``from_deep`` is what was kept of them.
    capped: the rate that the model is compared by, where that is another: with no utterance above 100%.
    """

    value: float
    low: float | None = None
    high: float | None = None
    num_utterances: int | None = None
    counts: Counts | None = field(default=None, repr=False, compare=False)
    from_deep: Difference | None = None
    capped: float | None = None

    @property
    def compared(self) -> float:
        """The rate, in percent, that models are compared and chosen by."""
        return self.value if self.capped is None else self.capped

    def less_deep(self, deep: Rate) -> Difference | None:
        """This rate less the deep model's on the same utterances; None where that cannot be said."""
        return self.less(deep) or self.from_deep

    def less(self, reference: Rate) -> Difference | None:
        """This rate less another on the same utterances; None where that cannot be said, such as of one utterance, or of
        other references."""
        own, other = self.counts, reference.counts
        if own is None or other is None or own.utt_ids != other.utt_ids or len(own.utt_ids) < 2 or own.references != other.references:
            return None
        return difference(own.values, other.values, speakers=own.speakers)


def read_rate(directory: Path, score: Mapping[str, Any], metric: str) -> Rate:
    """The error rate of a decode, with its interval where the texts lie beside score.json."""
    counts, capped = _read_counts(directory, metric), None
    low, high = rate_interval(counts.values, speakers=counts.speakers) if counts and len(counts.utt_ids) > 1 else (None, None)
    if score["ranked_by"] == _CAPPED:
        capped = score[_CAPPED] if score["metric"] == metric else None
        if counts:
            counts = replace(counts, values=capped_counts(counts.values))
            capped = ErrorRate(*counts.values.sum(axis=0).tolist()).rate
    return Rate(score[metric], low, high, score["num_utterances"], counts, capped=capped)


def ranked_rate(entry: Mapping[str, Any], ranked: Mapping[str, Any]) -> Rate:
    """The error rate of a candidate, or of the deep model, in the content of a ranked.json."""
    number, capped = ranked["num_utterances"], entry[_CAPPED] if ranked["ranked_by"] == _CAPPED else None
    if number == 1:
        return Rate(entry["error_rate"], num_utterances=number, capped=capped)
    from_deep = None
    if entry.get("deep_difference_interval"):
        from_deep = Difference(entry["deep_difference"], *entry["deep_difference_interval"], number)
    return Rate(entry["error_rate"], *entry["interval"], number, from_deep=from_deep, capped=capped)


def _read_counts(directory: Path, metric: str) -> Counts | None:
    paths = [directory / name for name in ("ref", "hyp")]
    if not all(path.exists() for path in paths):
        return None
    references, hypotheses = (_texts(path) for path in paths)
    if not references or references.keys() != hypotheses.keys():
        return None
    utt_ids = tuple(references)
    texts = tuple(references.values())
    errors = utterances_errors(list(texts), [hypotheses[i] for i in utt_ids], metric)
    values = np.array([(each.substitutions, each.deletions, each.insertions, each.hits) for each in errors])
    return Counts(utt_ids, values, _speakers(directory / "ref.trn", utt_ids), texts)


def _texts(path: Path) -> dict[str, str]:
    lines = read_text(path).split("\n")
    return {key: text for key, _, text in (line.partition(" ") for line in lines if line)}


def _speakers(path: Path, utt_ids: Sequence[str]) -> tuple[str, ...]:
    """Who speaks each utterance, by the lines of a trn file in the same order, ``<text> (<speaker>-<utt>)``; none where they are others."""
    lines = [line for line in read_text(path).split("\n") if line] if path.exists() else []
    ends = [f"-{utt_id})" for utt_id in utt_ids]
    if len(lines) != len(ends) or not all(map(str.endswith, lines, ends)):
        return ()
    return tuple(line.removesuffix(end).rpartition(" ")[2].removeprefix("(") for line, end in zip(lines, ends))
