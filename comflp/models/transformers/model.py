"""TransformersModel: what all CTC families of the transformers library have in common."""

from __future__ import annotations

import copy
from abc import abstractmethod
from pathlib import Path
from typing import Sequence

import torch
from transformers import PreTrainedModel, ProcessorMixin

from comflp.artifacts import atomic_directory
from comflp.data.batching import AudioBatch
from comflp.errors import ComflpError
from comflp.models.transformers import head as huggingface_head
from comflp.models.transformers.logging import quiet
from comflp.models.transformers.processor import ProcessorTokenizer
from comflp.models.layered import LayeredModel, LayerState
from comflp.models.model_card import model_card


class TransformersModel(LayeredModel):
    """A CTC model of transformers, split into front end, layers and head.

    The split calls the library's own modules in the order of its own forward
    pass, without three things that the library does in training mode:
    SpecAugment, layerdrop of layers and layerdrop of adapters (layerdrop is an
    argument of :meth:`LayeredModel.forward` here). Dropout is the model's own.

    H_0 is what the library feeds its first layer, H_i what its i-th layer
    returns. A norm after the last layer, an adapter and the projection belong
    to the head, so H_L is taken before them.

    model: the library's ``...ForCTC``, in float32.
    processor: the library's processor: feature extractor and tokenizer.
    origin: see :class:`LayeredModel`; written to ``config.json`` under ``comflp``.
    """

    feature_extractor_class: type
    tokenizer_class: type
    processor_class: type
    """The library's classes of this family, for loading and saving."""

    front_parts: tuple[str, ...]
    """Modules of ``base`` whose weights are the front end's."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, origin: dict):
        super().__init__()
        self.model = model
        self.processor = processor
        self.origin = dict(origin)
        self.tokenizer = ProcessorTokenizer(processor.tokenizer, model.config.vocab_size)
        self.sample_rate = processor.feature_extractor.sampling_rate
        if self.adapter is not None:
            self.adapter.layerdrop = 0.0

    @property
    def library_note(self) -> str:
        lines = ["or with transformers alone:", "", "```python", "from transformers import AutoModelForCTC, AutoProcessor", ""]
        lines += ['model = AutoModelForCTC.from_pretrained("path/to/this/directory")']
        lines += ['processor = AutoProcessor.from_pretrained("path/to/this/directory")', "```", ""]
        if isinstance(self.model, huggingface_head.NormedHeadForCTC):
            lines += [huggingface_head.NOTE, ""]
        return "\n".join(lines)

    @property
    def base(self) -> PreTrainedModel:
        """The model without its CTC head."""
        return self.model.base_model

    @property
    def encoder(self) -> torch.nn.Module:
        """The module that owns the layers."""
        return self.base.encoder

    @property
    def adapter(self) -> torch.nn.Module | None:
        """The module between the last layer and the projection of models made with ``add_adapter``."""
        return getattr(self.base, "adapter", None)

    @property
    def layer_modules(self) -> torch.nn.ModuleList:
        return self.encoder.layers

    @abstractmethod
    def encoder_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames of H_0..H_L; below 1 where an utterance is too short for the model."""

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        return self.adapter_frames(self.encoder_frames(num_samples))

    def adapter_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """(B,) int64: what an adapter's convolutions leave of ``frames``; the same without an adapter."""
        if self.adapter is None:
            return frames
        for layer in self.adapter.layers:
            convolution = layer.conv
            frames = (frames + 2 * convolution.padding[0] - convolution.kernel_size[0]) // convolution.stride[0] + 1
        return frames

    def logit_frames(self, state: LayerState) -> torch.Tensor:
        return state.context["logit_frames"]

    def run_layer(self, module: torch.nn.Module, state: LayerState) -> LayerState:
        return state.with_hidden(module(state.hidden, **state.context["layer_arguments"]))

    def frames_of(self, batch: AudioBatch) -> torch.Tensor:
        """(B,) frames of H_0 for a batch; ComflpError names an utterance that is too short to have one."""
        frames = self.encoder_frames(batch.num_samples)
        for utterance, length, samples in zip(batch.utterances, frames.tolist(), batch.num_samples.tolist()):
            if length < 1:
                raise ComflpError(
                    f"utterance {utterance.utt_id} has only {samples} samples at {self.sample_rate} Hz, too few for "
                    f"one frame of this model; remove it from the data directory"
                )
        return frames

    def keep_layers(self, kept: Sequence[int]) -> None:
        modules = self.layer_modules
        self.encoder.layers = torch.nn.ModuleList(modules[layer - 1] for layer in kept)
        self.encoder.config.num_hidden_layers = len(kept)

    def reinitialize(self, seed: int, keep_frontend: bool) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.model)(copy.deepcopy(self.model.config)).state_dict()
        prefix = "" if self.base is self.model else f"{self.model.base_model_prefix}."
        front = tuple(f"{prefix}{part}." for part in self.front_parts) if keep_frontend else ()
        self.model.load_state_dict(
            {key: value for key, value in fresh.items() if not key.startswith(front)}, strict=not front
        )

    def freeze_feature_extractor(self) -> None:
        """Take the convolutions over the waveform out of training, as wav2vec2's authors do."""
        self.model.freeze_feature_encoder()

    def save(self, directory: str | Path) -> None:
        """Write config, safetensors weights, processor and model card.

        ``AutoModelForCTC.from_pretrained(directory)`` gives the same logits and
        ``AutoProcessor.from_pretrained(directory)`` the same processor. Origin and
        proposals are under ``comflp`` in config.json and in README.md.
        """
        model = huggingface_head.to_library_form(self.model)
        model.config.comflp = self.origin
        with atomic_directory(directory) as temporary, quiet():
            model.save_pretrained(temporary)
            self.processor.save_pretrained(temporary)
            self.processor.feature_extractor.save_pretrained(temporary)  # the file that transformers 4 reads
            (temporary / "README.md").write_text(model_card(self), encoding="utf-8")
