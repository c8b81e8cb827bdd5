"""int8 weights for PyTorch: a model directory whose Linear weights take one byte each.

A scale a row, activations quantised on the fly (PyTorch's dynamic quantisation). Projections inside
torch.nn.MultiheadAttention are no Linear layers and stay float, and so do those that attention of another kind reads the weights of
(:func:`int8_layers`).
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, Iterable

import safetensors.torch
import torch

import comflp.models
from comflp.deploy.description import DESCRIPTION, describe
from comflp.deploy.quiet import quiet
from comflp.artifacts import atomic_directory, read_json, write_json
from comflp.errors import ComflpError
from comflp.inference.device import evaluation
from comflp.inference.measure_costs import unfused_attention
from comflp.models.layered import LayeredModel
from comflp.models.transformers.logging import one_line
from comflp.models.verify import noise_batch

WEIGHTS = "model.safetensors"
INT8_SCALE = ".int8_scale"
"""Ending of the tensor that holds the scales of an int8 weight, one a row."""

_LARGEST = 127


def int8_layers(model: LayeredModel) -> frozenset[str]:
    """Names of the Linear layers that may hold int8 weights: those whose weight and bias are read by their own forward pass alone.

    An int8 layer has methods in the place of both. Who reads them is seen on a second of noise.
    """
    names = {module: name for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    read = set()

    class Watched(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(hidden, self._parameters["weight"], self._parameters["bias"])

        def __getattr__(self, name: str) -> Any:
            if name in ("weight", "bias"):
                read.add(self)
            return super().__getattr__(name)

    try:
        for module in names:
            module.__class__ = Watched
        with unfused_attention():
            _recognise_noise(model)
    finally:
        for module in names:
            module.__class__ = torch.nn.Linear
    return frozenset(name for module, name in names.items() if module not in read)


def _recognise_noise(model: LayeredModel) -> None:
    """Recognise a second of noise; a decoder writes a few tokens."""
    batch = noise_batch(model.sample_rate, (1.0,))
    if model.teacher_forced:
        batch = batch.with_targets(model.example_targets(1))
    with evaluation(model):
        model.spell(model.recognition_state(batch.to(model.device)))


def quantized(model: LayeredModel, layers: Iterable[str] | None = None) -> LayeredModel:
    """A copy of ``model`` whose Linear layers hold int8 weights where they may; for the CPU, evaluation only.

    layers: the names of these, which :func:`int8_layers` finds where they are left out.
    Weights go to the nearest of the 255 multiples of a row's largest value / 127. To quantise the result's float
    values again changes nothing, so that saving and loading keeps every weight.
    """
    from torch.ao.quantization import PerChannelMinMaxObserver, PlaceholderObserver, QConfig, quantize_dynamic

    weight = PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-_LARGEST, quant_max=_LARGEST
    )
    activation = PlaceholderObserver.with_args(dtype=torch.quint8, is_dynamic=True)
    made = copy.deepcopy(model).cpu().eval()
    with quiet():
        names = int8_layers(made) if layers is None else layers
        quantize_dynamic(made, dict.fromkeys(names, QConfig(activation=activation, weight=weight)), inplace=True)
    for module in made.modules():
        if isinstance(module, torch.nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # its fused kernel reads float weights; this sends it the plain way
    return made


def save_int8(model: LayeredModel, directory: str | Path, force: bool = False) -> None:
    """Write ``model`` (in float) as a directory whose Linear weights take one byte each. It is loaded, and recognises noise, before it is there.

    force: as :func:`comflp.artifacts.atomic_directory` takes it.
    Raises ComflpError for models whose weights do not lie in one model.safetensors, and for those that do not run with int8 weights.
    """
    layers = int8_layers(model)
    names = {f"{name}.weight" for name in layers}
    names |= {name.partition(".")[2] for name in names if name.startswith("model.")}  # transformers saves without it
    with atomic_directory(directory, force=force) as temporary:
        model.save(temporary)
        (temporary / "README.md").unlink(missing_ok=True)  # which says how the float directory is loaded
        if not (temporary / WEIGHTS).exists():
            raise ComflpError(f"int8 is not supported for a {model.family} model: its directory has no {WEIGHTS}")
        tensors = {}
        for name, tensor in safetensors.torch.load_file(temporary / WEIGHTS).items():
            if name in names:
                tensor = tensor.float()
                scales = tensor.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).eps) / _LARGEST
                tensors[name] = (tensor / scales[:, None]).round().to(torch.int8)
                tensors[name + INT8_SCALE] = scales
            else:
                tensors[name] = tensor
        safetensors.torch.save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        write_json(temporary / DESCRIPTION, describe(model, "torch_int8", int8_layers=sorted(layers)))
        _refuse_unless_it_runs(model.family, temporary)


def _refuse_unless_it_runs(family: str, directory: Path) -> None:
    try:
        _recognise_noise(load_int8(directory))
    except Exception as error:  # whatever a library does with a weight that is none
        raise ComflpError(f"a {family} model cannot be exported as torch_int8: with int8 weights it does not run ({one_line(error)}); take it as "
                          "it is, or export it for another runtime") from error


def load_int8(directory: Path) -> LayeredModel:
    """The model of a directory that :func:`save_int8` wrote.

    The weights are expanded into a float directory for the family's own loader, and what it gives is quantised.
    """
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
        return quantized(comflp.models.load(temporary), read_json(directory / DESCRIPTION).get("int8_layers"))
