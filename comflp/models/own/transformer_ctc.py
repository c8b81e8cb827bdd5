"""The recipes' own model: a transformer CTC encoder small enough to train on two CPU cores."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

import safetensors.torch
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.transformer.Transformer import PositionalEncoding

from comflp.artifacts import atomic_directory, read_json, write_json
from comflp.data.batching import AudioBatch, own_frames
from comflp.errors import ComflpError
from comflp.models.directory import LARGEST_SIZE, MOST_LAYERS, SAMPLE_RATES
from comflp.models.layered import LayeredModel, Output, Stack, State, Step
from comflp.models.own.tokenizer import SentencePieceTokenizer

MODEL_TYPE = "comflp_transformer_ctc"
_HOP_SECONDS = 0.010
_MOST_FRAMES = 6000  # that positions reach
_WINDOW_SECONDS = 0.025
_STRIDES = (2, 2)
_NATS_PER_DECIBEL = math.log(10) / 10


@dataclass(frozen=True)
class Architecture:
    """Sizes of a TransformerCTC, as conf/deep.yaml names them.

    sample_rate in Hz; one frame a 10 ms hop, a quarter of them after the convolutions.
    norm_first: whether layers normalise what their branches read (pre-norm) or the stream behind them (post-norm, as wav2vec2-base).

    Raises ComflpError for a value of another type or outside its range.
    """

    sample_rate: int = 16000
    n_mels: int = 80
    d_model: int = 128
    nhead: int = 4
    d_ffn: int = 512
    num_layers: int = 12
    dropout: float = 0.05
    norm_first: bool = True

    def __post_init__(self) -> None:
        ranges = {"sample_rate": SAMPLE_RATES, "num_layers": range(1, MOST_LAYERS + 1)}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "dropout":
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                    raise ComflpError(f"dropout is {value!r} and has to be a number from 0 to below 1")
                continue
            if field.name == "norm_first":
                if not isinstance(value, bool):
                    raise ComflpError(f"norm_first is {value!r} and has to be true or false")
                continue
            allowed = ranges.get(field.name, range(1, LARGEST_SIZE + 1))
            if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
                raise ComflpError(f"{field.name} is {value!r} and has to be a whole number from {allowed[0]:,} to {allowed[-1]:,}")
        if self.d_model % self.nhead:
            raise ComflpError(f"d_model is {self.d_model} and has to be divisible by nhead, which is {self.nhead}")


class SharedDropout(torch.nn.Module):
    """Dropout whose mask is shared over time: (B, 1, D) draws instead of (B, T, D)."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Drop channels of ``hidden`` (B, T, D) in training; the identity in evaluation."""
        if not self.training or not self.probability:
            return hidden
        mask = torch.rand(hidden.shape[0], 1, hidden.shape[2], device=hidden.device) >= self.probability
        return hidden * (mask / (1 - self.probability))


