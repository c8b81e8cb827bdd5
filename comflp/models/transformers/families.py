"""The CTC families of transformers, as data; a class of its own where one is odd.

To add a family, see docs/add_a_family.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import torch
from torch.nn import functional
from transformers import PreTrainedConfig

from comflp.data.batching import own_frames
from comflp.models.layered import State
from comflp.models.transformers.catching import Caught
from comflp.models.transformers.split import Family, Split

_CONVOLUTIONS = ("feature_extractor", "feature_projection", "encoder.pos_conv_embed")
_WAVEFORM = Family(front=_CONVOLUTIONS, convolutions="feature_extractor", tail=("adapter",))


class Kind(NamedTuple):
    """How the models of one family are cut.

    family: configuration -> its data. split: the class that cuts the encoder.
    """

    family: Callable[[PreTrainedConfig], Family]
    split: type[Split] = Split


def _wav2vec2(config: PreTrainedConfig) -> Family:
    """wav2vec2, HuBERT, WavLM, data2vec-audio, UniSpeech and UniSpeech-SAT.

    Post-norm (base) models apply the encoder's norm to what enters layer 1, so it belongs to the front end;
    "stable layer norm" (large) models are pre-norm and apply it to what leaves the last layer.
    """
    pre_norm = getattr(config, "do_stable_layer_norm", False)
    norm = "encoder.layer_norm"
    return replace(
        _WAVEFORM,
        front=_CONVOLUTIONS if pre_norm else (*_CONVOLUTIONS, norm),
        tail=(norm, "adapter") if pre_norm else ("adapter",),
        # A group norm runs over the padded length, a batch norm makes the zeros before the positional convolution
        # something else, and data2vec (which has neither option) convolves positions several times.
        front_reads_padding=getattr(config, "feat_extract_norm", "group") != "layer" or getattr(config, "conv_pos_batch_norm", False),
        tail_reads_padding=config.add_adapter if hasattr(config, "add_adapter") else False,
    )


def _conformer(config: PreTrainedConfig) -> Family:
    return replace(
        _WAVEFORM,
        front=("feature_extractor", "feature_projection"),
        tail=("encoder.layer_norm", "adapter"),
        front_reads_padding=config.feat_extract_norm != "layer",
        tail_reads_padding=config.add_adapter,
        unmasked_convolution="conv_module.depthwise_conv",
    )


def _sew(config: PreTrainedConfig) -> Family:
    """SEW: layers run on every ``squeeze_factor``-th frame; the tail interpolates back to all of them.

    H_0..H_L have floor(frames / squeeze_factor) frames; a last incomplete group of frames is left out of them, as
    the library leaves it out of an utterance alone.
    """
    return replace(_WAVEFORM, front=(*_CONVOLUTIONS, "layer_norm", "encoder.layer_norm"),
                   front_reads_padding=True, tail_reads_padding=True)


def _sew_d(config: PreTrainedConfig) -> Family:
    return replace(_sew(config), layers="encoder.encoder.layer", front=(*_CONVOLUTIONS, "layer_norm"))


def _wav2vec2_bert(config: PreTrainedConfig) -> Family:
    return Family(
        front=("feature_projection",), tail_reads_padding=config.add_adapter,
        feature_frames=lambda extractor, samples: ((samples - 400) // 160 + 1) // extractor.stride,
        feature_extractor="SeamlessM4TFeatureExtractor", processor="Wav2Vec2BertProcessor",
    )


PARAKEET = Family(
    layers="layers", front=("subsampling",),
    feature_frames=lambda extractor, samples: torch.where(samples < extractor.n_fft, 0, samples // extractor.hop_length),
    feature_extractor="ParakeetFeatureExtractor", processor="ParakeetProcessor",
)
"""Parakeet's encoder, from which paths start here, and its features; several families have it."""


def _parakeet(config: PreTrainedConfig) -> Family:
    return replace(PARAKEET, layers="encoder.layers", front=("encoder.subsampling",), convolutions="encoder.subsampling", head=("ctc_head",))


def _lasr(config: PreTrainedConfig) -> Family:
    return Family(
        front=("encoder.subsampler",), convolutions="encoder.subsampler", tail=("encoder.out_norm",), head=("ctc_head",),
        feature_frames=lambda extractor, samples: (samples - extractor.win_length) // extractor.hop_length + 1,
        feature_extractor="LasrFeatureExtractor", processor="LasrProcessor",
    )


