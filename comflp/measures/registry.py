"""What a measure is, and the helpers that all of them end with."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from comflp.errors import ComflpError

SIMILARITY = "similarity"
COST = "cost"
HIDDEN = "hidden"
MODEL = "model"
_COMMON = ("seed", "progress")


@dataclass(frozen=True)
class Measure:
    """A named way to fill the matrix M that coarse search works on.

    name: as ``--measure`` takes it.
    function: ``function(source, seed=..., progress=..., **options) -> M``, (L+1, L+1) float64. Its keyword-only
        parameters beside ``seed`` and ``progress`` are the measure's options, and their defaults the options' defaults.
    source: what it works on: HIDDEN, the time-averaged layer outputs of stage 1 (``Layers``), or MODEL, the deep model
        itself on a probe set (``Speech``).
    kind: SIMILARITY, where a high M[i, j] says that layers i+1..j are redundant, or COST, where M[i, j] is what
        removing them costs and the costs of blocks add up.
    unit_interval: whether all values are in [0, 1].
    """

    name: str
    function: Callable[..., np.ndarray]
    kind: str = SIMILARITY
    unit_interval: bool = True
    source: str = HIDDEN

    @property
    def options(self) -> dict[str, Any]:
        """Option name -> default."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _COMMON}

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


def as_similarity(matrix: np.ndarray) -> np.ndarray:
    """``matrix`` made exactly symmetric, with a diagonal of 1, and rounding beyond [0, 1] taken off."""
    matrix = np.clip((matrix + matrix.T) / 2, 0.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def ratio(numerator: np.ndarray, self_terms: np.ndarray) -> np.ndarray:
    """numerator[i, j] / sqrt(self_terms[i] self_terms[j]); 0 where a self term is 0 (a layer without variation)."""
    scale = np.sqrt(np.outer(self_terms, self_terms))
    return np.divide(numerator, scale, out=np.zeros_like(scale), where=scale > 0)


def warn_constant(layers: Sequence[int]) -> None:
    """Say that layers do not vary over the utterances; nothing correlates with them."""
    if len(layers):
        names = ", ".join(map(str, sorted(layers)))
        warnings.warn(
            f"the output of layer {names} is the same for all utterances; its similarity to other layers is taken as 0",
            stacklevel=2,
        )


def warn_few(name: str, num_utterances: int, width: int) -> None:
    """Say that CCA has too few utterances: the paper (Section 3.2) asks for 5 to 10 times the layer's width."""
    if num_utterances < 5 * width:
        warnings.warn(
            f"{name} of {width} values a layer from {num_utterances} utterances: its values come out too high; "
            f"use 5 to 10 times as many utterances as values ({5 * width} to {10 * width})",
            stacklevel=2,
        )
