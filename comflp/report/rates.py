"""Error rates and what they are worth: their intervals, and differences on the same utterances."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from comflp.artifacts import read_text
from comflp.scoring import utterances_errors
from comflp.search.fine.bootstrap import Difference, difference, rate_interval


@dataclass(frozen=True, eq=False)
class Counts:
    """Errors of each utterance. values: (n, 4) substitutions, deletions, insertions, hits. speakers: of each; none if not known."""

    utt_ids: tuple[str, ...]
    values: np.ndarray
    speakers: tuple[str, ...]


@dataclass(frozen=True)
class Rate:
    """An error rate in percent. low, high: its 95% interval; None where the utterances' texts are not there any more.

    counts: errors of each utterance, where they are there; of a candidate of stage 4, ``from_deep`` is what was kept of them.
    """

    value: float
    low: float | None = None
    high: float | None = None
    num_utterances: int | None = None
    counts: Counts | None = field(default=None, repr=False, compare=False)
    from_deep: Difference | None = None

    def less_deep(self, deep: Rate) -> Difference | None:
        """This rate less the deep model's on the same utterances; None where that cannot be said."""
        return self.less(deep) or self.from_deep

    def less(self, reference: Rate) -> Difference | None:
        """This rate less another on the same utterances; None where that cannot be said."""
        own, other = self.counts, reference.counts
        if own is None or other is None or own.utt_ids != other.utt_ids:
            return None
        return difference(own.values, other.values, speakers=own.speakers)


def read_rate(directory: Path, score: Mapping[str, Any], metric: str) -> Rate:
    """The error rate of a decode, with its interval where the texts lie beside score.json."""
    counts = _read_counts(directory, metric)
    low, high = rate_interval(counts.values, speakers=counts.speakers) if counts else (None, None)
    return Rate(score.get(metric, score["error_rate"]), low, high, score.get("num_utterances"), counts)


def ranked_rate(entry: Mapping[str, Any], ranked: Mapping[str, Any]) -> Rate:
    """The error rate of a candidate, or of the deep model, in the content of a ranked.json."""
    number, deep = ranked.get("num_utterances"), ranked.get("deep")
    from_deep = None
    if deep and entry.get("deep_difference_interval"):
        value = entry.get("deep_difference", entry["error_rate"] - deep["error_rate"])
        from_deep = Difference(value, *entry["deep_difference_interval"], number or 0)
    return Rate(entry["error_rate"], *(entry.get("interval") or (None, None)), number, from_deep=from_deep)


def _read_counts(directory: Path, metric: str) -> Counts | None:
    paths = [directory / name for name in ("ref", "hyp")]
    if not all(path.exists() for path in paths):
        return None
    references, hypotheses = (_texts(path) for path in paths)
    if not references or references.keys() != hypotheses.keys():
        return None
    utt_ids = tuple(sorted(references))
    errors = utterances_errors([references[i] for i in utt_ids], [hypotheses[i] for i in utt_ids], metric)
    values = np.array([(each.substitutions, each.deletions, each.insertions, each.hits) for each in errors])
    return Counts(utt_ids, values, _speakers(directory / "ref.trn", utt_ids))


def _texts(path: Path) -> dict[str, str]:
    lines = read_text(path).split("\n")
    return {key: text for key, _, text in (line.partition(" ") for line in lines if line)}


def _speakers(path: Path, utt_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Who speaks each utterance, by the ends of the lines of a trn file, ``(<speaker>-<utt>)``; none where one is missing."""
    lines = read_text(path).split("\n") if path.exists() else []
    found = {}
    for name in (line.rpartition("(")[2].removesuffix(")") for line in lines if line):
        pieces = name.split("-")
        for cut in range(1, len(pieces)):
            found.setdefault("-".join(pieces[cut:]), "-".join(pieces[:cut]))
    return tuple(found[i] for i in utt_ids) if all(i in found for i in utt_ids) else ()
