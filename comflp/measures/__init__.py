"""Correlation measures: how alike the outputs of any two layers are (Section 2.1 of the paper).

One file a measure, one registry, one call:

>>> import numpy as np
>>> hidden = np.random.default_rng(0).normal(size=(40, 4, 6))
>>> correlation_matrix(hidden, "dc").shape
(4, 4)
"""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from comflp.errors import ComflpError
from comflp.measures.angular import angular
from comflp.measures.cka import cka
from comflp.measures.cosine import cosine
from comflp.measures.dc import dc
from comflp.measures.dc_released import dc_released
from comflp.measures.dc_unbiased import dc_unbiased
from comflp.measures.layers import Layers
from comflp.measures.pwcca import pwcca
from comflp.measures.registry import COST, SIMILARITY, Measure
from comflp.measures.svcca import svcca
from comflp.measures.svcca_released import svcca_released

__all__ = ["COST", "MEASURES", "Measure", "SIMILARITY", "correlation_matrix", "measure_named"]

MEASURES: dict[str, Measure] = {
    function.__name__: Measure(function.__name__, function)
    for function in (dc, svcca, dc_released, svcca_released, dc_unbiased, pwcca, cka, cosine, angular)
}
"""The measures of hidden states, by name."""


def measure_named(name: str) -> Measure:
    """The measure of that name; ComflpError lists those there are."""
    if name not in MEASURES:
        raise ComflpError(f"there is no measure {name!r}; choose one of {', '.join(MEASURES)}")
    return MEASURES[name]


def correlation_matrix(
    hidden,
    measure: str = "dc",
    seed: int = 0,
    utt_ids: Sequence[str] | None = None,
    progress: Callable | None = None,
    **options,
) -> np.ndarray:
    """The correlation matrix M of Section 2.1: how alike each two of H_0 .. H_L are.

    hidden: (n, L+1, D), an array or a memory-mapped ``comflp.hidden_states.HiddenStates``; or a list of L+1 arrays
        (n, D_i), whose widths may differ. Row k of each is one utterance's time average.
    measure: a name of ``MEASURES``; ``options`` are that measure's own (``MEASURES[measure].options``).
    seed: of what the measure draws at random (the batches of distance correlation).
    utt_ids: n names, for error messages.

    Returns (L+1, L+1) float64, symmetric, in [0, 1], with a diagonal of 1. A layer that is the same for all
    utterances has 0 with all others, and a warning says so.
    Raises ComflpError for an unknown measure or option, a shape that does not fit, and NaN or infinity (naming the
    utterance and the layer) in what the measure reads.
    """
    chosen = measure_named(measure)
    return chosen.function(Layers(hidden, utt_ids), seed=seed, progress=progress, **chosen.resolve(**options))