def _granite(config: PreTrainedConfig) -> Family:
    return Family(
        front=("encoder.input_linear",), head=("ctc_head",),
        feature_frames=lambda extractor, samples: -(-(samples // extractor.hop_length) // extractor.frame_stacking),
        feature_extractor="GraniteSpeech5FeatureExtractor", processor="GraniteSpeech5Processor",
    )


class WavLMSplit(Split):
    """WavLM: layer 1 owns the relative position bias that all layers add to their attention.

    It is computed once a batch. Whatever becomes layer 1 by pruning takes the bias over.
    """

    def attention_mask(self, hidden: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return own

    def arguments(self, caught: Caught, hidden: torch.Tensor) -> tuple[tuple, dict[str, Any]]:
        size, length, _ = hidden.shape
        bias = self.stack.layers[0].attention.compute_bias(length, length).repeat(size, 1, 1)
        return caught.args, {**caught.kwargs, "position_bias": bias}

    def keep_layers(self, kept: Sequence[int]) -> None:
        owner = self.stack.layers[0].attention
        super().keep_layers(kept)
        first = self.stack.layers[0].attention
        if first is not owner:
            first.rel_attn_embed = owner.rel_attn_embed


class SEWSplit(Split):
    """SEW and SEW-D: the tail brings the frame rate back to that of the convolutions."""

    def layer_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.convolved_frames(lengths) // self.base.config.squeeze_factor

    def logit_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.convolved_frames(lengths)

    def begin(self, inputs: Mapping[str, torch.Tensor], lengths: torch.Tensor, alone: torch.Tensor) -> State:
        state = super().begin(inputs, lengths, alone)
        return replace(state, context={**state.context, "convolved": self.convolved_frames(lengths)})

    def tail(self, state: State) -> torch.Tensor:
        hidden = self.base.encoder.upsample(state.hidden)
        frames = int(state.context["convolved"][state.context.get("row", 0)])
        return functional.pad(hidden, (0, 0, 0, frames - hidden.shape[1]))


class SEWDSplit(SEWSplit):
    """SEW-D: the mask is DeBERTa's, given by position."""

    def batched(self, caught: Caught, hidden: torch.Tensor, own: torch.Tensor) -> Caught:
        return caught._replace(args=(self.owner.get_attention_mask(own.long()), *caught.args[1:]))


class Wav2Vec2BertSplit(Split):
    """wav2vec2-bert: a half-step feed-forward module before the adapter, which takes a mask."""

    def tail(self, state: State) -> torch.Tensor:
        hidden = state.hidden
        if self.base.intermediate_ffn is not None:
            hidden = hidden + 0.5 * self.base.intermediate_ffn(hidden)
        if self.base.adapter is None:
            return hidden
        own = state.context["own"]
        return self.base.adapter(hidden, attention_mask=hidden.new_ones(hidden.shape[:2]) if own is None else own.long())


class GraniteSplit(Split):
    """Granite Speech 5: some layers halve the frame rate, and the middle of the stack feeds its own posteriors back in.

    The library finds the middle by the number of layers, so that a pruned model has it after another layer.
    """

    MIDDLE = -1
    """The step that feeds the posteriors back in."""

    def must_stay(self) -> Mapping[int, str]:
        return {index + 1: "it halves the frame rate" for index in self.owner.config.subsample_layers}

    def layer_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return lengths

    def logit_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return lengths // 2 ** len(self.owner.config.subsample_layers)

    def steps(self, kept: Sequence[int]) -> list[int]:
        kept = list(kept)
        middle = len(kept) // 2
        return [*kept[:middle], *([self.MIDDLE] if middle else []), *kept[middle:]]

    def run(self, state: State, layer: int) -> State:
        if layer == self.MIDDLE:
            posteriors = functional.softmax(self.owner.out(state.hidden), dim=-1)
            return state.with_hidden(state.hidden + self.owner.out_mid(posteriors))
        state = super().run(state, layer)
        if layer - 1 not in self.owner.config.subsample_layers:
            return state
        frames = state.num_frames // 2
        own = None if state.context["own"] is None else own_frames(frames, state.hidden.shape[1])
        kwargs = {**state.context["kwargs"], "attention_mask": own}
        return replace(state, num_frames=frames, context={**state.context, "own": own, "kwargs": kwargs})

    def keep_layers(self, kept: Sequence[int]) -> None:
        subsampling = [index for index, layer in enumerate(kept) if layer - 1 in self.owner.config.subsample_layers]
        super().keep_layers(kept)
        for config in self.counting_configurations():
            config.subsample_layers = subsampling


FAMILIES: dict[str, Kind] = {
    "wav2vec2": Kind(_wav2vec2),
    "hubert": Kind(_wav2vec2),
    "wavlm": Kind(_wav2vec2, WavLMSplit),
    "data2vec-audio": Kind(_wav2vec2),
    "unispeech": Kind(_wav2vec2),
    "unispeech-sat": Kind(_wav2vec2),
    "sew": Kind(_sew, SEWSplit),
    "sew-d": Kind(_sew_d, SEWDSplit),
    "wav2vec2-conformer": Kind(_conformer),
    "wav2vec2-bert": Kind(_wav2vec2_bert, Wav2Vec2BertSplit),
    "parakeet_ctc": Kind(_parakeet),
    "lasr_ctc": Kind(_lasr),
    "granite_speech5_ctc": Kind(_granite, GraniteSplit),
}
"""``model_type`` of config.json -> how a model of it is cut at its layers."""

TRANSDUCERS: dict[str, Kind] = {
    "parakeet_rnnt": Kind(lambda config: replace(_parakeet(config), processor_options={"decoder_type": "rnnt"})),
    "parakeet_tdt": Kind(lambda config: replace(_parakeet(config), processor_options={"decoder_type": "tdt"})),
}
"""The same of transducers, whose ``head`` is not used."""
