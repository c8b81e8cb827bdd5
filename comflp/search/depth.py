"""How many layers can go within a limit on the error rate, with few models decoded."""

from __future__ import annotations

from itertools import accumulate
from typing import Callable, Sequence


def most_within(limit: float, most: int, increase_of: Callable[[int], float], predicted: Sequence[float] = ()) -> int:
    """The largest N from 0 to ``most`` whose error rate rises by no more than ``limit``, if it rises with N.

    increase_of: N from 1 -> by how many points the error rate rises without N layers; called for as few N as it takes, each
        once. 0 removed layers are always within.
    predicted: (most,) what removing 1, 2, ... layers costs by a measure that needs no decoding. The cost of the last N that
        was tried, against its increase, says which N is likely the last within; where that did not halve what is left, and
        without predictions, the middle is next.

    >>> tried = []
    >>> most_within(1.0, 11, lambda n: tried.append(n) or 0.02 * 2**n, predicted=[2**n for n in range(1, 12)]), tried
    (5, [6, 5])
    >>> tried = []
    >>> most_within(1.0, 11, lambda n: tried.append(n) or 0.02 * 2**n), tried
    (5, [6, 3, 4, 5])
    """
    costs = list(accumulate(predicted, max))  # a layer more never costs less
    low, high, guess = 0, most + 1, None
    while high - low > 1:
        left = high - low
        number = (low + high) // 2 if guess is None else min(max(guess, low + 1), high - 1)
        increase = increase_of(number)
        low, high = (number, high) if increase <= limit else (low, number)
        halved = 2 * (high - low) <= left + 1
        if costs and increase > 0 and (guess is None or halved):
            guess = sum(cost <= costs[number - 1] * limit / increase for cost in costs)
        else:
            guess = None
    return low
