"""How each family of transformers gets from waveforms to H_0, runs a layer, and gets from H_L to logits.

Every method follows the library's forward pass of its family line by line; tests hold the two equal.
"""

from __future__ import annotations

import torch
from torch.nn import functional
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from comflp.data.batching import AudioBatch, own_frames
from comflp.models.transformers.model import TransformersModel
from comflp.models.transformers.masks import attention_mask, position_embeddings, without_padding
from comflp.models.transformers.mel_families import ParakeetFamily, Wav2Vec2BertFamily
from comflp.models.transformers.processor import normalised_waveforms
from comflp.models.layered import LayerState


class WaveformFamily(TransformersModel):
    """Families whose front end is a stack of convolutions over the waveform.

    The feature extractor decides whether padding is masked. Models with a
    group norm in the first convolution (wav2vec2-base, HuBERT-base) get no
    attention mask: the norm runs over the padded length and attention sees the
    padded frames, here as in the library's own batches, so their logits depend
    slightly on the batch. ``num_frames`` counts an utterance's own frames in
    either case, so time averages and decoding never read padding.
    """

    feature_extractor_class = Wav2Vec2FeatureExtractor
    tokenizer_class = Wav2Vec2CTCTokenizer
    processor_class = Wav2Vec2Processor
    front_parts = ("feature_extractor", "feature_projection")
    reads_padding = True

    def encoder_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        return self.convolved_frames(num_samples)

    def convolved_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames that the waveform convolutions make."""
        frames = num_samples
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride):
            frames = (frames - kernel) // stride + 1
        return frames

    @property
    def masks_padding(self) -> bool:
        """Whether the model is given an attention mask."""
        return self.processor.feature_extractor.return_attention_mask

    def waveforms(self, batch: AudioBatch) -> torch.Tensor:
        """(B, T) float32: what enters the convolutions."""
        return normalised_waveforms(batch, self.processor.feature_extractor)

    def convolve(self, batch: AudioBatch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Waveforms to features (B, T, C), and the mask (B, T) bool of own frames, None for models without one."""
        self.frames_of(batch)
        features = self.base.feature_extractor(self.waveforms(batch)).transpose(1, 2)
        if not self.masks_padding:
            return features, None
        return features, own_frames(self.convolved_frames(batch.num_samples), features.shape[1])

    def state(self, batch: AudioBatch, hidden: torch.Tensor, layer_arguments: dict, **context) -> LayerState:
        """H_0 with what the layers and the head read besides."""
        return LayerState(
            hidden,
            self.encoder_frames(batch.num_samples),
            {"layer_arguments": layer_arguments, "logit_frames": self.num_frames(batch.num_samples), **context},
        )

    def project(self, hidden: torch.Tensor, state: LayerState) -> torch.Tensor:
        """Adapter where there is one, dropout and CTC projection of ``hidden``, which comes from ``state``."""
        if self.adapter is not None:
            hidden = self.adapter(hidden)
        return self.model.lm_head(self.model.dropout(hidden))