class TransformerCTC(LayeredModel):
    """Log-mel features, two stride-2 convolutions, ``num_layers`` encoder layers, final norm and projection.

    H_L, the output of the last layer, is taken before the final norm, which belongs to the head.
    """

    def __init__(self, tokenizer: SentencePieceTokenizer, architecture: Architecture, origin: dict | None = None):
        super().__init__()
        self.family = MODEL_TYPE
        self.tokenizer = tokenizer
        self.architecture = architecture
        self.sample_rate = architecture.sample_rate
        self.origin = dict(origin or {})
        self.longest = (_MOST_FRAMES * math.prod(_STRIDES) - 1) * _HOP_SECONDS
        width, a = architecture.d_model, architecture
        with torch.device("cpu"):  # without sizes to check before loading, and PyTorch takes seconds to compute them for no device
            self.features = Fbank(
                sample_rate=a.sample_rate,
                n_mels=a.n_mels,
                n_fft=1 << (round(_WINDOW_SECONDS * a.sample_rate) - 1).bit_length(),  # the power of two that holds a window
                win_length=_WINDOW_SECONDS * 1000,
                hop_length=_HOP_SECONDS * 1000,
            )
            self.positions = PositionalEncoding(width, max_len=_MOST_FRAMES)
        channels = [a.n_mels, *[width] * len(_STRIDES)]
        self.subsampling = torch.nn.ModuleList(
            torch.nn.Conv1d(inputs, outputs, kernel_size=3, stride=stride, padding=1)
            for inputs, outputs, stride in zip(channels, channels[1:], _STRIDES)
        )
        self.input_norm = torch.nn.LayerNorm(width)
        self.positions.register_buffer("pe", self.positions.pe, persistent=False)  # follows from the width, not learnt
        self.input_dropout = SharedDropout(a.dropout)
        self.encoder_layers = torch.nn.ModuleList(_encoder_layer(a) for _ in range(a.num_layers))
        self.final_norm = torch.nn.LayerNorm(width)
        self.output = torch.nn.Linear(width, tokenizer.vocab_size)

    @property
    def stacks(self) -> Mapping[str, Stack]:
        """The encoder."""
        return {"encoder": Stack("encoder", self.encoder_layers)}

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """(B,) frames: one a 10 ms hop and one more, halved (rounded up) by each convolution."""
        frames = num_samples // int(self.sample_rate * _HOP_SECONDS) + 1
        for stride in _STRIDES:
            frames = (frames + stride - 1) // stride
        return frames

    def begin(self, batch: AudioBatch) -> State:
        """H_0 (B, T, d_model): convolved and normalised features with positions added."""
        frames = batch.num_samples // int(self.sample_rate * _HOP_SECONDS) + 1
        log_mel = self.features(batch.waveforms) * _NATS_PER_DECIBEL
        hidden = _without_mean(log_mel, frames).transpose(1, 2)
        for convolution in self.subsampling:
            frames = (frames + convolution.stride[0] - 1) // convolution.stride[0]
            hidden = torch.nn.functional.gelu(convolution(hidden))
            hidden = hidden * own_frames(frames, hidden.shape[2])[:, None, :]
        hidden = self.input_norm(hidden.transpose(1, 2))
        hidden = self.input_dropout(hidden + self.positions(hidden))
        padding = ~own_frames(frames, hidden.shape[1])
        masked = torch.compiler.is_exporting() or (len(padding) > 1 and padding.any())  # a graph is for any batch
        return State(hidden, frames, {"padding_mask": padding if masked else None})

    def run(self, state: State, step: Step) -> State:
        """H_{i-1} to H_i."""
        layer = self.encoder_layers[step.layer - 1]
        return state.with_hidden(layer(state.hidden, src_key_padding_mask=state.context["padding_mask"]))

    def finish(self, state: State) -> Output:
        """Final norm and projection of H_L."""
        return Output(self.output(self.final_norm(state.hidden)), state.num_frames)

    def keep_layers(self, kept: Mapping[str, Sequence[int]]) -> None:
        """Shorten the encoder to the layers ``kept["encoder"]`` (1-based, ascending)."""
        kept = kept["encoder"]
        self.encoder_layers = torch.nn.ModuleList(self.encoder_layers[index - 1] for index in kept)
        self.architecture = dataclasses.replace(self.architecture, num_layers=len(kept))

    def freeze_feature_extractor(self) -> None:
        """Keep the convolutional front end as it is in training."""
        self.subsampling.requires_grad_(False)

    def reinitialize(self, seed: int, keep_frontend: bool) -> None:
        """Draw all weights anew, as for training from scratch; with ``keep_frontend`` those of layers and head only."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = TransformerCTC(self.tokenizer, self.architecture).state_dict()
        front = ("subsampling.", "input_norm.") if keep_frontend else ()
        self.load_state_dict({key: value for key, value in fresh.items() if not key.startswith(front)}, strict=not front)

    def save(self, directory: str | Path) -> None:
        """Write config.json, model.safetensors, tokenizer.model and README.md; all of them or none."""
        from comflp.models.model_card import model_card

        with atomic_directory(directory) as temporary:
            config = {"model_type": MODEL_TYPE, **dataclasses.asdict(self.architecture), "comflp": self.origin}
            write_json(temporary / "config.json", config)
            safetensors.torch.save_file(
                {name: tensor.contiguous() for name, tensor in self.state_dict().items()},
                temporary / "model.safetensors",
            )
            self.tokenizer.save(temporary)
            (temporary / "README.md").write_text(model_card(self), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> TransformerCTC:
        """Read a directory that :meth:`save` wrote; in evaluation mode.

        Raises ComflpError for a broken file, which it names, and for weights of other names or shapes than those of the
        configuration, before the model is built.
        """
        directory = Path(directory)
        file, config = directory / "config.json", read_json(directory / "config.json")
        sizes = {field.name: config[field.name] for field in dataclasses.fields(Architecture)}
        try:
            architecture = Architecture(**sizes)
        except ComflpError as error:
            raise ComflpError(f"{file}: {error}") from None
        tokenizer, weights = SentencePieceTokenizer.load(directory), directory / "model.safetensors"
        try:
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                wanted = {name: list(tensor.shape) for name, tensor in cls(tokenizer, architecture).state_dict().items()}
            with safetensors.safe_open(weights, framework="pt") as held:
                names = held.keys()
                found = {name: held.get_slice(name).get_shape() for name in names}
            for name in sorted({*wanted, *found}):
                if wanted.get(name) != found.get(name):
                    raise ComflpError(
                        f"{file} and {weights} do not belong together: {name} is {_shape(wanted.get(name))} in the model and "
                        f"{_shape(found.get(name))} in the weights"
                    )
            model = cls(tokenizer, architecture, origin=config.get("comflp"))
            model.load_state_dict(safetensors.torch.load_file(weights))
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise ComflpError(f"{weights} does not hold the weights of this model: {error}") from None
        return model.eval()


def _shape(shape: list[int] | None) -> str:
    return "not there" if shape is None else f"{shape}"


def _encoder_layer(a: Architecture) -> torch.nn.TransformerEncoderLayer:
    layer = torch.nn.TransformerEncoderLayer(
        a.d_model, a.nhead, a.d_ffn, dropout=0.0, activation="gelu", batch_first=True, norm_first=a.norm_first
    )
    for name in ("dropout", "dropout1", "dropout2"):
        setattr(layer, name, SharedDropout(a.dropout))
    return layer


def _without_mean(features: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """(B, T, F) features less each utterance's own mean; zero past its end."""
    mask = own_frames(frames, features.shape[1])[:, :, None]
    mean = (features * mask).sum(dim=1, keepdim=True) / frames[:, None, None]
    return (features - mean) * mask
