"""CTC models as graphs that PyTorch can export: a whole batch of waveforms, one waveform, or log-mel features.

transformers' models are traced through the library's own forward pass; :func:`comflp.models.load` has compared it with the
pieces that this library runs one by one.
"""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch

from comflp.data.batching import AudioBatch, own_frames
from comflp.models.layered import LayeredModel
from comflp.models.own.transformer_ctc import TransformerCTC
from comflp.models.transformers.model import TransformersCTC

_NEVER = -1e4
"""The logit of a label that is never written; float16 holds it."""


def takes_batches(model: LayeredModel) -> bool:
    """Whether utterances of several lengths can share a graph: none of the model's parts reads the padding beside one."""
    if isinstance(model, TransformerCTC):
        return True
    if not isinstance(model, TransformersCTC):
        return False
    family = model.split.family
    return not family.tail_reads_padding and family.unmasked_convolution is None and (
        not family.front_reads_padding or _group_norm(model) is not None
    )


def only_text(model: LayeredModel, logits: torch.Tensor) -> torch.Tensor:
    """Logits (..., V) in which special tokens, which this library leaves out of texts, count as the blank.

    Other runtimes write every label but the blank. Which text comes out stays the same.
    """
    silent = getattr(model.tokenizer, "silent", [])
    if not silent:
        return logits
    labels = torch.arange(logits.shape[-1])
    blank = logits[..., [model.tokenizer.blank_id, *silent]].amax(dim=-1, keepdim=True)
    heard = torch.where(torch.isin(labels, torch.tensor(silent)), _NEVER, logits)
    return torch.where(labels == model.tokenizer.blank_id, blank, heard)


class OneWaveform(torch.nn.Module):
    """(1, samples) to logits (1, frames, V): all of the waveform is audio."""

    def __init__(self, model: LayeredModel):
        super().__init__()
        self.model = model

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Logits of one utterance."""
        num_samples = torch.full((1,), waveforms.shape[1], dtype=torch.int64)
        if isinstance(self.model, TransformersCTC):
            return only_text(self.model, self.model.library_logits(AudioBatch((), waveforms, num_samples)))
        return self.model(AudioBatch((), waveforms, num_samples)).logits


class Waveforms(torch.nn.Module):
    """(B, samples) and (B,) to logits (B, frames, V) and (B,) frames, each utterance as it is alone."""

    def __init__(self, model: LayeredModel):
        super().__init__()
        self.model = model

    def forward(self, waveforms: torch.Tensor, num_samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of a padded batch, and how many frames are each utterance's own."""
        model = self.model
        if not isinstance(model, TransformersCTC):
            output = model(AudioBatch((), waveforms, num_samples))
            return output.logits, output.num_frames
        own = own_frames(num_samples, waveforms.shape[1])
        extractor = model.processor.feature_extractor
        if extractor.do_normalize:
            mean, variance = _moments(waveforms, own, num_samples[:, None], 1)
            waveforms = torch.where(own, (waveforms - mean) / torch.sqrt(variance + 1e-7), extractor.padding_value)
        with _norm_over_own_frames(model, num_samples):
            logits = model.model(input_values=waveforms, attention_mask=own.long()).logits
        return only_text(model, logits), model.split.logit_frames(num_samples)


class Features(torch.nn.Module):
    """NeMo's interface: log-mel features (B, bins, frames) and (B,) frames to log-posteriors (B, frames, V)."""

    def __init__(self, model: TransformersCTC):
        super().__init__()
        self.model = model

    def forward(self, audio_signal: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Log-posteriors of a padded batch."""
        own = own_frames(length, audio_signal.shape[2])
        logits = self.model.model(input_features=audio_signal.transpose(1, 2), attention_mask=own.long()).logits
        return torch.log_softmax(only_text(self.model, logits), dim=-1)


class _OwnGroupNorm(torch.nn.Module):
    """A group norm of one channel a group, over the frames (B,) that are an utterance's own."""

    def __init__(self, norm: torch.nn.GroupNorm, frames: torch.Tensor):
        super().__init__()
        self.norm = norm
        self.frames = frames

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Norm of (B, C, T)."""
        own = own_frames(self.frames, hidden.shape[2])[:, None]
        mean, variance = _moments(hidden, own, self.frames[:, None, None], 2)
        normed = (hidden - mean) / torch.sqrt(variance + self.norm.eps)
        return normed * self.norm.weight[:, None] + self.norm.bias[:, None]


def _moments(values: torch.Tensor, own: torch.Tensor, count: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over ``count`` own values along an axis, which stays."""
    mean = (values * own).sum(axis, keepdim=True) / count
    return mean, (((values - mean) * own) ** 2).sum(axis, keepdim=True) / count


def _group_norm(model: TransformersCTC) -> torch.nn.Module | None:
    """The first convolution of a wav2vec2-like front end of which only its group norm reads padding; None for any other."""
    config = model.model.config
    if getattr(config, "feat_extract_norm", None) != "group" or getattr(config, "conv_pos_batch_norm", False):
        return None
    if model.family.startswith("sew"):
        return None
    first = model.split.base.feature_extractor.conv_layers[0]
    return first if isinstance(first.layer_norm, torch.nn.GroupNorm) else None


@contextlib.contextmanager
def _norm_over_own_frames(model: TransformersCTC, num_samples: torch.Tensor) -> Iterator[None]:
    """Within the block the group norm of the first convolution reads no padding."""
    first = _group_norm(model) if model.split.family.front_reads_padding else None
    if first is None:
        yield
        return
    norm, config = first.layer_norm, model.model.config
    first.layer_norm = _OwnGroupNorm(norm, (num_samples - config.conv_kernel[0]) // config.conv_stride[0] + 1)
    try:
        yield
    finally:
        first.layer_norm = norm
