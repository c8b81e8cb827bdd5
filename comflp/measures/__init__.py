"""Correlation measures: how alike the outputs of any two layers are (Section 2.1 of the paper).

One file a measure (the skip measures share one), one table, one call for what works on hidden states and one for what
works on the model:

>>> import numpy as np
>>> hidden = np.random.default_rng(0).normal(size=(40, 4, 6))
>>> correlation_matrix(hidden, "dc").shape
(4, 4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from comflp.errors import ComflpError
from comflp.inference.speech import Speech
from comflp.measures.layers import Layers
from comflp.measures.table import COST, HIDDEN, MEASURES, MODEL, SIMILARITY, Measure, measure_named

if TYPE_CHECKING:  # only named here
    from comflp.inference.hidden_states import HiddenStates

__all__ = ["COST", "HIDDEN", "MEASURES", "MODEL", "Measure", "SIMILARITY", "Speech", "correlation_matrix",
           "measure_named", "skip_matrix"]


def correlation_matrix(
    hidden: np.ndarray | Sequence[np.ndarray] | HiddenStates,
    measure: str = "dc",
    seed: int = 0,
    utt_ids: Sequence[str] | None = None,
    progress: Callable | None = None,
    **options: Any,
) -> np.ndarray:
    """The correlation matrix M of Section 2.1: how alike each two of H_0 .. H_L are.

    hidden: (n, L+1, D), an array or a memory-mapped ``comflp.inference.hidden_states.HiddenStates``; or a list of L+1 arrays
        (n, D_i), whose widths may differ. Row k of each is one utterance's time average.
    measure: a name of ``MEASURES`` that works on hidden states; ``options`` are that measure's own
        (``MEASURES[measure].options``).
    seed: seed for what the measure draws at random (the batches of distance correlation).
    utt_ids: n names, for error messages.

    Returns (L+1, L+1) float64, symmetric, in [0, 1], with a diagonal of 1. A layer that is the same for all
    utterances has 0 with all others, and a warning says so.
    Raises ComflpError for an unknown measure or option, a shape that does not fit, and NaN or infinity (naming the
    utterance and the layer) in what the measure reads.
    """
    chosen = _measure_of(measure, HIDDEN, "skip_matrix")
    return chosen.function(Layers(hidden, utt_ids), seed=seed, progress=progress, **chosen.resolve(**options))


def skip_matrix(
    speech: Speech, measure: str = "skip_kl", seed: int = 0, stack: str | None = None, **options: Any
) -> np.ndarray:
    """The matrix S of what skipping costs: S[i, j] is what the output loses without layers i+1..j.

    speech: the deep model and a probe set. measure: ``skip_kl``, ``skip_ctc`` or ``skip_ctc_labelled``; ``options`` are
        that measure's own. seed: seed for the random draw of utterances from the probe set. stack: whose blocks are skipped; the
        model's first one where it is left out.

    Returns (L+1, L+1) float64, symmetric, 0 on the diagonal, infinite for blocks that may not be removed. The costs of
    a proposal's blocks add up, as far as blocks do not interact: coarse search minimises their sum.
    Raises ComflpError for an unknown measure or option, and where an output is not finite.
    """
    chosen = _measure_of(measure, MODEL, "correlation_matrix")
    return chosen.function(speech, seed=seed, stack=stack, **chosen.resolve(**options))


def _measure_of(name: str, source: str, other: str) -> Measure:
    chosen = measure_named(name)
    if chosen.source != source:
        raise ComflpError(f"the measure {name} is computed by comflp.measures.{other}")
    return chosen
