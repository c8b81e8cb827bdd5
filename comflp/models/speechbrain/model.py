"""Pretrained SpeechBrain models of the asr-wav2vec2-ctc kind: a transformers encoder inside, a DNN and a CTC projection.

Such a directory holds hyperparams.yaml for ``EncoderASR.from_hparams``, whose ``modules.encoder`` is a
LengthsCapableSequential of the wav2vec2 lobe and of what follows it.
"""

from __future__ import annotations

import functools
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Mapping, Sequence

import torch
from huggingface_hub import hf_hub_download
from ruamel.yaml import YAML
from ruamel.yaml.comments import TaggedScalar
from speechbrain.inference.ASR import EncoderASR
from speechbrain.nnet.containers import LengthsCapableSequential
from torch.nn.functional import layer_norm
from transformers import PreTrainedModel

from comflp.artifacts import atomic_directory, read_text, write_json
from comflp.data.batching import AudioBatch, refuse_too_short
from comflp.errors import ComflpError
from comflp.models.layered import LayeredModel, Output, Stack, State, Step
from comflp.models.model_card import model_card
from comflp.models.published import published, source_of
from comflp.models.speechbrain.tokenizer import SpeechBrainTokenizer
from comflp.models.transformers.families import FAMILIES
from comflp.models.transformers.logging import quiet
from comflp.replacing import final_place
from comflp.models.verify import refuse_unless_equal_to_library

_ENCODER_DIRECTORY = "wav2vec2"
_PATH_KEY = "pretrained_path"


