"""Cosine similarity of layer outputs: block influence (Men et al., "ShortGPT", 2024)."""

from __future__ import annotations

from typing import Callable, Iterator

import numpy as np

from comflp.errors import ComflpError
from comflp.measures.layers import Layers
from comflp.measures.similarity import as_similarity


def cosine(layers: Layers, seed: int = 0, progress: Callable | None = None) -> np.ndarray:
    """Mean cosine between H_i and H_j; 1 minus it is ShortGPT's block influence of layers i+1..j.

    ShortGPT takes the mean over tokens, here frames; stage 1 leaves that one beside the hidden states, and stage 2 uses
    it. On hidden states, as here, it is the mean over utterances. All layers have the same width. A vector of
    zeros has the cosine 0 with everything, and a mean below 0 becomes 0.
    """
    total = np.zeros((len(layers), len(layers)))
    for vectors in unit_vectors(layers, "cosine", progress):
        flat = vectors.reshape(len(layers), -1)
        total += flat @ flat.T
    return as_similarity(total / layers.num_utterances)


def unit_vectors(layers: Layers, name: str, progress: Callable | None = None) -> Iterator[np.ndarray]:
    """Chunks (L+1, utterances, D) float64 of all hidden states, each vector divided by its length (or 0)."""
    if len(set(layers.widths)) > 1:
        raise ComflpError(f"{name} compares layers of one width, but these have {sorted(set(layers.widths))} values")
    for chunk in layers.chunks(progress, name):
        vectors = np.stack(chunk).astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        yield np.divide(vectors, lengths, out=vectors, where=lengths > 0)
