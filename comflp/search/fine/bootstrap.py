"""What error rates on some utterances are worth: intervals, and whether two models can be told apart (bootstrap)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np

NUM_RESAMPLES = 2000
LEVEL = 0.95
FEWEST_SPEAKERS = 5
"""From so many speakers on, speakers are drawn, not single utterances: those of one speaker are not independent."""
_AT_ONCE = 100


@dataclass(frozen=True)
class Difference:
    """One error rate less another on the same utterances, in percentage points.

    value: as measured. low, high: its 95% interval. num_utterances: how many there are.

    >>> Difference(0.5, -0.5, 1.5, 300).tied, Difference(0.5, -0.5, 1.5, 305).utterances_to_tell
    (True, 1300)
    """

    value: float
    low: float
    high: float
    num_utterances: int

    @property
    def tied(self) -> bool:
        """Whether the utterances do not tell the two models apart: the interval holds 0."""
        return self.low <= 0 <= self.high

    @property
    def utterances_to_tell(self) -> int | None:
        """How many utterances of this kind would tell the two apart, if the difference is what was measured.

        An interval narrows with the square root of their number, which is rounded up to two digits. None where the two differ by nothing.
        """
        if not self.value:
            return None
        half = (self.high - self.low) / 2
        needed = max(math.ceil(self.num_utterances * (half / self.value) ** 2), self.num_utterances + 1 if self.tied else 1)
        unit = 10 ** max(len(str(needed)) - 2, 0)
        return -(-needed // unit) * unit


def rate_interval(counts: np.ndarray, seed: int = 0, speakers: Sequence[str] = ()) -> tuple[float, float]:
    """95% interval of one model's error rate, in percent.

    counts, seed, speakers: as for :func:`difference_intervals`, but of one model: (n, 4).

    >>> rate_interval(np.array([[1, 0, 0, 9]] * 20))
    (10.0, 10.0)
    """
    [found] = difference_intervals(counts[None], np.zeros_like(counts), seed, speakers)
    return found


def difference(counts: np.ndarray, reference: np.ndarray, seed: int = 0, speakers: Sequence[str] = ()) -> Difference:
    """One model's error rate less another's; both (n, 4), tried on all utterances, as for :func:`difference_intervals`."""
    [(low, high)] = difference_intervals(counts[None], reference, seed, speakers)
    errors, length = counts[:, :3].sum() - reference[:, :3].sum(), counts[:, [0, 1, 3]].sum()
    return Difference(100 * float(errors) / max(int(length), 1), low, high, len(counts))


def difference_intervals(
    counts: np.ndarray, reference: np.ndarray, seed: int, speakers: Sequence[str] = (), tried: np.ndarray | None = None
) -> list[tuple[float, float]]:
    """Interval of each candidate's error rate less the reference's, in percentage points, at 95%.

    counts: (K, n, 4) substitutions, deletions, insertions and hits of K candidates on n utterances.
    reference: (n, 4), the candidate to compare with, tried on all of them.
    seed: seed for the resampling. Utterances are drawn with replacement, the same draws for all candidates.
    speakers: who speaks each utterance; from FEWEST_SPEAKERS on, speakers are drawn with all their utterances.
    tried: (K, n) bool, whether each candidate was tried on each utterance; what it was not tried on is left out of its
        comparison. None: on all.

    An interval that holds 0 means that the utterances do not tell the two apart.

    >>> counts = np.array([[[1, 0, 0, 9]] * 20, [[3, 0, 0, 7]] * 20])
    >>> difference_intervals(counts, counts[0], seed=0)
    [(0.0, 0.0), (20.0, 20.0)]
    """
    rng = np.random.default_rng(seed)
    lengths = counts[:, :, [0, 1, 3]].sum(axis=2).T.astype(np.float64)
    differences = (counts[:, :, :3].sum(axis=2) - reference[:, :3].sum(axis=1)).T
    if tried is not None:
        differences = differences * tried.T
    if len(set(speakers)) >= FEWEST_SPEAKERS:
        of_speaker = np.unique(speakers, return_inverse=True)[1]
        lengths, differences = (_summed(values, of_speaker) for values in (lengths, differences))
    num_drawn = len(lengths)
    drawn = []
    for start in range(0, NUM_RESAMPLES, _AT_ONCE):
        size = min(_AT_ONCE, NUM_RESAMPLES - start)
        weights = rng.multinomial(num_drawn, np.full(num_drawn, 1 / num_drawn), size=size).astype(np.float64)
        drawn.append(100 * (weights @ differences) / np.maximum(weights @ lengths, 1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist()))


def _summed(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Rows of ``values`` (n, K) added up by their group's number."""
    total = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(total, group, values)
    return total