class Wav2Vec2Family(WaveformFamily):
    """wav2vec2, HuBERT, data2vec-audio, UniSpeech and UniSpeech-SAT.

    Two kinds: post-norm (base) models apply the encoder's norm to what enters
    the first layer, so it belongs to the front end and every H_i is normalised;
    "stable layer norm" (large) models are pre-norm and apply it to what leaves
    the last layer, so it belongs to the head and H_L is taken before it.
    """

    @property
    def pre_norm(self) -> bool:
        """Whether the encoder's norm follows the last layer (stable layer norm)."""
        return getattr(self.model.config, "do_stable_layer_norm", False)

    @property
    def reads_padding(self) -> bool:
        """False with an attention mask, layer norm in the convolutions and no adapter: padding is then out of reach.

        A batch norm before the positional convolution (some HuBERTs) makes the zeros of padding something else.
        """
        config = self.model.config
        layer_norm = getattr(config, "feat_extract_norm", None) == "layer"
        batch_norm = getattr(config, "conv_pos_batch_norm", False)
        return not (self.masks_padding and layer_norm and not batch_norm and self.adapter is None)

    @property
    def front_parts(self) -> tuple[str, ...]:
        parts = (*super().front_parts, "encoder.pos_conv_embed")
        return parts if self.pre_norm else (*parts, "encoder.layer_norm")

    def frontend(self, batch: AudioBatch) -> LayerState:
        features, mask = self.convolve(batch)
        projected = self.base.feature_projection(features)
        hidden = without_padding(projected[0] if isinstance(projected, tuple) else projected, mask)
        arguments = self.layer_arguments(hidden, mask)
        hidden = hidden + self.encoder.pos_conv_embed(hidden)
        if not self.pre_norm:
            hidden = self.encoder.layer_norm(hidden)
        return self.state(batch, self.encoder.dropout(hidden), arguments)

    def layer_arguments(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> dict:
        """What every layer of the family takes beside the hidden states."""
        return {"attention_mask": attention_mask(self.encoder, hidden, mask)}

    def head(self, state: LayerState) -> torch.Tensor:
        return self.project(self.encoder.layer_norm(state.hidden) if self.pre_norm else state.hidden, state)


class WavLMFamily(Wav2Vec2Family):
    """WavLM: layer 1 owns the relative position bias that all layers add to their attention.

    The front end computes it once a batch. Whatever becomes the first layer by
    pruning takes the bias over.
    """

    def layer_arguments(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> dict:
        batch_size, length, _ = hidden.shape
        bias = self.layer_modules[0].attention.compute_bias(length, length)
        return {"attention_mask": mask, "position_bias": bias.repeat(batch_size, 1, 1)}

    def run_layer(self, module: torch.nn.Module, state: LayerState) -> LayerState:
        hidden, _ = module(state.hidden, **state.context["layer_arguments"])
        return state.with_hidden(hidden)

    def keep_layers(self, kept) -> None:
        owner = self.layer_modules[0].attention
        super().keep_layers(kept)
        first = self.layer_modules[0].attention
        if first is not owner:
            first.rel_attn_embed = owner.rel_attn_embed


class SEWFamily(WaveformFamily):
    """SEW: layers run on every ``squeeze_factor``-th frame; the head interpolates back to all of them.

    H_0..H_L have floor(frames / squeeze_factor) frames; a last incomplete group
    of frames is left out of them, as the library leaves it out of an utterance alone.
    """

    front_parts = (*WaveformFamily.front_parts, "layer_norm", "encoder.pos_conv_embed", "encoder.layer_norm")

    def encoder_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        return self.convolved_frames(num_samples) // self.model.config.squeeze_factor

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        return self.convolved_frames(num_samples)

    def frontend(self, batch: AudioBatch) -> LayerState:
        features, mask = self.convolve(batch)
        features = self.base.layer_norm(features)
        if self.base.project_features:
            features = self.base.feature_projection(features)
        hidden = without_padding(self.base.feature_dropout(features), mask).transpose(1, 2)
        squeeze = self.model.config.squeeze_factor
        if mask is not None:
            mask = functional.max_pool1d(mask[:, None].float(), squeeze, squeeze)[:, 0].long()
        positions, pooled = self.encoder.pos_conv_embed(hidden), self.encoder.pool(hidden)
        length = min(positions.shape[-1], pooled.shape[-1])
        hidden = (pooled[..., :length] + positions[..., :length]).transpose(1, 2)
        arguments = {"attention_mask": attention_mask(self.encoder, hidden, mask)}
        hidden = self.encoder.dropout(self.encoder.layer_norm(hidden))
        return self.state(batch, hidden, arguments, length=features.shape[1])

    def head(self, state: LayerState) -> torch.Tensor:
        hidden = self.encoder.upsample(state.hidden)
        return self.project(functional.pad(hidden, (0, 0, 0, state.context["length"] - hidden.shape[1])), state)


class ConformerFamily(WaveformFamily):
    """wav2vec2-conformer: positions go to every layer, the encoder's norm belongs to the head.

    Its convolution modules see padded frames, as the library's own forward pass has it.
    """

    def frontend(self, batch: AudioBatch) -> LayerState:
        features, mask = self.convolve(batch)
        hidden = without_padding(self.base.feature_projection(features)[0], mask)
        arguments = {"attention_mask": attention_mask(self.encoder, hidden, mask)}
        hidden = self.encoder.dropout(hidden)
        arguments["relative_position_embeddings"] = position_embeddings(self.encoder, hidden)
        return self.state(batch, hidden, arguments)

    def head(self, state: LayerState) -> torch.Tensor:
        return self.project(self.encoder.layer_norm(state.hidden), state)


FAMILIES: dict[str, type[TransformersModel]] = {
    "wav2vec2": Wav2Vec2Family,
    "hubert": Wav2Vec2Family,
    "wavlm": WavLMFamily,
    "data2vec-audio": Wav2Vec2Family,
    "unispeech": Wav2Vec2Family,
    "unispeech-sat": Wav2Vec2Family,
    "sew": SEWFamily,
    "wav2vec2-conformer": ConformerFamily,
    "wav2vec2-bert": Wav2Vec2BertFamily,
    "parakeet_ctc": ParakeetFamily,
}
"""``model_type`` of config.json -> the class that splits it."""
