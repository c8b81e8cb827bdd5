"""TransformersCTC: a CTC model of the transformers library, cut at its layers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Mapping, Sequence

import torch
from transformers import PreTrainedModel, ProcessorMixin

from comflp.data.batching import AudioBatch, refuse_too_short
from comflp.models.layered import LayeredModel, Output, Stack, State, Step
from comflp.models.transformers import head as normed_head
from comflp.models.transformers.processor import ProcessorTokenizer, input_lengths, normalised_waveforms
from comflp.models.transformers.saving import write
from comflp.models.transformers.split import Split, module_at


class TransformersCTC(LayeredModel):
    """A CTC model of transformers: the library's own modules, called layer by layer.

    Three things that the library does in training mode are left out: SpecAugment, layerdrop of layers and layerdrop
    of adapters (layerdrop is an argument of :meth:`LayeredModel.forward` here). Dropout is the model's own.

    H_0 is what the library feeds its first layer, H_i what its i-th layer returns. A norm after the last layer, an
    adapter and the projection come after H_L.

    model: the library's ``...ForCTC``, in float32. split: how its family is cut.
    processor: the library's processor: feature extractor and tokenizer.
    origin: see :class:`LayeredModel`; written to ``config.json`` under ``comflp``, but for the facts under ``training``.
    """

    def __init__(self, model: PreTrainedModel, split: Split, processor: ProcessorMixin, origin: dict):
        super().__init__()
        self.model = model
        self.split = split
        self.processor = processor
        self.origin = dict(origin)
        self.family = model.config.model_type
        self.tokenizer = ProcessorTokenizer(processor.tokenizer, model.config.vocab_size)
        self.sample_rate = processor.feature_extractor.sampling_rate

    library_name = "transformers"

    @property
    def library_note(self) -> str:
        lines = ["or with transformers alone:", "", "```python", f"from transformers import {self.library_class}, AutoProcessor", ""]
        lines += [f'model = {self.library_class}.from_pretrained("path/to/this/directory")']
        lines += ['processor = AutoProcessor.from_pretrained("path/to/this/directory")', "```", ""]
        if isinstance(self.model, normed_head.NormedHeadForCTC):
            lines += [normed_head.NOTE, ""]
        return "\n".join(lines)

    @property
    def library_class(self) -> str:
        """The class of transformers that loads the directory."""
        return "AutoModelForCTC"

    @property
    def stacks(self) -> Mapping[str, Stack]:
        return {"encoder": self.split.stack}

    def steps_of_stack(self, name: str, kept: Sequence[int]) -> list[Step]:
        return [Step(name, layer) for layer in self.split.steps(kept)]

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        return self.split.logit_frames(self._input_lengths(num_samples))

    def _input_lengths(self, num_samples: torch.Tensor) -> torch.Tensor:
        return input_lengths(self.split.family, self.processor.feature_extractor, num_samples)

    def begin(self, batch: AudioBatch) -> State:
        lengths = self._input_lengths(batch.num_samples)
        refuse_too_short(batch.utterances, self.split.layer_frames(lengths), batch.num_samples, self.sample_rate)
        if self.split.family.feature_frames is None:
            return self.split.begin({"input_values": self._waveforms(batch)}, lengths, lengths)
        rows = [self._features(row[:samples])["input_features"][0] for row, samples in zip(batch.waveforms, batch.num_samples.tolist())]
        features = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
        return self.split.begin({"input_features": features}, lengths, lengths.new_tensor([len(row) for row in rows]))

    def _waveforms(self, batch: AudioBatch) -> torch.Tensor:
        """(B, T): the waveforms as the library's feature extractor gives them to the model, each of it alone."""
        return normalised_waveforms(batch, self.processor.feature_extractor)

    def _features(self, waveform: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The arguments that the library's feature extractor makes of one waveform (T,)."""
        return self.processor.feature_extractor(
            waveform.cpu().numpy(), sampling_rate=self.sample_rate, return_attention_mask=True, return_tensors="pt"
        )

    def run(self, state: State, step: Step) -> State:
        return self.split.run(state, step.layer)

    def finish(self, state: State) -> Output:
        logits = self.split.finish(state, self._head)
        return Output(logits, state.context["logit_frames"])

    def _head(self, hidden: torch.Tensor, state: State) -> torch.Tensor:
        for path in self.split.family.head:
            hidden = module_at(self.model, path)(hidden)
        return hidden

    def library_logits(self, batch: AudioBatch) -> torch.Tensor:
        """(1, T, V): the library's own forward pass on a batch of one utterance."""
        if self.split.family.feature_frames is None:
            return self.model(input_values=self._waveforms(batch)).logits
        return self.model(**self._features(batch.waveforms[0]).to(self.device)).logits

    def keep_layers(self, kept: Mapping[str, Sequence[int]]) -> None:
        self.split.keep_layers(kept["encoder"])

    def reinitialize(self, seed: int, keep_frontend: bool) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.model)(copy.deepcopy(self.model.config)).state_dict()
        base = self.split.base
        prefix = "" if base is self.model else f"{self.model.base_model_prefix}."
        front = tuple(f"{prefix}{part}." for part in self.split.family.front) if keep_frontend else ()
        self.model.load_state_dict(
            {key: value for key, value in fresh.items() if not key.startswith(front)}, strict=not front
        )

    def freeze_feature_extractor(self) -> None:
        """Take the convolutions of the front end out of training, as wav2vec2's authors do."""
        self.split.freeze_convolutions()

    def save(self, directory: str | Path) -> None:
        """Write config, safetensors weights, processor and model card.

        ``from_pretrained(directory)`` of the :attr:`library_class` gives the same logits and
        ``AutoProcessor.from_pretrained(directory)`` the same processor. Origin and
        proposals are under ``comflp`` in config.json and in README.md, error rates in README.md alone.
        """
        write(normed_head.to_library_form(self.model), self, directory)
