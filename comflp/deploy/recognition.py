"""Running models from whatever directory they lie in: the library's own, ONNX or int8.

A Recognizer turns waveforms of any length into text; long ones go through the
model in overlapping chunks, whose frames are joined before they are collapsed.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import safetensors.torch
import torch

import comflp.models
from comflp.artifacts import read_json
from comflp.data.batching import AudioBatch
from comflp.models.finite import not_finite
from comflp.models.greedy import greedy_search
from comflp.inference.device import evaluation
from comflp.errors import ComflpError
from comflp.deploy.export import DESCRIPTION, INT8_SCALE, ONNX_FILE, WEIGHTS, minimum_samples, quantized, samples_per_frame
from comflp.models.layered import LayeredModel, Tokenizer
from comflp.models.transformers.directory import check_links

CHUNK_SECONDS = 30.0
"""Audio up to this length goes through the model in one piece."""

CONTEXT_SECONDS = 3.0
"""What a chunk sees of its neighbours on either side."""


@dataclass(frozen=True)
class Recognizer:
    """A model ready to recognise.

    logits: waveform (num_samples,) float32 -> (frames, V) float32.
    format: ``torch``, ``torch_int8``, ``onnx`` or ``onnx_int8``. model: the LayeredModel of the torch formats, else None.
    """

    logits: Callable[[np.ndarray], torch.Tensor]
    tokenizer: Tokenizer
    sample_rate: int
    samples_per_frame: int
    minimum_samples: int
    format: str
    num_layers: int
    num_parameters: int
    model: LayeredModel | None = None

    def text(self, waveform: np.ndarray, chunk_seconds: float = CHUNK_SECONDS) -> str:
        """The text of a waveform (num_samples,) float32 at ``sample_rate``."""
        if len(waveform) < self.minimum_samples:
            waveform = np.pad(waveform, (0, self.minimum_samples - len(waveform)))
        frames = []
        for start, end, first, last in chunks(
            len(waveform), self.samples_per_frame, round(chunk_seconds * self.sample_rate),
            round(CONTEXT_SECONDS * self.sample_rate), self.minimum_samples,
        ):
            frames.append(self.logits(waveform[start:end])[first:last])
        joined = torch.cat(frames)[None]
        if not torch.isfinite(joined).all():
            raise not_finite("the model's output", waveform=torch.from_numpy(waveform))
        return greedy_search(joined, torch.tensor([joined.shape[1]]), self.tokenizer)[0]


def chunks(
    num_samples: int, step: int, chunk: int, context: int, minimum: int = 1
) -> Iterator[tuple[int, int, int, int | None]]:
    """Cut audio into overlapping pieces: (first sample, end, first frame to keep, end of the frames to keep or None).

    step: samples a frame; all pieces begin on a frame. chunk: samples that a piece contributes, context: what it sees
    besides on either side. Audio of at most ``chunk`` samples is one piece; a rest below ``minimum`` joins the last piece.

    >>> list(chunks(10, 2, chunk=4, context=2))
    [(0, 6, 0, 2), (2, 10, 1, 3), (6, 10, 1, None)]
    >>> list(chunks(4, 2, chunk=4, context=2))
    [(0, 4, 0, None)]
    """
    chunk, context = max(chunk // step, 1) * step, -(-context // step) * step
    position = 0
    while True:
        start, rest = max(position - context, 0), num_samples - position
        if rest <= chunk or rest - chunk < minimum:
            yield start, num_samples, (position - start) // step, None
            return
        end = min(position + chunk + context, num_samples)
        yield start, end, (position - start) // step, (position + chunk - start) // step
        position += chunk


def load(directory: str | Path, num_threads: int | None = None, trust_hyperparams: bool = False) -> Recognizer:
    """The recogniser of a model directory of any format.

    num_threads: of onnxruntime; PyTorch's are the caller's (torch.set_num_threads).
    Raises ComflpError for a directory that is none of them.
    """
    directory = Path(directory)
    if not (directory / DESCRIPTION).exists():
        return of_model(comflp.models.load(directory, trust_hyperparams=trust_hyperparams))
    check_links(directory)
    about = read_json(directory / DESCRIPTION)
    try:
        if about["format"] == "torch_int8":
            return of_model(_load_int8(directory), "torch_int8")
        return _of_onnx(directory, about, num_threads)
    except KeyError as error:
        raise ComflpError(f"{directory / DESCRIPTION} has no {error}; export the model again") from None


def of_model(model: LayeredModel, form: str = "torch") -> Recognizer:
    """The recogniser of a model in memory."""

    def logits(waveform: np.ndarray) -> torch.Tensor:
        batch = AudioBatch((), torch.from_numpy(np.ascontiguousarray(waveform))[None], torch.tensor([len(waveform)]))
        with evaluation(model):
            output = model(batch)
        return output.logits[0, : int(output.num_frames[0])].float()

    parameters = model.num_parameters if form == "torch" else weight_count(model)
    return Recognizer(
        logits, model.tokenizer, model.sample_rate, samples_per_frame(model), minimum_samples(model), form,
        model.num_layers, parameters, model,
    )


def weight_count(model: torch.nn.Module) -> int:
    """Scalar weights of a model, those of quantised layers included, which are no parameters to PyTorch."""
    quantised = [module for module in model.modules() if isinstance(module, torch.ao.nn.quantized.dynamic.Linear)]
    packed = sum(module.weight().numel() + (0 if module.bias() is None else module.bias().numel()) for module in quantised)
    return packed + sum(parameter.numel() for parameter in model.parameters())


def _load_int8(directory: Path) -> LayeredModel:
    """Expand the int8 weights into a float directory for the family's own loader, and quantise what it gives."""
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    expanded = {
        name: tensor.float() * tensors[name + INT8_SCALE][:, None] if name + INT8_SCALE in tensors else tensor
        for name, tensor in tensors.items()
        if not name.endswith(INT8_SCALE)
    }
    with tempfile.TemporaryDirectory() as temporary:
        for file in directory.iterdir():
            if file.is_file() and file.name not in (WEIGHTS, DESCRIPTION):
                (Path(temporary) / file.name).write_bytes(file.read_bytes())
        safetensors.torch.save_file(expanded, Path(temporary) / WEIGHTS, metadata={"format": "pt"})
        return quantized(comflp.models.load(temporary))


