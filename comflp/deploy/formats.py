"""The forms that a model can be exported in: a runtime that reads them, and how they hold the weights.

What a family of models cannot have is said by :func:`refuse`, before any work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable

from comflp.deploy.quiet import needed
from comflp.errors import ComflpError

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs the names of formats only
    from comflp.models.layered import LayeredModel

ONNX_PRECISIONS = ("float32", "float16", "int8", "int8_static", "int4")
PRECISIONS = {
    "onnx": ONNX_PRECISIONS,
    "sherpa-onnx": ONNX_PRECISIONS,
    "ctranslate2": ("float32", "int8"),
    "torch": ("int8",),
}
"""Runtime -> how its files may hold the weights, the default first.

onnx: onnxruntime, and what stands on it: onnx-asr and transformers.js. sherpa-onnx: its C++ library, with its own metadata.
ctranslate2: CTranslate2 and faster-whisper. torch: this library; its float form is the model directory itself.
"""
_GRAPHS = ("export", ("onnx", "onnxscript", "onnxruntime"))
_WRITERS = {"onnx": _GRAPHS, "sherpa-onnx": _GRAPHS, "ctranslate2": ("runtimes", ("ctranslate2.converters",)), "torch": ("", ())}
"""Runtime -> extra of this library, and the packages that it brings to write what the runtime reads."""
_READERS = {"onnx": "onnx_asr", "sherpa-onnx": "sherpa_onnx", "ctranslate2": "faster_whisper"}
"""Runtime -> package that an export is recognised with; the graphs of CTC models from waveforms are run by onnxruntime alone."""
SHERPA_RATE = 16000
"""Samples a second that sherpa-onnx gives to models that read waveforms."""

WINDOW_SECONDS = 30
"""What onnx-asr, transformers.js and faster-whisper fill up every utterance to for Whisper."""


@dataclass(frozen=True)
class Format:
    """A runtime and a precision; the name is that of the export's directory.

    >>> Format("onnx", "float32").name, Format("sherpa-onnx", "int8").name
    ('onnx', 'sherpa-onnx_int8')
    """

    runtime: str
    precision: str

    @property
    def name(self) -> str:
        """Name of the directory that the export lies in."""
        return self.runtime if self.precision == "float32" else f"{self.runtime}_{self.precision}"


FORMATS = {form.name: form for form in (Format(runtime, precision) for runtime, found in PRECISIONS.items() for precision in found)}
"""Name -> format."""


def formats_of(runtimes: Iterable[str], precisions: Iterable[str] = ()) -> list[Format]:
    """The formats of some runtimes, each once; the runtime's first precision where none is asked for.

    Raises ComflpError for a name that is not known, and for a precision that a runtime does not have.

    >>> [form.name for form in formats_of(["onnx", "torch"])]
    ['onnx', 'torch_int8']
    """
    found: dict[Format, None] = {}
    for runtime in runtimes:
        if runtime not in PRECISIONS:
            raise ComflpError(f"there is no runtime {runtime!r}; there are {', '.join(PRECISIONS)}")
        for precision in list(precisions) or PRECISIONS[runtime][:1]:
            if precision not in PRECISIONS[runtime]:
                raise ComflpError(f"{runtime} has no precision {precision!r}; it has {', '.join(PRECISIONS[runtime])}")
            found[Format(runtime, precision)] = None
    return list(found)


def check_writers(runtime: str) -> None:
    """ComflpError where a package is missing that writes what a runtime reads."""
    extra, packages = _WRITERS[runtime]
    for package in packages:
        needed(package, f"export for {runtime}", extra)


def check_reader(model: LayeredModel, runtime: str) -> None:
    """ComflpError where the package is missing that an export of a model is checked with."""
    if runtime in _READERS and (runtime, reads(model)) != ("onnx", "waveforms"):
        needed(_READERS[runtime], f"checking an export for {runtime}", "runtimes")


def reads(model: LayeredModel) -> str:
    """What a model's first module reads: ``waveforms``, ``log-mel features`` or, where every utterance is padded to one, ``a window``."""
    if model.window is not None:
        return "a window"
    split = getattr(model, "split", None)
    return "waveforms" if split is None or split.family.feature_frames is None else "log-mel features"


def refuse(model: LayeredModel, form: Format) -> None:
    """ComflpError, naming family and format, where a model cannot have a format."""
    reason = _reason(model, form)
    if reason is not None:
        raise ComflpError(f"a {model.family} model cannot be exported as {form.name}: {reason}")


def _reason(model: LayeredModel, form: Format) -> str | None:
    kind = reads(model)
    if model.library_name == "speechbrain":
        return "SpeechBrain models are exported in no format yet; SpeechBrain reads the model directory as it is"
    if form.runtime == "torch":
        return None
    if form.runtime == "ctranslate2" and kind != "a window":
        return "CTranslate2 reads encoder-decoder models such as Whisper"
    if model.teacher_forced and len(model.stacks) == 1:
        return "no graph of a transducer is written yet; transformers reads the model directory as it is"
    if model.teacher_forced and kind != "a window":
        return "of encoder-decoder models these runtimes read Whisper; transformers reads the model directory as it is"
    if kind == "a window":
        if form.precision not in ("float32", "int8"):
            return "encoder-decoder models are exported in float32 and int8"
        if form.runtime != "sherpa-onnx" and model.window != WINDOW_SECONDS:
            return (f"what reads it gives windows of {WINDOW_SECONDS} s, and this model has one of {model.window:g} s; take sherpa-onnx or torch, "
                    "or the model before its window was shortened")
        if form.runtime == "onnx" and model.task == "translate":
            return "onnx-asr has every Whisper transcribe, and this one translates; take sherpa-onnx, ctranslate2 or torch"
        return None
    if kind == "log-mel features":
        if model.family != "parakeet_ctc":
            return "neither onnx-asr nor sherpa-onnx computes the features that it reads; torch keeps the library's own"
        return "calibration needs waveforms, and this graph reads features; take int8" if form.precision == "int8_static" else None
    if form.runtime == "sherpa-onnx":
        if SHERPA_RATE % model.sample_rate:
            return f"sherpa-onnx gives {SHERPA_RATE} Hz, of which the model's {model.sample_rate} Hz are no whole fraction"
        if not _scale_free(model):
            return ("sherpa-onnx scales waveforms to unit variance, and this model's feature extractor leaves them as they are "
                    "(do_normalize: false)")
    return None


def _scale_free(model: LayeredModel) -> bool:
    """Whether a waveform at another loudness gives the model the same input."""
    processor = getattr(model, "processor", None)
    return processor is None or bool(processor.feature_extractor.do_normalize)
