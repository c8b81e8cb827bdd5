"""Models in the forms that devices run: ONNX, and int8 weights of both ONNX and PyTorch.

Every form is a whole directory: weights, tokenizer, and ``export.json``, which
says what it is. :func:`comflp.deploy.recognition.load` reads all of them.

* ``onnx``: one graph from a waveform ``(1, samples)`` to logits ``(1, frames, V)``,
  the front end with its features included, of any length; one utterance at a time.
* ``onnx_int8``: the same with the weights of linear layers as int8, a scale a
  column, activations quantised on the fly (onnxruntime's dynamic quantisation).
* ``torch_int8``: a model directory whose Linear weights are int8, a scale a row
  (PyTorch's dynamic quantisation). Projections inside torch.nn.MultiheadAttention
  are no Linear layers and stay float.

onnx, onnxscript and onnxruntime are needed: ``pip install comflp[export]``.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import shutil
import warnings
from pathlib import Path
from typing import Iterator

import safetensors.torch
import torch

from comflp.artifacts import atomic_directory, read_json, write_json
from comflp.data.batching import AudioBatch
from comflp.errors import ComflpError
from comflp.models.finite import not_finite
from comflp.inference.measure_costs import unfused_attention
from comflp.models.transformers.processor import ProcessorTokenizer
from comflp.models.layered import LayeredModel
from comflp.models.own.tokenizer import SentencePieceTokenizer

FORMATS = ("onnx", "onnx_int8", "torch_int8")
WEIGHTS = "model.safetensors"
ONNX_FILE = "model.onnx"
DESCRIPTION = "export.json"
INT8_SCALE = ".int8_scale"
"""Ending of the tensor that holds the scales of an int8 weight, one a row."""

_EXAMPLE_SECONDS = 2.0
_COMPARED_SECONDS = (1.3, 3.17)
_MAX_SECONDS = 600.0
_LARGEST = 127
_KEYS = ("sample_rate", "samples_per_frame", "minimum_samples", "tokenizer", "tokenizer_files", "vocab_size", "num_layers",
         "num_parameters", "origin")
"""What export.json says of the model itself, whatever the format."""

_TOKENIZERS = {SentencePieceTokenizer: "sentencepiece", ProcessorTokenizer: "processor"}


def write_format(name: str, model: LayeredModel, out: Path) -> None:
    """Write ``out/<name>``, one of ``FORMATS``; int8 ONNX is made from ONNX, which is made for it where it is not there."""
    if name == "torch_int8":
        save_int8(model, out / name)
        return
    plain = out / "onnx"
    if name == "onnx" or not (plain / ONNX_FILE).exists():
        export_onnx(model, plain)
    if name == "onnx_int8":
        quantize_onnx(plain, out / name)


def export_onnx(model: LayeredModel, directory: str | Path) -> None:
    """Write ``model.onnx`` of a model in evaluation mode, with its tokenizer.

    The graph is run on noise of several lengths and compared with the model. Raises ComflpError where PyTorch cannot turn
    the model into a graph, where the graph does not compute the same, or where a package is missing.
    """
    _require("onnx", "onnxscript", "onnxruntime")
    example = _noise(int(_EXAMPLE_SECONDS * model.sample_rate))
    shortest, longest = minimum_samples(model), int(_MAX_SECONDS * model.sample_rate)
    samples = torch.export.Dim("samples", min=shortest, max=longest)
    with atomic_directory(directory) as temporary:
        try:
            with torch.no_grad(), _quiet(), unfused_attention():
                torch.onnx.export(
                    _OneUtterance(model).eval(), (example,), temporary / ONNX_FILE, dynamo=True, external_data=False,
                    input_names=["waveform"], output_names=["logits"], dynamic_shapes={"waveform": {1: samples}},
                    verbose=False,
                )
        except Exception as error:  # the exporter raises whatever its parts raise
            reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
            raise ComflpError(f"PyTorch cannot export this {model.family} model to ONNX: {reason}") from error
        _compare(model, temporary / ONNX_FILE)
        model.tokenizer.save(temporary)
        files = sorted(path.name for path in temporary.iterdir() if path.name != ONNX_FILE)
        write_json(temporary / DESCRIPTION, {**_description(model, "onnx"), "tokenizer_files": files})


def quantize_onnx(source: str | Path, directory: str | Path) -> None:
    """Write the int8 form of a directory that :func:`export_onnx` wrote."""
    _require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Mel filters are a matrix product too, but of powers over many decades, which int8 cannot hold.
    linear = [node.name for node in onnx.load(Path(source) / ONNX_FILE).graph.node
              if any("aten.linear" in entry.value for entry in node.metadata_props)]
    with atomic_directory(directory) as temporary, _quiet():
        quantize_dynamic(
            Path(source) / ONNX_FILE, temporary / ONNX_FILE, per_channel=True, weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"], nodes_to_quantize=linear, extra_options={"DefaultTensorType": 1},
        )
        about = read_json(Path(source) / DESCRIPTION)
        for file in about["tokenizer_files"]:
            if Path(file).name != file:
                raise ComflpError(f"{Path(source) / DESCRIPTION} names the file {file!r}, which is not in the directory itself")
            shutil.copyfile(Path(source) / file, temporary / file)
        kept = {key: about[key] for key in about if key in _KEYS}
        write_json(temporary / DESCRIPTION, {**kept, "format": "onnx_int8"})


def quantized(model: LayeredModel) -> LayeredModel:
    """A copy of ``model`` whose Linear layers hold int8 weights; for the CPU, evaluation only.

    Weights go to the nearest of the 255 multiples of a row's largest value / 127. To quantise the result's float
    values again changes nothing, so that saving and loading keeps every weight.
    """
    from torch.ao.quantization import PerChannelMinMaxObserver, PlaceholderObserver, QConfig, quantize_dynamic

    weight = PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-_LARGEST, quant_max=_LARGEST
    )
    activation = PlaceholderObserver.with_args(dtype=torch.quint8, is_dynamic=True)
    with _quiet():
        made = quantize_dynamic(
            copy.deepcopy(model).cpu().eval(), {torch.nn.Linear: QConfig(activation=activation, weight=weight)}, inplace=True
        )
    for module in made.modules():
        if isinstance(module, torch.nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # its fused kernel reads float weights; this sends it the plain way
    return made


def save_int8(model: LayeredModel, directory: str | Path) -> None:
    """Write ``model`` (in float) as a directory whose Linear weights take one byte each.

    Raises ComflpError for models whose weights do not lie in one model.safetensors.
    """
    names = {f"{name}.weight" for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    names |= {name.partition(".")[2] for name in names if name.startswith("model.")}  # transformers saves without it
    with atomic_directory(directory) as temporary:
        model.save(temporary)
        if not (temporary / WEIGHTS).exists():
            raise ComflpError(f"int8 is not supported for a {model.family} model: its directory has no {WEIGHTS}")
        tensors = {}
        for name, tensor in safetensors.torch.load_file(temporary / WEIGHTS).items():
            if name in names:
                scales = tensor.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).eps) / _LARGEST
                tensors[name] = (tensor / scales[:, None]).round().to(torch.int8)
                tensors[name + INT8_SCALE] = scales
            else:
                tensors[name] = tensor
        safetensors.torch.save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        write_json(temporary / DESCRIPTION, _description(model, "torch_int8"))


def minimum_samples(model: LayeredModel) -> int:
    """The fewest samples that make two frames; shorter audio is padded with silence before it is recognised."""
    low, high = 1, model.sample_rate
    while low < high:
        middle = (low + high) // 2
        if int(model.num_frames(torch.tensor([middle]))) >= 2:
            high = middle
        else:
            low = middle + 1
    return low


def samples_per_frame(model: LayeredModel) -> int:
    """Samples from one frame of logits to the next.

    Raises ComflpError where frames are not a whole number of samples apart.
    """
    near, far = 20 * model.sample_rate, 60 * model.sample_rate
    frames = model.num_frames(torch.tensor([near, far]))
    step = (far - near) / int(frames[1] - frames[0])
    if step != int(step):
        step = round(step)
        if abs(int(frames[1] - frames[0]) * step - (far - near)) > 2 * step:
            raise ComflpError(f"frames of this {model.family} model are no whole number of samples apart")
    return int(step)


class _OneUtterance(torch.nn.Module):
    """A model as a function of one waveform (1, samples), all of it audio."""

    def __init__(self, model: LayeredModel):
        super().__init__()
        self.model = model

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        num_samples = torch.full((1,), waveform.shape[1], dtype=torch.int64)
        return self.model(AudioBatch((), waveform, num_samples)).logits


def _noise(num_samples: int) -> torch.Tensor:
    return torch.zeros(1, num_samples).uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))


def _compare(model: LayeredModel, path: Path) -> None:
    """ComflpError unless the graph gives the model's logits, on lengths other than the one it was traced with."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    fault = None
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for seconds in _COMPARED_SECONDS:
            waveform = _noise(int(seconds * model.sample_rate))
            with torch.no_grad():
                expected = _OneUtterance(model).eval()(waveform)
            if not torch.isfinite(expected).all():
                raise not_finite("the output of the model that is exported", waveform=waveform)
            found = torch.from_numpy(session.run(None, {"waveform": waveform.numpy()})[0])
            if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
                fault = f"its logits differ for audio of {seconds} s"
                break
    except ComflpError:
        raise
    except Exception as error:  # onnxruntime's errors have no common base
        fault = str(error).strip().splitlines()[0]
    if fault:
        raise ComflpError(f"the ONNX graph of this {model.family} model does not compute what the model does ({fault}); "
                          f"PyTorch cannot export models of this family for audio of any length")


def _description(model: LayeredModel, form: str) -> dict:
    kind = _TOKENIZERS.get(type(model.tokenizer))
    if kind is None and form != "torch_int8":
        raise ComflpError(f"ONNX export does not support a {type(model.tokenizer).__name__}")
    return {
        "format": form,
        "sample_rate": model.sample_rate,
        "samples_per_frame": samples_per_frame(model),
        "minimum_samples": minimum_samples(model),
        "tokenizer": kind,
        "vocab_size": model.tokenizer.vocab_size,
        "num_layers": model.num_layers,
        "num_parameters": model.num_parameters,
        "origin": model.origin,
    }


def _require(*packages: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ImportError:
            raise ComflpError(f"export needs the package {package}; pip install 'comflp[export]' brings it") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters tell their progress on the terminal and warn of their own deprecations; what matters is raised."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
