"""ONNX files with smaller weights: float16, int8, and blocks of 4 bits, by onnxruntime's own tools."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from comflp.artifacts import atomic_directory, read_json, write_json
from comflp.deploy.description import DESCRIPTION, NOT_OF_THE_EXPORT, unchecked
from comflp.deploy.graph_edits import set_metadata
from comflp.deploy.onnx_files import DATA_ENDING, save
from comflp.deploy.quiet import needed, quiet
from comflp.errors import ComflpError

_BLOCK = 32
_PRODUCTS = ("MatMul", "Gemm")
_IN_FLOAT32 = ("DFT", "STFT", "MelWeightMatrix", "Log", "ReduceMean", "ReduceSum", "ReduceMax", "Pow", "Sqrt", "LayerNormalization")
"""Operations that float16 has too narrow a range for: features over many decades, means and norms."""


def convert(
    source: Path, directory: Path, name: str, precision: str, calibration: Sequence[Mapping[str, np.ndarray]] = (), force: bool = False
) -> None:
    """Write the export in ``source`` (float32) with smaller weights.

    name: what the format that this makes is called. precision: ``float16``, ``int8`` (activations quantised on the fly),
    ``int8_static`` (activations by ranges that ``calibration`` has) or ``int4`` (blocks of 32 weights, a scale each).
    calibration: inputs of the graph. The files beside the graphs are copied. force: as :func:`comflp.artifacts.atomic_directory` takes it.

    Raises ComflpError where a static quantisation has no calibration.
    """
    onnx = needed("onnx", "export")
    about = unchecked(read_json(source / DESCRIPTION))
    with atomic_directory(directory, force=force) as temporary, quiet():
        for path in source.rglob("*"):
            if not path.is_file() or path.name in (DESCRIPTION, *NOT_OF_THE_EXPORT) or path.name.endswith(DATA_ENDING):
                continue
            target = temporary / path.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            if path.suffix != ".onnx":
                shutil.copyfile(path, target)
                continue
            _CONVERSIONS[precision](path, target, calibration)
            kept = {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}
            set_metadata(target, kept)
        write_json(temporary / DESCRIPTION, {**about, "format": name})


def _linear(path: Path) -> list[str]:
    """Names of the nodes that are linear layers.

    Mel filters are a matrix product too, but of powers over many decades, which int8 cannot hold.
    """
    import onnx

    return [node.name for node in _nodes(onnx.load(str(path), load_external_data=False).graph)
            if node.op_type in _PRODUCTS and any("aten.linear" in entry.value for entry in node.metadata_props)]


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes of a graph, those of its branches included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


# reduce_range: weights of 7 bits, since processors without VNNI add pairs of products in 16 bits, which 8 bits of both sides overflow:
# whisper-base repeated itself for ever.
_INT8 = {"per_channel": True, "reduce_range": True}


def _int8(source: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source, target, weight_type=QuantType.QInt8, op_types_to_quantize=list(_PRODUCTS), nodes_to_quantize=_linear(source),
        use_external_data_format=_is_large(source), extra_options={"DefaultTensorType": 1, "EnableSubgraph": True}, **_INT8,
    )


def _int8_static(source: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    if not calibration:
        raise ComflpError("int8_static needs speech to calibrate on, such as data/probe")

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self.left, None)

    quantize_static(
        source, target, Reader(), quant_format=QuantFormat.QDQ, weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8, op_types_to_quantize=list(_PRODUCTS), nodes_to_quantize=_linear(source),
        use_external_data_format=_is_large(source), extra_options={"DefaultTensorType": 1}, **_INT8,
    )


def _int4(source: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    wanted = _linear(source)
    quantizer = MatMulNBitsQuantizer(onnx.load(str(source)), bits=4, block_size=_BLOCK, is_symmetric=True, accuracy_level=4,
                                     nodes_to_include=wanted)
    quantizer.process()
    save(quantizer.model.model, target)


def _float16(source: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    graph = onnx.load(str(source))
    kept = [*DEFAULT_OP_BLOCK_LIST, *_IN_FLOAT32, "Cast", "Div", "Floor"]
    made = OnnxModel(convert_float_to_float16(graph, keep_io_types=True, op_block_list=kept))
    narrowed = {node.output[0]: node.input[0] for node in made.model.graph.node
                if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT16}
    for node in made.model.graph.node:  # what is float32 on both sides of a node never passes through float16
        if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT and node.input[0] in narrowed:
            made.replace_input_of_all_nodes(node.output[0], narrowed[node.input[0]])
    made.prune_graph()
    made.topological_sort()
    save(made.model, target)


_CONVERSIONS = {"int8": _int8, "int8_static": _int8_static, "int4": _int4, "float16": _float16}


def _is_large(path: Path) -> bool:
    return path.with_name(path.name + DATA_ENDING).exists()
