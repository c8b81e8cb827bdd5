"""The encoder-decoder families of transformers: data, and what their encoders do differently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, Sequence

import torch
from torch.nn import functional
from transformers import FeatureExtractionMixin, PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoderModelOutput
from transformers.models.moonshine_streaming.modeling_moonshine_streaming import (
    MoonshineStreamingEncoderModelOutput,
    sliding_window_mask_function,
)
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput

from comflp.data.batching import own_frames
from comflp.models.layered import State
from comflp.models.transformers.catching import Caught
from comflp.models.transformers.families import PARAKEET
from comflp.models.transformers.prompt import CANARY, COHERE_ASR, START, START_AFTER_REQUEST, WHISPER, Prompt
from comflp.models.transformers.split import Family, Split


@dataclass(frozen=True)
class Seq2SeqFamily:
    """Where the parts of an encoder-decoder family are. Paths start from the whole model.

    encoder: the encoder. family, split: how it is cut at its layers. decoder: the module that owns the decoder's layers.
    tail: what follows the last decoder layer, up to the head. head: what makes logits.
    counts: stack -> where the configuration counts its layers. positions: where it bounds the decoder's tokens; both are
        names, after those of the configuration inside which they are, such as ``decoder_config.num_hidden_layers``.
    encoded: (end of the encoder (B, T, D), its own frames (B, T) or None, the configuration) -> the library's arguments for it.
    prompt: where that of a hypothesis comes from.
    longest: (configuration, feature extractor) -> seconds of the longest utterance that the model takes, None for any.
    """

    family: Family
    split: type[Split]
    head: str
    counts: Mapping[str, str]
    positions: str
    encoded: Callable[[torch.Tensor, torch.Tensor | None, PreTrainedConfig], dict[str, Any]]
    tail: tuple[str, ...] = ("model.decoder.norm",)
    prompt: Prompt = START
    longest: Callable[[PreTrainedConfig, FeatureExtractionMixin], float | None] = lambda config, extractor: None
    encoder: str = "model.encoder"
    decoder: str = "model.decoder"


class WindowSplit(Split):
    """Whisper's encoder: every utterance is padded to one window, and none of the padding is masked."""

    def convolved_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return (lengths + 1) // 2

    def begin(self, inputs: Mapping[str, torch.Tensor], lengths: torch.Tensor, alone: torch.Tensor) -> State:
        caught = self._catch(inputs)
        args, kwargs = self.arguments(caught, caught.hidden)
        return State(caught.hidden, self.layer_frames(lengths).clamp_max(caught.hidden.shape[1]), {"args": args, "kwargs": kwargs, "own": None})


class MoonshineSplit(Split):
    """Moonshine's encoder: three convolutions over the waveform, one of them before a norm over all of it."""

    def convolved_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        for name in self.family.front:
            convolution = getattr(self.base, name)
            lengths = (lengths - convolution.kernel_size[0]) // convolution.stride[0] + 1
        return lengths


