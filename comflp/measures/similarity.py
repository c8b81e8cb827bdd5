"""What the similarity measures end with: values made symmetric and kept in [0, 1], and warnings of what they cannot tell."""

from __future__ import annotations

import warnings
from typing import Sequence

import numpy as np


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
