"""Angular distance (Gromov et al., "The Unreasonable Ineffectiveness of the Deeper Layers", 2024)."""

from __future__ import annotations

from typing import Callable

import numpy as np

from comflp.measures.cosine import unit_vectors
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity


def angular(layers: Layers, seed: int = 0, progress: Callable | None = None) -> np.ndarray:
    """1 minus the mean angle between H_i and H_j as a share of half a turn, arccos(cosine) / pi.

    The mean is over utterances. All layers have the same width; a vector of zeros is at a right angle to everything.
    """
    total = np.zeros((len(layers), len(layers)))
    for vectors in unit_vectors(layers, "angular", progress):
        by_utterance = vectors.transpose(1, 0, 2)
        cosines = np.clip(by_utterance @ by_utterance.transpose(0, 2, 1), -1, 1)
        total += np.arccos(cosines).sum(axis=0)
    return as_similarity(1 - total / (np.pi * layers.num_utterances))
