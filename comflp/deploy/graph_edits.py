"""Edits of ONNX graphs: metadata, and the one waveform that sherpa-onnx gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import numpy as np
from scipy.signal import firwin

from comflp.deploy.formats import SHERPA_RATE
from comflp.deploy.onnx_files import save

_TAPS_A_SIDE = 32
_PASSED = 0.95
"""Share of the frequencies below half the model's rate that its low-pass filter lets through."""


def set_metadata(path: Path, entries: Mapping[str, Any]) -> None:
    """Add metadata entries to an ONNX file; those of the same name are replaced."""
    import onnx

    model = onnx.load(str(path))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**kept, **{key: str(value) for key, value in entries.items()}})
    save(model, path)


def for_one_waveform(path: Path, sample_rate: int) -> None:
    """Give a graph of ``waveforms`` and ``num_samples`` the one input of sherpa-onnx: a waveform (1, samples) at 16 kHz.

    All of the waveform is audio, so its length is ``num_samples``; ``num_frames`` goes. sample_rate: what the model takes.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    before, constants = [], []
    if SHERPA_RATE != sample_rate:
        before, constants = _resampling(SHERPA_RATE // sample_rate)
        _rename_input(graph, "waveforms", "at_model_rate")
    if any(value.name == "num_samples" for value in graph.input):
        heard = "waveforms" if SHERPA_RATE == sample_rate else "at_model_rate"
        before += [helper.make_node("Shape", [heard], ["heard_shape"]),
                   helper.make_node("Gather", ["heard_shape", "second_axis"], ["num_samples"], axis=0)]
        constants.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "second_axis"))
    nodes = [*before, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.input.append(helper.make_tensor_value_info("waveforms", onnx.TensorProto.FLOAT, [1, "samples"]))
    logits = next(value for value in graph.output if value.name == "logits")
    del graph.output[:]
    graph.output.append(logits)
    save(model, path)


def merge_branches(first: Path, following: Path, path: Path) -> None:
    """Write one decoder of two that share their weights: ``following`` where ``use_cache_branch`` is true, else ``first``.

    first: graph without past keys and values. following: with them. Outputs are those of ``first``; what ``following``
    does not make (keys and values of the attention to the encoder) is empty in its branch, and the runtime keeps its own.
    """
    import onnx
    from onnx import helper

    shared: dict[bytes, str] = {}
    weights: list[Any] = []
    graphs = {"without_": onnx.load(str(first)), "with_": onnx.load(str(following))}
    outputs = [value.name for value in graphs["without_"].graph.output]
    branches = {}
    for prefix, model in graphs.items():
        graph = model.graph
        names = {value.name: value.name for value in graph.input}
        for weight in graph.initializer:
            key = helper.tensor_dtype_to_string(weight.data_type).encode() + repr(list(weight.dims)).encode() + _bytes(weight)
            if key not in shared:
                shared[key] = prefix + weight.name
                weights.append(_named(weight, prefix + weight.name))
            names[weight.name] = shared[key]
        made = {value.name for value in graph.output}
        _rename(graph, names, prefix)
        nodes = list(graph.node)
        results = []
        for value in graphs["without_"].graph.output if prefix == "with_" else graph.output:
            name = value.name.removeprefix("without_")
            if name not in made:
                shape = [0 if index == 0 else dimension.dim_value or 1 for index, dimension in enumerate(value.type.tensor_type.shape.dim)]
                nodes.append(helper.make_node("Constant", [], [prefix + name], value=helper.make_tensor(prefix + name, 1, shape, [])))
            results.append(helper.make_tensor_value_info(prefix + name, value.type.tensor_type.elem_type, None))
        branches[prefix] = helper.make_graph(nodes, prefix.strip("_"), [], results)
    choose = helper.make_node("If", ["use_cache_branch"], outputs, then_branch=branches["with_"], else_branch=branches["without_"])
    inputs = {value.name: value for model in reversed(graphs.values()) for value in model.graph.input}
    for name, value in inputs.items():  # runtimes give the first pass empty ones
        if name.startswith("past_key_values."):
            for axis, size in ((0, "past_batch"), (2, f"past_{name.split('.')[2]}_length")):
                value.type.tensor_type.shape.dim[axis].dim_param = size
    flag = helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    results = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
    graph = helper.make_graph([choose], "decoder", [*inputs.values(), flag], results, initializer=weights)
    save(helper.make_model(graph, opset_imports=graphs["with_"].opset_import, ir_version=graphs["with_"].ir_version), path)


def _rename(graph: Any, names: Mapping[str, str], prefix: str) -> None:
    """Prefix all that a graph's nodes make, and read what is given to them under the names that it has outside."""
    for node in graph.node:
        node.name = prefix + node.name
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                if name:
                    field[index] = names.get(name, prefix + name)
    for value in graph.output:
        value.name = names.get(value.name, prefix + value.name)


def _bytes(weight: Any) -> bytes:
    from onnx import numpy_helper

    return numpy_helper.to_array(weight).tobytes()


def _named(weight: Any, name: str) -> Any:
    weight.name = name
    return weight


def _rename_input(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _resampling(factor: int) -> tuple[list[Any], list[Any]]:
    """Nodes and constants that keep every ``factor``-th sample of ``waveforms`` after a low-pass filter."""
    from onnx import helper, numpy_helper

    half = _TAPS_A_SIDE * factor
    taps = firwin(2 * half + 1, _PASSED / factor).astype(np.float32)
    constants = [numpy_helper.from_array(taps[None, None], "low_pass"), numpy_helper.from_array(np.array([1], dtype=np.int64), "channel_axis")]
    nodes = [
        helper.make_node("Unsqueeze", ["waveforms", "channel_axis"], ["one_channel"]),
        helper.make_node("Conv", ["one_channel", "low_pass"], ["filtered"], strides=[factor], pads=[half, half]),
        helper.make_node("Squeeze", ["filtered", "channel_axis"], ["at_model_rate"]),
    ]
    return nodes, constants