def _of_onnx(directory: Path, about: dict, num_threads: int | None) -> Recognizer:
    try:
        import onnxruntime
    except ImportError:
        raise ComflpError(f"{directory} is an ONNX model; it needs the package onnxruntime (pip install 'comflp[export]')") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    try:
        session = onnxruntime.InferenceSession(str(directory / ONNX_FILE), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each kind of damage and no common base
        raise ComflpError(f"{directory / ONNX_FILE} cannot be run: {error}") from error

    def logits(waveform: np.ndarray) -> torch.Tensor:
        given = np.ascontiguousarray(waveform, dtype=np.float32)[None]
        return torch.from_numpy(session.run(None, {"waveform": given})[0][0])

    return Recognizer(
        logits, _tokenizer(directory, about), about["sample_rate"], about["samples_per_frame"], about["minimum_samples"],
        about["format"], about["num_layers"], about["num_parameters"],
    )


def _tokenizer(directory: Path, about: dict) -> Tokenizer:
    if about["tokenizer"] == "sentencepiece":
        from comflp.models.own.tokenizer import SentencePieceTokenizer

        return SentencePieceTokenizer.load(directory)
    from comflp.models.transformers.processor import ProcessorTokenizer
    from comflp.models.transformers.tokenizer_files import load_tokenizer

    return ProcessorTokenizer(load_tokenizer(str(directory))[0], about["vocab_size"])