class SpeechBrainCTC(LayeredModel):
    """A SpeechBrain model that holds an encoder of transformers, cut as that library's own models are.

    In SpeechBrain's own batches the waveform is normalised and the encoder's output layer-normalised over the whole
    padded length (where the model asks for either). Here every utterance gets what it gets there alone. :meth:`finish`
    runs everything behind the lobe, which may end in a log-softmax.
    """

    def __init__(self, interface: EncoderASR, hyperparams: str, origin: dict):
        super().__init__()
        hparams = vars(interface.hparams)
        self.sequence = interface.mods["encoder"].requires_grad_(True)
        self.hyperparams = hyperparams
        self.lobe_key = next(key for key, value in hparams.items() if value is self.lobe)
        self.loadables = dict(hparams["pretrainer"].loadables)
        self.sample_rate = int(hparams.get("sample_rate", self.lobe.feature_extractor.sampling_rate))
        self.origin = dict(origin)
        self.family = f"SpeechBrain {self.model.config.model_type}"
        kind = FAMILIES[self.model.config.model_type]
        family = kind.family(self.model.config)
        self.split = kind.split(self.model, replace(family, tail_reads_padding=family.tail_reads_padding or self.lobe.output_norm))
        projections = [module for module in self.sequence.modules() if isinstance(module, torch.nn.Linear)]
        vocab_size = projections[-1].out_features
        self.tokenizer = SpeechBrainTokenizer(hparams["tokenizer"], vocab_size, _blank(hparams, vocab_size))

    @property
    def lobe(self) -> torch.nn.Module:
        """SpeechBrain's wrapper of the transformers model."""
        return next(iter(self.sequence.values()))

    @property
    def model(self) -> torch.nn.Module:
        """The transformers model, which has no CTC head of its own."""
        return self.lobe.model

    library_name = "speechbrain"

    @property
    def library_note(self) -> str:
        return (
            "or with SpeechBrain alone:\n\n```python\nfrom speechbrain.inference.ASR import EncoderASR\n\n"
            'model = EncoderASR.from_hparams(source="path/to/this/directory", '
            f'overrides={{"{_PATH_KEY}": "path/to/this/directory"}})\n```\n'
        )

    @property
    def stacks(self) -> Mapping[str, Stack]:
        return {"encoder": self.split.stack}

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        return self.split.logit_frames(num_samples)

    def begin(self, batch: AudioBatch) -> State:
        refuse_too_short(batch.utterances, self.split.layer_frames(batch.num_samples), batch.num_samples, self.sample_rate)
        return self.split.begin({"input_values": self._waveforms(batch)}, batch.num_samples, batch.num_samples)

    def _waveforms(self, batch: AudioBatch) -> torch.Tensor:
        """(B, T): what SpeechBrain gives the encoder for each utterance alone."""
        if not self.lobe.normalize_wav:
            return batch.waveforms
        rows = [layer_norm(row[:length], (int(length),)) for row, length in zip(batch.waveforms, batch.num_samples)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def run(self, state: State, step: Step) -> State:
        return self.split.run(state, step.layer)

    def finish(self, state: State) -> Output:
        return Output(self.split.finish(state, self._head), state.context["logit_frames"])

    def _head(self, hidden: torch.Tensor, state: State) -> torch.Tensor:
        if self.lobe.output_norm:
            hidden = layer_norm(hidden, hidden.shape[1:])
        relative = state.num_frames / hidden.shape[1]
        for module, name in zip(list(self.sequence.values())[1:], self.sequence.lengths_arg_names[1:]):
            hidden = module(hidden, **({name: relative} if name else {}))
            if isinstance(hidden, tuple):
                hidden = hidden[0]
        return hidden

    def library_logits(self, batch: AudioBatch) -> torch.Tensor:
        """(1, T, V): SpeechBrain's own forward pass on a batch of one utterance."""
        output = self.sequence(batch.waveforms, torch.ones(1, device=batch.waveforms.device))
        return output[0] if isinstance(output, tuple) else output

    def keep_layers(self, kept: Mapping[str, Sequence[int]]) -> None:
        self.split.keep_layers(kept["encoder"])

    def freeze_feature_extractor(self) -> None:
        """Take the convolutions over the waveform out of training."""
        self.split.freeze_convolutions()

    def reinitialize(self, seed: int, keep_frontend: bool) -> None:
        front = tuple(f"{part}." for part in self.split.family.front) if keep_frontend else ()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.model)(self.model.config).state_dict()
            for module in list(self.sequence.values())[1:]:
                for part in module.modules():
                    if hasattr(part, "reset_parameters"):
                        part.reset_parameters()
        self.model.load_state_dict(
            {key: value for key, value in fresh.items() if not key.startswith(front)}, strict=not front
        )

    def save(self, directory: str | Path) -> None:
        """Write a directory that ``EncoderASR.from_hparams`` loads, and :func:`comflp.models.load` with trust.

        The shortened encoder lies in ``wav2vec2/`` as a transformers directory.
        hyperparams.yaml is the original one with two edits: the lobe's source is
        that directory, and ``pretrained_path`` says where the model lies (to be
        given as an override by who moves it; comflp does so by itself).
        """
        directory = Path(directory)
        with atomic_directory(directory) as temporary, quiet():
            self.model.save_pretrained(temporary / _ENCODER_DIRECTORY)
            self.lobe.feature_extractor.save_pretrained(temporary / _ENCODER_DIRECTORY)
            for name, part in self.loadables.items():
                if part is self.tokenizer.tokenizer:
                    self.tokenizer.write(temporary / f"{name}.ckpt")
                elif part is not self.lobe:
                    torch.save(part.state_dict(), temporary / f"{name}.ckpt")
            (temporary / "hyperparams.yaml").write_text(self._edited_hyperparams(directory), encoding="utf-8")
            config = {"speechbrain_interface": "EncoderASR", "num_hidden_layers": self.num_layers, "comflp": self.origin}
            write_json(temporary / "config.json", config)
            (temporary / "README.md").write_text(model_card(self), encoding="utf-8")

    def _edited_hyperparams(self, directory: Path) -> str:
        round_trip = YAML()  # ruamel's default builds no objects
        data = round_trip.load(self.hyperparams)
        data.pop(_PATH_KEY, None)
        data.insert(0, _PATH_KEY, str(final_place(directory.resolve())))
        data[self.lobe_key]["source"] = TaggedScalar(f"<{_PATH_KEY}>/{_ENCODER_DIRECTORY}", tag="!ref")
        for name in [name for name, part in self.loadables.items() if part is self.lobe]:
            data["pretrainer"]["loadables"].pop(name, None)
        data["pretrainer"].pop("paths", None)
        written = io.StringIO()
        round_trip.dump(data, written)
        return written.getvalue()