class MoonshineStreamingSplit(Split):
    """Moonshine Streaming's encoder: each layer sees a window of frames of its own, which the configuration has by the layer's number.

    The library's encoder has these windows where it is given a mask of samples, as its processor gives it.
    """

    def convolved_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        length = self.base.embedder.frame_len
        return torch.where(lengths < length, 0, -(-lengths // (4 * length)))

    def asked(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        waveforms = inputs["input_values"]
        padding = (0, -waveforms.shape[1] % self.base.embedder.frame_len)
        mask = torch.ones_like(waveforms, dtype=torch.long)
        return {"input_values": functional.pad(waveforms, padding), "attention_mask": functional.pad(mask, padding)}

    def begin(self, inputs: Mapping[str, torch.Tensor], lengths: torch.Tensor, alone: torch.Tensor) -> State:
        state = super().begin(inputs, lengths, alone)
        own = own_frames(state.num_frames, state.hidden.shape[1])
        masks = {
            window: create_bidirectional_mask(
                config=self.owner.config, inputs_embeds=state.hidden, attention_mask=own,
                and_mask_function=sliding_window_mask_function(window),
            )
            for window in set(self._windows)
        }
        return replace(state, context={**state.context, "masks": masks})

    @property
    def _windows(self) -> list[tuple[int, int]]:
        return [tuple(window) for window in self.owner.config.sliding_windows]

    def run(self, state: State, layer: int) -> State:
        kwargs = {**state.context["kwargs"], "attention_mask": state.context["masks"][self._windows[layer - 1]]}
        return super().run(replace(state, context={**state.context, "kwargs": kwargs}), layer)

    def keep_layers(self, kept: Sequence[int]) -> None:
        windows = [list(self._windows[layer - 1]) for layer in kept]
        super().keep_layers(kept)
        for config in self.counting_configurations():
            config.sliding_windows = windows


class Speech2TextSplit(Split):
    """speech_to_text's encoder: convolutions over features whose padding they read."""

    def convolved_frames(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.base._get_feat_extract_output_lengths(lengths)

    def batched(self, caught: Caught, hidden: torch.Tensor, own: torch.Tensor) -> Caught:
        return caught._replace(args=(self.attention_mask(hidden, own), *caught.args[1:]))


def _unmasked(hidden: torch.Tensor, own: torch.Tensor | None, config: PreTrainedConfig) -> dict[str, Any]:
    return {"encoder_outputs": BaseModelOutput(hidden)}


def _moonshine(hidden: torch.Tensor, own: torch.Tensor | None, config: PreTrainedConfig) -> dict[str, Any]:
    return {"encoder_outputs": MoonshineEncoderModelOutput(hidden, attention_mask=None if own is None else own.int())}


def _moonshine_streaming(hidden: torch.Tensor, own: torch.Tensor | None, config: PreTrainedConfig) -> dict[str, Any]:
    return {"encoder_outputs": MoonshineStreamingEncoderModelOutput(hidden, attention_mask=None if own is None else own.int())}


def _parakeet(hidden: torch.Tensor, own: torch.Tensor | None, config: PreTrainedConfig) -> dict[str, Any]:
    return {"encoder_outputs": ParakeetEncoderModelOutput(hidden, attention_mask=None if own is None else own.int())}


def _speech_to_text(hidden: torch.Tensor, own: torch.Tensor | None, config: PreTrainedConfig) -> dict[str, Any]:
    if own is None:
        return _unmasked(hidden, own, config)
    halved = 2 ** config.num_conv_layers  # the library takes a mask over features, of which its convolutions make these frames
    features, longest = (halved * (frames - 1) + 1 for frames in (own.sum(dim=1), hidden.shape[1]))
    return {**_unmasked(hidden, own, config), "attention_mask": own_frames(features, longest).long()}


_BART: dict[str, Any] = {
    "tail": ("model.decoder.layer_norm",),
    "counts": {"encoder": "encoder_layers", "decoder": "decoder_layers"},
    "positions": "max_target_positions",
}
"""What models after BART's pattern have in common."""


def _positions_of_parakeet(config: PreTrainedConfig, extractor: FeatureExtractionMixin) -> float:
    """Seconds that the positions of Parakeet's encoder have room for."""
    encoder = config.encoder_config
    return encoder.max_position_embeddings * encoder.subsampling_factor * extractor.hop_length / extractor.sampling_rate


SEQ2SEQ: dict[str, Seq2SeqFamily] = {
    "whisper": Seq2SeqFamily(
        family=Family(
            layers="layers", front=("conv1", "conv2"), tail=("layer_norm",),
            feature_frames=lambda extractor, samples: -(-samples // extractor.hop_length),
            feature_extractor="WhisperFeatureExtractor", processor="WhisperProcessor",
        ),
        split=WindowSplit,
        head="proj_out",
        encoded=_unmasked,
        prompt=WHISPER,
        longest=lambda config, extractor: extractor.n_samples / extractor.sampling_rate,
        **_BART,
    ),
    "moonshine": Seq2SeqFamily(
        family=Family(layers="layers", front=("conv1", "conv2", "conv3"), tail=("layer_norm",), front_reads_padding=True),
        split=MoonshineSplit,
        head="proj_out",
        counts={"encoder": "encoder_num_hidden_layers", "decoder": "decoder_num_hidden_layers"},
        positions="max_position_embeddings",
        encoded=_moonshine,
    ),
    "moonshine_streaming": Seq2SeqFamily(
        family=Family(
            layers="layers", front=("embedder",), tail=("final_norm",), front_reads_padding=True, processor="MoonshineStreamingProcessor",
        ),
        split=MoonshineStreamingSplit,
        head="proj_out",
        counts={"encoder": "encoder_config.num_hidden_layers", "decoder": "num_hidden_layers"},
        positions="max_position_embeddings",
        encoded=_moonshine_streaming,
        prompt=START_AFTER_REQUEST,
        # The decoder has a position for each frame of the encoder, which is four of the configuration's.
        longest=lambda config, extractor: config.max_position_embeddings * 4 * config.encoder_config.frame_ms / 1000,
    ),
    "speech_to_text": Seq2SeqFamily(
        family=Family(
            layers="layers", front=("conv",), tail=("layer_norm",), front_reads_padding=True,
            feature_frames=lambda extractor, samples: (samples - extractor.sampling_rate // 40) // (extractor.sampling_rate // 100) + 1,
            feature_extractor="Speech2TextFeatureExtractor", processor="Speech2TextProcessor",
        ),
        split=Speech2TextSplit,
        head="lm_head",
        encoded=_speech_to_text,
        **_BART,
    ),
    "canary": Seq2SeqFamily(
        family=replace(PARAKEET, processor="CanaryProcessor"),
        split=Split,
        head="proj_out",
        counts={"encoder": "encoder_config.num_hidden_layers", "decoder": "decoder_config.num_hidden_layers"},
        positions="decoder_config.max_position_embeddings",
        encoded=_parakeet,
        prompt=CANARY,
        longest=_positions_of_parakeet,
    ),
    "cohere_asr": Seq2SeqFamily(
        # The extractor adds noise, drawn from the number of samples alone: the same whenever and beside whatever it runs.
        family=replace(PARAKEET, feature_extractor="CohereAsrFeatureExtractor", processor="CohereAsrProcessor"),
        split=Split,
        head="proj_out",
        counts={"encoder": "encoder_config.num_hidden_layers", "decoder": "num_hidden_layers"},
        positions="max_position_embeddings",
        encoded=_parakeet,
        prompt=COHERE_ASR,
        longest=lambda config, extractor: min(extractor.max_audio_clip_s, _positions_of_parakeet(config, extractor)),
    ),
}
"""``model_type`` of config.json -> where the parts of a model of it are."""
