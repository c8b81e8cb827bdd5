"""Which linear maps of a layer read the stream and which write to it, of each kind of layer: data, and how it is looked up.

A layer is a sequence of sub-blocks. Each reads the stream (through a norm), and adds what its writer makes to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence, Union

import torch

from comflp.errors import ComflpError

Scale = Union[float, Callable[[torch.nn.Module], float]]


@dataclass(frozen=True)
class SubBlock:
    """One sub-block of a layer, by names of modules within the layer.

    readers: linear maps that read the stream. writer: the map whose output is added to the stream.
    after: the norm whose input is the stream after the writer; None where that is the layer's output.
    ends_in_norm: whether ``after`` normalises the stream itself (post-norm), not only what a branch reads of it.
    scale: by how much the writer's output is multiplied, or a function of the layer that tells.
    opaque: an attention module that takes the weights of its maps itself instead of calling them.
    memory: those of the readers that read the end of the stack before, not this one's stream (cross-attention).
    """

    readers: tuple[str, ...]
    writer: str
    after: str | None = None
    ends_in_norm: bool = False
    scale: Scale = 1.0
    opaque: str | None = None
    memory: tuple[str, ...] = ()

    @property
    def read_points(self) -> tuple[str, ...]:
        """For each reader, the module whose input is what it reads."""
        return self.readers if self.opaque is None else (self.opaque,) * len(self.readers)


def _attention(module: str, out: str = "out_proj", names: str = "{}_proj", **options) -> SubBlock:
    readers = tuple(f"{module}.{names.format(part)}" for part in "qkv")
    return SubBlock(readers, f"{module}.{out}", **options)


def _conformer(
    norms: Sequence[str], feed_forwards: Sequence[str], inner: Sequence[str], convolution: Sequence[str],
    attention: SubBlock, half: Scale = 0.5, whole: Scale = 1.0,
) -> tuple[SubBlock, ...]:
    """Half a feed-forward, attention, convolution, half a feed-forward. norms: after each of the four; the last ends the layer."""
    first, last = (tuple(f"{name}.{part}" for part in inner) for name in feed_forwards)
    return (
        SubBlock(first[:1], first[1], norms[0], scale=half),
        attention,
        SubBlock(tuple(convolution[:1]), convolution[1], norms[2], scale=whole),
        SubBlock(last[:1], last[1], norms[3], ends_in_norm=True, scale=half),
    )


_FEED_FORWARD = dict(readers=("feed_forward.intermediate_dense",), writer="feed_forward.output_dense")
_POST_NORM = (
    _attention("attention", after="layer_norm", ends_in_norm=True),
    SubBlock(**_FEED_FORWARD, after="final_layer_norm", ends_in_norm=True),
)
_PRE_NORM = (_attention("attention", after="final_layer_norm"), SubBlock(**_FEED_FORWARD))
_WAV2VEC2_CONFORMER = _conformer(
    ("self_attn_layer_norm", "conv_module.layer_norm", "ffn2_layer_norm", "final_layer_norm"),
    ("ffn1", "ffn2"), ("intermediate_dense", "output_dense"), ("conv_module.pointwise_conv1", "conv_module.pointwise_conv2"),
    _attention("self_attn", "linear_out", "linear_{}", after="conv_module.layer_norm"),
)
_FAST_CONFORMER = (
    ("norm_self_att", "norm_conv", "norm_feed_forward2", "norm_out"),
    ("feed_forward1", "feed_forward2"), ("linear1", "linear2"), ("conv.pointwise_conv1", "conv.pointwise_conv2"),
    _attention("self_attn", "o_proj", after="norm_conv"),
)
_TORCH = dict(readers=("self_attn.in_proj",), writer="self_attn.out_proj", opaque="self_attn")
_WHISPER_FEED_FORWARD, _MOONSHINE_FEED_FORWARD = SubBlock(("fc1",), "fc2"), SubBlock(("mlp.fc1",), "mlp.fc2")

LAYERS: dict[str, tuple[SubBlock, ...]] = {
    "TransformerEncoderLayer": (SubBlock(**_TORCH, after="norm2"), SubBlock(("linear1",), "linear2")),
    "TransformerEncoderLayer, post-norm": (
        SubBlock(**_TORCH, after="norm1", ends_in_norm=True),
        SubBlock(("linear1",), "linear2", after="norm2", ends_in_norm=True),
    ),
    **{f"{family}EncoderLayer": _POST_NORM
       for family in ("Wav2Vec2", "Hubert", "Data2VecAudio", "UniSpeech", "UniSpeechSat", "SEW")},
    **{f"{family}EncoderLayerStableLayerNorm": _PRE_NORM for family in ("Wav2Vec2", "Hubert", "UniSpeech", "UniSpeechSat")},
    "WavLMEncoderLayer": (_attention("attention", after="layer_norm", ends_in_norm=True, opaque="attention"), _POST_NORM[1]),
    "WavLMEncoderLayerStableLayerNorm": (_attention("attention", after="final_layer_norm", opaque="attention"), _PRE_NORM[1]),
    "SEWDLayer": (
        SubBlock(tuple(f"attention.self.{name}_proj" for name in ("query", "key", "value")), "attention.output.dense",
                 after="attention.output.LayerNorm", ends_in_norm=True),
        SubBlock(("intermediate.dense",), "output.dense", after="output.LayerNorm", ends_in_norm=True),
    ),
    "Wav2Vec2ConformerEncoderLayer": _WAV2VEC2_CONFORMER,
    "Wav2Vec2BertEncoderLayer": _WAV2VEC2_CONFORMER,
    "ParakeetEncoderBlock": _conformer(*_FAST_CONFORMER),
    "LasrEncoderBlock": _conformer(
        *_FAST_CONFORMER,
        half=lambda layer: layer.feed_forward_residual_weights[1], whole=lambda layer: layer.conv_residual_weights[1],
    ),
    "GraniteSpeech5EncoderBlock": _conformer(
        *_FAST_CONFORMER[:3], ("conv.pointwise_lin1", "conv.pointwise_lin2"), _FAST_CONFORMER[4]
    ),
    **{f"{family}EncoderLayer": (_attention("self_attn", after="final_layer_norm"), _WHISPER_FEED_FORWARD) for family in ("Whisper", "Speech2Text")},
    **{
        f"{family}DecoderLayer": (
            _attention("self_attn", after="encoder_attn_layer_norm"),
            _attention("encoder_attn", after="final_layer_norm", memory=("encoder_attn.k_proj", "encoder_attn.v_proj")),
            _WHISPER_FEED_FORWARD,
        )
        for family in ("Whisper", "Speech2Text")
    },
    **{
        f"{family}EncoderLayer": (_attention("self_attn", "o_proj", after="post_attention_layernorm"), _MOONSHINE_FEED_FORWARD)
        for family in ("Moonshine", "MoonshineStreaming")
    },
    **{
        f"{family}DecoderLayer": (
            _attention("self_attn", "o_proj", after="post_attention_layernorm"),
            _attention("encoder_attn", "o_proj", after="final_layernorm", memory=("encoder_attn.k_proj", "encoder_attn.v_proj")),
            _MOONSHINE_FEED_FORWARD,
        )
        for family in ("Moonshine", "MoonshineStreaming", "Canary", "CohereAsr")
    },
}
"""Class of a layer -> its sub-blocks in order."""


def sub_blocks(layer: torch.nn.Module) -> tuple[SubBlock, ...]:
    """The sub-blocks of a layer; ComflpError for a kind of layer that the table lacks."""
    name = type(layer).__name__ + ("" if getattr(layer, "norm_first", True) else ", post-norm")
    if name not in LAYERS:
        raise ComflpError(f"layers of class {name} cannot be repaired yet: comflp/repair/maps.py lacks their maps")
    return LAYERS[name]


class LinearMap:
    """A linear layer, a convolution of kernel 1, or the joint input map of torch's attention, as W (out, in) and b (out,).

    channels_first: whether it reads (B, C, T), as torch's convolutions do (a subclass of them, Parakeet's head, does not).
    """

    def __init__(self, layer: torch.nn.Module, name: str):
        owner, _, last = name.rpartition(".")
        owner = layer.get_submodule(owner)
        module = getattr(owner, last, None)
        self.channels_first = type(module) is torch.nn.Conv1d
        if module is None:
            self.weight, self.bias = getattr(owner, f"{last}_weight"), getattr(owner, f"{last}_bias")
        else:
            self.weight, self.bias = module.weight, module.bias

    @property
    def matrix(self) -> torch.Tensor:
        """(out, in) float64."""
        return self.weight.detach().double().flatten(1)

    @property
    def offset(self) -> torch.Tensor:
        """(out,) float64; zeros without a bias."""
        return self.matrix.new_zeros(len(self.weight)) if self.bias is None else self.bias.detach().double()

    def changed(self, matrix: torch.Tensor, offset: torch.Tensor) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        """Each parameter with its new value after adding a matrix (out, in) and, where there is a bias, an offset (out,)."""
        new = [(self.weight, (self.matrix + matrix).view_as(self.weight).to(self.weight.dtype))]
        if self.bias is not None:
            new.append((self.bias, (self.offset + offset).to(self.bias.dtype)))
        return new


def shared_parameters(model: torch.nn.Module) -> set[int]:
    """Ids of the parameters that more than one module holds: tied weights, and those of layers used twice."""
    seen, shared = set(), set()
    for _, module in model.named_modules(remove_duplicate=False):
        for parameter in module._parameters.values():
            (shared if id(parameter) in seen else seen).add(id(parameter))
    return shared

