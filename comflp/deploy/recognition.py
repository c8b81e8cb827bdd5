"""Running models from whatever directory they lie in: the library's own, or an export, each with the runtime that it is for.

A Recognizer turns waveforms of any length into text. Long ones go through a CTC model in overlapping chunks, whose frames
are joined before they are collapsed, and through a model that takes so many seconds at a time in pieces of equal length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import numpy as np
import torch

import comflp.models
from comflp.artifacts import read_json
from comflp.data.batching import AudioBatch
from comflp.models.finite import not_finite
from comflp.models.greedy import greedy_search
from comflp.inference.device import evaluation
from comflp.errors import ComflpError
from comflp.deploy import consumers
from comflp.deploy.description import DESCRIPTION, minimum_samples, samples_per_frame
from comflp.deploy.formats import FORMATS
from comflp.deploy.int8_torch import load_int8
from comflp.deploy.onnx_files import ONNX_FILE, session
from comflp.models.directory import check_links
from comflp.models.layered import LayeredModel
from comflp.models.tokenizer import Tokenizer
from comflp.models.transformers.logging import one_line
from comflp.stacks import depth_of

CHUNK_SECONDS = 30.0
"""Audio up to this length goes through the model in one piece."""

CONTEXT_SECONDS = 3.0
"""What a chunk sees of its neighbours on either side."""

_CONSUMERS = {"sherpa-onnx": consumers.sherpa_onnx, "onnx": consumers.onnx_asr, "ctranslate2": consumers.faster_whisper}
_SHERPA_SECONDS = 29.0
"""sherpa-onnx cuts off what exceeds 29.5 s of a window."""
_WINDOW_HAS_SECONDS = 0.1
"""How much of a window is given at least: from less sherpa-onnx makes no frame, and reads memory that is not its own."""


@dataclass(frozen=True)
class Recognizer(ABC):
    """A model ready to recognise.

    format: ``torch`` or a name of :data:`comflp.deploy.formats.FORMATS`. runtime: the package that computes, with its version.
    num_layers: the model's depth; for encoder-decoder models stack -> layers. model: the LayeredModel of the torch formats, else None.
    minimum_samples: to which shorter audio is filled up with silence. longest: seconds that it takes at a time, None for any.
    """

    sample_rate: int
    format: str
    runtime: str
    num_layers: int | Mapping[str, int]
    num_parameters: int
    model: LayeredModel | None
    minimum_samples: int
    longest: float | None

    def text(self, waveform: np.ndarray, chunk_seconds: float = CHUNK_SECONDS) -> str:
        """The text of a waveform (num_samples,) float32 at ``sample_rate``, longer ones in pieces of ``chunk_seconds``.

        Pieces are never shorter or longer than the model bears.
        """
        waveform = np.pad(waveform, (0, max(self.minimum_samples - len(waveform), 0)))
        most = len(waveform) if self.longest is None else int(self.longest * self.sample_rate) - 2 * self.context
        return self._text(waveform, max(round(min(chunk_seconds * self.sample_rate, most, len(waveform))), self.minimum_samples))

    @property
    def context(self) -> int:
        """Samples that a piece has of its neighbours on either side."""
        return 0

    @abstractmethod
    def _text(self, waveform: np.ndarray, chunk: int) -> str:
        """The text of a waveform of ``minimum_samples`` at least, in pieces of ``chunk`` samples."""


@dataclass(frozen=True)
class FrameRecognizer(Recognizer):
    """A CTC model whose frames this library collapses.

    logits: waveform (num_samples,) float32 -> (frames, V) float32.
    """

    logits: Callable[[np.ndarray], torch.Tensor]
    tokenizer: Tokenizer
    samples_per_frame: int

    @property
    def context(self) -> int:
        """Samples that a piece has of its neighbours on either side: whole frames."""
        return -(-round(CONTEXT_SECONDS * self.sample_rate) // self.samples_per_frame) * self.samples_per_frame

    def _text(self, waveform: np.ndarray, chunk: int) -> str:
        """The text of a waveform, whose pieces overlap."""
        pieces = chunks(len(waveform), self.samples_per_frame, chunk, self.context, self.minimum_samples)
        joined = torch.cat([self.logits(waveform[start:end])[first:last] for start, end, first, last in pieces])[None]
        if not torch.isfinite(joined).all():
            raise not_finite("the model's output", waveform=torch.from_numpy(waveform))
        return greedy_search(joined, torch.tensor([joined.shape[1]]), self.tokenizer)[0]


@dataclass(frozen=True)
class TextRecognizer(Recognizer):
    """A model whose runtime gives texts.

    recognise: waveform (num_samples,) float32 -> text.
    """

    recognise: Callable[[np.ndarray], str]

    def _text(self, waveform: np.ndarray, chunk: int) -> str:
        """The text of a waveform, whose pieces follow one another; a runtime that takes any length cuts it itself."""
        if self.longest is None:
            return self.recognise(waveform)
        number = min(-(-len(waveform) // chunk), len(waveform) // self.minimum_samples)
        return " ".join(filter(None, map(self.recognise, np.array_split(waveform, number))))


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


def load(
    directory: str | Path, num_threads: int | None = None, trust_hyperparams: bool = False, language: str | None = None
) -> Recognizer:
    """The recogniser of a model directory of any format.

    num_threads: how many threads the runtime takes; PyTorch's are the caller's (torch.set_num_threads). language: as :func:`comflp.models.load` takes it.
    Raises ComflpError for a directory that is none of them or an export, which has its language, with another, and where the package
    that reads it is missing.
    """
    directory = Path(directory)
    if not (directory / DESCRIPTION).exists():
        return of_model(comflp.models.load(directory, trust_hyperparams=trust_hyperparams, language=language))
    if language is not None:
        raise ComflpError(f"{directory} is an export, which recognises the language that it was exported with; leave {language!r} out")
    check_links(directory)
    about = read_json(directory / DESCRIPTION)
    form = FORMATS.get(about["format"])
    if form is None:
        raise ComflpError(f"{directory / DESCRIPTION} names the format {about['format']!r}; there are {', '.join(FORMATS)}")
    if form.runtime == "torch":
        return replace(of_model(load_int8(directory)), format=form.name, num_parameters=about["num_parameters"])
    if form.runtime == "onnx" and about["reads"] == "waveforms":
        return _of_onnx(directory, about, num_threads)
    return _of_consumer(directory, about, form.runtime, num_threads)


def of_model(model: LayeredModel) -> Recognizer:
    """The recogniser of a model in memory."""
    common = (model.sample_rate, "torch", f"torch {torch.__version__}", depth_of(model.stacks), model.num_parameters, model, minimum_samples(model))
    if model.teacher_forced:
        return TextRecognizer(*common, model.longest or CHUNK_SECONDS, lambda waveform: _spelled(model, waveform))

    def logits(waveform: np.ndarray) -> torch.Tensor:
        with evaluation(model):
            output = model(_batch(waveform))
        return output.logits[0, : int(output.num_frames[0])].float()

    return FrameRecognizer(*common, model.longest, logits, model.tokenizer, samples_per_frame(model))


def _batch(waveform: np.ndarray) -> AudioBatch:
    return AudioBatch((), torch.from_numpy(np.ascontiguousarray(waveform))[None], torch.tensor([len(waveform)]))


def _spelled(model: LayeredModel, waveform: np.ndarray) -> str:
    with evaluation(model):
        return model.texts({"": model.spell(model.recognition_state(_batch(waveform)))})[""][0]


def _of_onnx(directory: Path, about: Mapping[str, Any], num_threads: int | None) -> Recognizer:
    graph = session(directory / ONNX_FILE, num_threads)
    batched = len(graph.get_inputs()) > 1

    def logits(waveform: np.ndarray) -> torch.Tensor:
        given = {"waveforms": np.ascontiguousarray(waveform, dtype=np.float32)[None]}
        if batched:
            given["num_samples"] = np.array([len(waveform)])
        return torch.from_numpy(graph.run(None, given)[0][0])

    import onnxruntime

    runtime = f"onnxruntime {onnxruntime.__version__}"
    return FrameRecognizer(
        about["sample_rate"], about["format"], runtime, about["num_layers"], about["num_parameters"], None, about["minimum_samples"],
        about.get("longest"), _naming(runtime, logits), _tokenizer(directory, about), about["samples_per_frame"],
    )


def _of_consumer(directory: Path, about: Mapping[str, Any], runtime: str, num_threads: int | None) -> Recognizer:
    recognise, version = _CONSUMERS[runtime](directory, about, num_threads)
    name = f"{'onnx-asr' if runtime == 'onnx' else runtime} {version}"
    bounds = {"sherpa-onnx": min(about.get("window_seconds", CHUNK_SECONDS), _SHERPA_SECONDS), "ctranslate2": None}
    return TextRecognizer(
        about["sample_rate"], about["format"], name, about["num_layers"], about["num_parameters"], None,
        about.get("minimum_samples", round(_WINDOW_HAS_SECONDS * about["sample_rate"])),
        bounds.get(runtime, about.get("window_seconds", CHUNK_SECONDS)), _naming(name, recognise),
    )


def _naming(runtime: str, call: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """``call``, whose errors become a ComflpError that names the runtime."""

    def called(waveform: np.ndarray) -> Any:
        try:
            return call(waveform)
        except Exception as error:  # the errors of runtimes have no common base
            raise ComflpError(f"{runtime} cannot recognise this audio, or a piece of it ({one_line(error)}); leave it out, or recognise it "
                              f"with the model that was exported") from error

    return called


def _tokenizer(directory: Path, about: Mapping[str, Any]) -> Tokenizer:
    if about["tokenizer"] == "sentencepiece":
        from comflp.models.own.tokenizer import SentencePieceTokenizer

        return SentencePieceTokenizer.load(directory)
    from comflp.models.transformers.processor import ProcessorTokenizer
    from comflp.models.transformers.tokenizer_files import load_tokenizer

    return ProcessorTokenizer(load_tokenizer(str(directory))[0], about["vocab_size"])
