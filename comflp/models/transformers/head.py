"""The LayerNorm + Linear head of models that came from ESPnet, such as kehanlu/mandarin-wav2vec2-aishell1.

Their checkpoints hold ``lm_head.0`` (LayerNorm) and ``lm_head.1`` (Linear).
Plain Wav2Vec2ForCTC knows one Linear ``lm_head`` only, loads such a checkpoint
with a warning and gives it a random head. Here it is recognised by its keys.

To be saved, the head is written in a form that plain Wav2Vec2ForCTC runs: as
the projection and norm that ``add_adapter`` puts before ``lm_head``, with no
adapter layer. That norm exists only where the projection changes the width D,
so the projection appends one channel, the mean of the others. Over the D + 1
channels the mean stays, and the variance is D / (D + 1) of what it was; a
factor of sqrt((D + 1) / D) on the projection, divided out of the norm's
weights, restores it. The function is the same to rounding, and
``AutoModelForCTC.from_pretrained`` needs no code of ours.
"""

from __future__ import annotations

import copy
import math
from typing import Iterable

import torch
from transformers import PreTrainedModel, Wav2Vec2Config, Wav2Vec2ForCTC

KEYS = {"lm_head.0.weight", "lm_head.0.bias", "lm_head.1.weight", "lm_head.1.bias"}
NOTE = (
    "The CTC head is a LayerNorm and a Linear. The LayerNorm is stored as the wav2vec2 adapter's projection and norm "
    "(with no adapter layers), so that plain Wav2Vec2ForCTC computes it; `lm_head.0` and `lm_head.1` of the original "
    "checkpoint are not in this directory."
)
"""What a model card says of a directory in the library's form."""

_MARK = "comflp_head"
_PROJECTION, _NORM = "wav2vec2.adapter.proj", "wav2vec2.adapter.proj_layer_norm"


class NormedHeadForCTC(Wav2Vec2ForCTC):
    """Wav2Vec2ForCTC whose ``lm_head`` is LayerNorm then Linear."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__(config)
        self.lm_head = torch.nn.Sequential(torch.nn.LayerNorm(config.hidden_size), self.lm_head)


def recognise(unexpected_keys: Iterable[str]) -> bool:
    """Whether the keys that plain Wav2Vec2ForCTC found no place for are those of this head."""
    return KEYS <= set(unexpected_keys)


def to_library_form(model: PreTrainedModel) -> PreTrainedModel:
    """``model`` itself, or for a NormedHeadForCTC a plain Wav2Vec2ForCTC that computes the same."""
    if not isinstance(model, NormedHeadForCTC):
        return model
    width = model.config.hidden_size
    scale = math.sqrt((width + 1) / width)
    weights = model.state_dict()
    norm_weight, norm_bias = weights.pop("lm_head.0.weight"), weights.pop("lm_head.0.bias")
    weights["lm_head.bias"] = weights.pop("lm_head.1.bias")
    weights["lm_head.weight"] = _widened(weights.pop("lm_head.1.weight"))
    identity = torch.eye(width, dtype=norm_weight.dtype, device=norm_weight.device)
    weights[f"{_PROJECTION}.weight"] = scale * torch.cat([identity, torch.full_like(identity[:1], 1 / width)])
    weights[f"{_PROJECTION}.bias"] = _widened(torch.zeros_like(norm_bias))
    weights[f"{_NORM}.weight"] = _widened(norm_weight) / scale
    weights[f"{_NORM}.bias"] = _widened(norm_bias)
    config = copy.deepcopy(model.config)
    config.add_adapter, config.num_adapter_layers, config.output_hidden_size = True, 0, width + 1
    setattr(config, _MARK, "layer_norm")
    return _with_weights(Wav2Vec2ForCTC, config, weights)


def from_library_form(model: PreTrainedModel) -> PreTrainedModel:
    """``model`` itself, or a NormedHeadForCTC again for what :func:`to_library_form` made of one."""
    if not hasattr(model.config, _MARK):
        return model
    width = model.config.hidden_size
    weights = model.state_dict()
    scale = weights.pop(f"{_PROJECTION}.weight")[0, 0]
    del weights[f"{_PROJECTION}.bias"]
    weights["lm_head.0.weight"] = scale * weights.pop(f"{_NORM}.weight")[:width]
    weights["lm_head.0.bias"] = weights.pop(f"{_NORM}.bias")[:width]
    weights["lm_head.1.weight"] = weights.pop("lm_head.weight")[:, :width]
    weights["lm_head.1.bias"] = weights.pop("lm_head.bias")
    config = copy.deepcopy(model.config)
    config.add_adapter, config.num_adapter_layers, config.output_hidden_size = False, 3, width
    delattr(config, _MARK)
    return _with_weights(NormedHeadForCTC, config, weights)


def _widened(values: torch.Tensor) -> torch.Tensor:
    """``values`` with one zero more along the last dimension."""
    return torch.nn.functional.pad(values, (0, 1))


def _with_weights(model_class: type, config: Wav2Vec2Config, weights: dict) -> PreTrainedModel:
    """A model of the class with these weights; the random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        model = model_class(config)
    model.load_state_dict(weights)
    return model.eval()