def load_speechbrain(name_or_dir: str | Path, trust_hyperparams: bool) -> SpeechBrainCTC:
    """The model of a directory or hub name, in evaluation mode; ComflpError unless its YAML is trusted.

    Parameter files are read by SpeechBrain, whose torch.load takes weights only.
    """
    name = str(name_or_dir)
    hyperparams, config = _read_text(name, "hyperparams.yaml"), _read_text(name, "config.json")
    if hyperparams is None:
        raise ComflpError(f"{name} has neither config.json nor hyperparams.yaml, so it is a model of none of the libraries that are read here")
    if not trust_hyperparams:
        raise ComflpError(
            f"{name} is a SpeechBrain model. Its hyperparams.yaml may call any Python function, so to load it is to "
            f"run its author's code; if you trust the author, add --trust-hyperparams"
        )
    origin = json.loads(config or "{}").get("comflp")
    overrides = {} if origin is None else {_PATH_KEY: str(Path(name).resolve())}
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            interface = EncoderASR.from_hparams(
                source=name, overrides=overrides, run_opts={"device": "cpu"}, freeze_params=False
            )
    except Exception as error:  # the YAML runs anything, so anything may come out of it
        raise ComflpError(f"{name} cannot be loaded as a SpeechBrain EncoderASR: {error}") from error
    lobe = _lobe(interface.mods["encoder"])
    supported = lobe is not None and lobe.model.config.model_type in FAMILIES
    if not supported or lobe.output_all_hiddens or not any(lobe is value for value in vars(interface.hparams).values()):
        raise ComflpError(
            f"{name}: modules.encoder has to be a LengthsCapableSequential that begins with a Wav2Vec2, HuBERT or "
            f"WavLM lobe, which is itself a key of hyperparams.yaml and gives its last layer only"
        )
    card = {"published": found} if (found := published(name)) else {}
    made = SpeechBrainCTC(interface, hyperparams, origin or {"source": source_of(name), **card}).eval()
    refuse_unless_equal_to_library(made, f"the SpeechBrain model {name}")
    return made


def _lobe(sequence: torch.nn.Module) -> torch.nn.Module | None:
    """The first module of the encoder where that wraps a transformers model, by what it is and not by its class.

    SpeechBrain 1.1 redirects the class paths of 1.0, which makes a second class of the same name.
    """
    first = next(iter(sequence.values()), None) if isinstance(sequence, LengthsCapableSequential) else None
    wraps = all(hasattr(first, name) for name in ("model", "feature_extractor", "normalize_wav", "output_norm"))
    return first if wraps and isinstance(first.model, PreTrainedModel) else None


def _read_text(name: str, file: str) -> str | None:
    """A text file of a local directory or hub repository, None when it is not there."""
    path = Path(name) / file
    if not Path(name).is_dir():
        try:
            path = Path(hf_hub_download(name, file))
        except OSError:
            return None
    return read_text(path) if path.exists() else None


def _blank(hparams: dict, vocab_size: int) -> int:
    """The blank's label, from the decoding function or the hyperparameters."""
    decoding = hparams["decoding_function"]
    blank = decoding.keywords.get("blank_id") if isinstance(decoding, functools.partial) else None
    blank = hparams.get("blank_index", -1) if blank is None else blank
    return blank % vocab_size
