"""The table of measures: what there is under which name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from comflp.errors import ComflpError
from comflp.measures.angular import angular
from comflp.measures.cka import cka
from comflp.measures.cosine import cosine
from comflp.measures.dc import dc
from comflp.measures.dc_released import dc_released
from comflp.measures.dc_unbiased import dc_unbiased
from comflp.measures.pwcca import pwcca
from comflp.measures.skip import skip_ctc, skip_ctc_labelled, skip_kl
from comflp.measures.svcca import svcca
from comflp.measures.svcca_released import svcca_released

SIMILARITY = "similarity"
COST = "cost"
HIDDEN = "hidden"
MODEL = "model"


@dataclass(frozen=True)
class Measure:
    """A named way to fill the matrix M that coarse search works on.

    name: as ``--measure`` takes it.
    function: ``function(source, seed=..., **options) -> M``, (L+1, L+1) float64; one of HIDDEN takes ``progress`` too, one of
        MODEL the ``stack`` that it is of.
        Its keyword-only parameters are the measure's options, and their defaults the options' defaults.
    source: what it works on: HIDDEN, the time-averaged layer outputs of stage 1 (``Layers``), or MODEL, the deep model
        itself on a probe set (``Speech``).
    kind: SIMILARITY, where a high M[i, j] says that layers i+1..j are redundant, or COST, where M[i, j] is what
        removing them costs and the costs of blocks add up.
    unit_interval: whether all values are in [0, 1].
    reads_text: whether it works with the utterances' texts.
    """

    name: str
    function: Callable[..., np.ndarray]
    kind: str = SIMILARITY
    unit_interval: bool = True
    source: str = HIDDEN
    reads_text: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Option name -> default."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return inspect.getdoc(self.function).splitlines()[0]

    def resolve(self, **options) -> dict[str, Any]:
        """All options with their values; ComflpError for one that this measure does not have."""
        known = self.options
        for name in options:
            if name not in known:
                raise ComflpError(
                    f"the measure {self.name} has no option {name}; it has {', '.join(known) if known else 'none'}"
                )
        return {**known, **options}


def _of_hidden_states(function: Callable[..., np.ndarray]) -> Measure:
    return Measure(function.__name__, function)


def _of_model(function: Callable[..., np.ndarray], reads_text: bool = False) -> Measure:
    return Measure(function.__name__, function, kind=COST, unit_interval=False, source=MODEL, reads_text=reads_text)


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        _of_hidden_states(dc),
        _of_hidden_states(svcca),
        _of_hidden_states(dc_released),
        _of_hidden_states(svcca_released),
        _of_hidden_states(dc_unbiased),
        _of_hidden_states(pwcca),
        _of_hidden_states(cka),
        _of_hidden_states(cosine),
        _of_hidden_states(angular),
        _of_model(skip_kl),
        _of_model(skip_ctc),
        _of_model(skip_ctc_labelled, reads_text=True),
    )
}
"""The measures, by name: similarities of hidden states, and costs of skipping layers of a model."""


def measure_named(name: str) -> Measure:
    """The measure of that name; ComflpError lists those there are."""
    if name not in MEASURES:
        raise ComflpError(f"there is no measure {name!r}; choose one of {', '.join(MEASURES)}")
    return MEASURES[name]
