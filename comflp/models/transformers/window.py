"""A shorter window for models that pad every utterance to one, such as Whisper's 30 s: faster, and an approximation."""

from __future__ import annotations

import copy
from typing import Any

import torch

from comflp.errors import ComflpError
from comflp.models.layered import LayeredModel


def with_window(model: LayeredModel, seconds: int) -> LayeredModel:
    """A copy of ``model`` that pads utterances to ``seconds`` and not to its window; longer ones are refused as before.

    The encoder's table of positions is cut there. The model was not trained on such inputs: texts differ from those
    at the full window, so its ``origin`` and its card say ``context_seconds``.

    Raises ComflpError for a model that has no such window, or a shorter one.
    """
    table = _positions(model)
    if table is None:
        raise ComflpError(f"a {model.family} model takes utterances as long as they are: there is no window to shorten")
    if not 1 <= seconds <= model.window:
        raise ComflpError(f"the window of this model is {model.window:g} s, and can be shortened to 1 s and more, not to {seconds} s")
    made = copy.deepcopy(model)
    extractor = made.processor.feature_extractor
    settings = {**extractor.to_dict(), "chunk_length": seconds}
    made.processor.feature_extractor = type(extractor)(**{key: settings[key] for key in _SETTINGS if key in settings})
    table = _positions(made)
    positions = round(seconds / model.window * table.num_embeddings)
    table.weight = torch.nn.Parameter(table.weight[:positions].clone(), requires_grad=table.weight.requires_grad)
    table.num_embeddings = made.model.config.max_source_positions = positions
    made.window = float(seconds)
    made.origin = {**made.origin, "context_seconds": seconds}
    return made


_SETTINGS = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value", "dither", "return_attention_mask")
"""What a feature extractor is made from; the rest follows from it."""


def _positions(model: LayeredModel) -> Any:
    """The encoder's table of positions, None where there is none or the model has no window."""
    if model.window is None:
        return None
    return getattr(model.split.base, "embed_positions", None)
