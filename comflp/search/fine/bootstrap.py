"""Can two candidates be told apart? Paired bootstrap over utterances."""

from __future__ import annotations

import numpy as np

NUM_RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 100


def difference_intervals(counts: np.ndarray, reference: np.ndarray, seed: int) -> list[tuple[float, float]]:
    """Interval of each candidate's error rate less the reference's, in percentage points, at 95%.

    counts: (K, n, 4) substitutions, deletions, insertions and hits of K candidates on n utterances.
        An utterance of zeros was not tried, and is left out of that candidate's comparison.
    reference: (n, 4), the candidate to compare with, tried on all of them.
    seed: of the resampling. Utterances are drawn with replacement, the same draws for all candidates.

    An interval that holds 0 means that the utterances do not tell the two apart.

    >>> counts = np.array([[[1, 0, 0, 9]] * 20, [[3, 0, 0, 7]] * 20])
    >>> difference_intervals(counts, counts[0], seed=0)
    [(0.0, 0.0), (20.0, 20.0)]
    """
    rng = np.random.default_rng(seed)
    lengths = counts[:, :, [0, 1, 3]].sum(axis=2).T.astype(np.float64)
    differences = (counts[:, :, :3].sum(axis=2) - reference[:, :3].sum(axis=1)).T * (lengths > 0)
    num_utterances = len(reference)
    drawn = []
    for start in range(0, NUM_RESAMPLES, _AT_ONCE):
        size = min(_AT_ONCE, NUM_RESAMPLES - start)
        weights = rng.multinomial(num_utterances, np.full(num_utterances, 1 / num_utterances), size=size).astype(np.float64)
        drawn.append(100 * (weights @ differences) / np.maximum(weights @ lengths, 1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist()))
