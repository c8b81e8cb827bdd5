"""The batches of utterances that distance correlation is averaged over (Section 3.2)."""

from __future__ import annotations

import warnings

import numpy as np

from comflp.errors import ComflpError


def draw_batches(num_utterances: int, batch_size: int, num_batch: int, seed: int, smallest: int = 2) -> list[np.ndarray]:
    """``num_batch`` arrays of ``batch_size`` row numbers, drawn without replacement.

    No row is in two batches as long as the utterances suffice; after that they are shuffled again. A batch size above
    the number of utterances becomes that number, with a warning.

    Raises ComflpError where a batch would have fewer than ``smallest`` utterances, or for a number of batches below 1.
    """
    if num_batch < 1:
        raise ComflpError(f"the number of batches is at least 1, not {num_batch}")
    if batch_size < smallest:
        raise ComflpError(f"a batch has at least {smallest} utterances for this measure, not {batch_size}")
    if num_utterances < smallest:
        raise ComflpError(f"{num_utterances} utterances are too few: this measure needs at least {smallest}")
    if batch_size > num_utterances:
        warnings.warn(
            f"a batch of {batch_size} is more than the {num_utterances} utterances there are; all of them make one batch",
            stacklevel=3,
        )
        return [np.arange(num_utterances)]
    generator = np.random.default_rng(seed)
    batches = []
    while len(batches) < num_batch:
        order = generator.permutation(num_utterances)
        batches += np.split(order[: num_utterances // batch_size * batch_size], num_utterances // batch_size)
    return batches[:num_batch]
