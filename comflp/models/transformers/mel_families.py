"""Families of transformers that read log-mel features, made by the model's own feature extractor."""

from __future__ import annotations

import torch
from torch.nn import functional
from transformers import (
    ParakeetFeatureExtractor,
    ParakeetProcessor,
    ParakeetTokenizer,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertProcessor,
    Wav2Vec2CTCTokenizer,
)

from comflp.data.batching import AudioBatch, own_frames
from comflp.errors import ComflpError
from comflp.models.transformers.model import TransformersModel
from comflp.models.transformers.masks import attention_mask, position_embeddings, without_padding
from comflp.models.layered import LayerState


class Wav2Vec2BertFamily(TransformersModel):
    """wav2vec2-bert: log-mel features, two frames stacked, by the model's own feature extractor (on the CPU)."""

    feature_extractor_class = SeamlessM4TFeatureExtractor
    tokenizer_class = Wav2Vec2CTCTokenizer
    processor_class = Wav2Vec2BertProcessor
    front_parts = ("feature_projection",)

    @property
    def reads_padding(self) -> bool:
        """An adapter's convolutions reach into the padding."""
        return self.adapter is not None

    def encoder_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        window, hop = 400, 160
        return ((num_samples - window) // hop + 1) // self.processor.feature_extractor.stride

    def adapter_frames(self, frames: torch.Tensor) -> torch.Tensor:
        if self.adapter is None:
            return frames
        kernel, stride = self.adapter.kernel_size, self.adapter.stride
        for _ in self.adapter.layers:
            frames = (frames + 2 * (kernel // 2) - kernel) // stride + 1
        return frames

    def frontend(self, batch: AudioBatch) -> LayerState:
        frames = self.frames_of(batch)
        waveforms = [row[:length].cpu().numpy() for row, length in zip(batch.waveforms, batch.num_samples)]
        inputs = self.processor.feature_extractor(waveforms, sampling_rate=self.sample_rate, return_tensors="pt")
        mask = inputs["attention_mask"].to(self.model.device)
        hidden = self.base.feature_projection(inputs["input_features"].to(self.model.device))[0]
        hidden = without_padding(hidden, mask.bool())
        arguments = {"attention_mask": attention_mask(self.encoder, hidden, mask), "conv_attention_mask": mask}
        hidden = self.encoder.dropout(hidden)
        arguments["relative_position_embeddings"] = position_embeddings(self.encoder, hidden)
        context = {"layer_arguments": arguments, "logit_frames": self.adapter_frames(frames), "mask": mask}
        return LayerState(hidden, frames, context)

    def head(self, state: LayerState) -> torch.Tensor:
        hidden = state.hidden
        if self.base.intermediate_ffn is not None:
            hidden = hidden + 0.5 * self.base.intermediate_ffn(hidden)
        if self.adapter is not None:
            hidden = self.adapter(hidden, attention_mask=state.context["mask"])
        return self.model.lm_head(self.model.dropout(hidden))

    def freeze_feature_extractor(self) -> None:
        raise ComflpError("wav2vec2-bert has no convolutional feature encoder to freeze; leave the option off")


class ParakeetFamily(TransformersModel):
    """parakeet_ctc (Fast Conformer): log-mel features, subsampled by convolutions."""

    feature_extractor_class = ParakeetFeatureExtractor
    tokenizer_class = ParakeetTokenizer
    processor_class = ParakeetProcessor
    front_parts = ("encoder.subsampling",)

    @property
    def encoder(self) -> torch.nn.Module:
        return self.model.encoder

    def encoder_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        frames = num_samples // self.processor.feature_extractor.hop_length
        subsampling = self.encoder.subsampling
        for _ in range(subsampling.num_layers):
            frames = (frames + 2 * subsampling.padding - subsampling.kernel_size) // subsampling.stride + 1
        return torch.where(num_samples < self.processor.feature_extractor.n_fft, 0, frames)

    def frontend(self, batch: AudioBatch) -> LayerState:
        frames = self.frames_of(batch)
        encoder, training = self.encoder, self.encoder.training
        waveforms = [row[:length] for row, length in zip(batch.waveforms, batch.num_samples)]
        inputs = self.processor.feature_extractor(
            waveforms, sampling_rate=self.sample_rate, device=self.model.device, return_tensors="pt"
        )
        hidden = encoder.subsampling(inputs["input_features"], inputs["attention_mask"]) * encoder.input_scale
        positions = functional.dropout(encoder.encode_positions(hidden), encoder.dropout_positions, training)
        hidden = functional.dropout(hidden, encoder.dropout, training)
        own = own_frames(frames, hidden.shape[1])
        arguments = {
            "attention_mask": (own[:, :, None] & own[:, None, :])[:, None],
            "position_embeddings": positions,
        }
        return LayerState(hidden, frames, {"layer_arguments": arguments, "logit_frames": frames})

    def head(self, state: LayerState) -> torch.Tensor:
        return self.model.ctc_head(state.hidden)

    def keep_layers(self, kept) -> None:
        super().keep_layers(kept)
        self.model.config.encoder_config.num_hidden_layers = len(kept)

    def freeze_feature_extractor(self) -> None:
        """Take the subsampling convolutions out of training."""
        self.encoder.subsampling.requires_grad_(False)
