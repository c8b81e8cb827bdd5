"""Writing ONNX files: PyTorch's exporter, weights beside a graph that grows too large for one file, and a comparison."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Mapping, Sequence

import torch

from comflp.deploy.formats import check_writers
from comflp.deploy.quiet import needed, quiet
from comflp.errors import ComflpError
from comflp.inference.measure_costs import unfused_attention

ONNX_FILE = "model.onnx"
OPSET = 18
"""sherpa-onnx, onnx-asr and transformers.js run it."""
ANY = torch.export.Dim.DYNAMIC
"""An axis of any length; what the traced code asks of it bounds it."""
DATA_ENDING = ".data"
"""What follows the name of a graph in the name of the file that holds its weights, where one file would be too large."""
ONE_FILE_BYTES = 1_900_000_000
"""Weights up to this size lie in the graph's own file; protobuf reads no file above 2 GiB."""


def export_graph(
    family: str, module: torch.nn.Module, example: Sequence[torch.Tensor], dynamic: Mapping[str, Mapping[int, Any]] | None, path: Path,
    inputs: Sequence[str], outputs: Sequence[str],
) -> None:
    """Write ``module``, traced with ``example``, to ``path``.

    dynamic: argument -> axis -> :data:`ANY`. inputs, outputs: names in the graph. Raises ComflpError where PyTorch
    cannot export the module.
    """
    check_writers("onnx")
    size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    try:
        with torch.no_grad(), quiet(), unfused_attention():
            program = torch.export.export(module.eval(), tuple(example), dynamic_shapes=dynamic, strict=False)
            program.example_inputs = None  # with these PyTorch adds checks of the inputs' sizes, which ONNX has no place for
            torch.onnx.export(
                program, (), path, dynamo=True, external_data=size > ONE_FILE_BYTES, opset_version=OPSET,
                input_names=list(inputs), output_names=list(outputs), verbose=False,
            )
    except OSError:
        raise  # of the file, which is the caller's
    except Exception as error:  # the exporter raises whatever its parts raise
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise ComflpError(f"PyTorch cannot export this {family} model to ONNX: {reason}") from error


def save(graph: Any, path: Path) -> None:
    """Write an onnx ModelProto; weights above :data:`ONE_FILE_BYTES` go to a file beside it."""
    import onnx

    path.unlink(missing_ok=True)
    path.with_name(path.name + DATA_ENDING).unlink(missing_ok=True)
    onnx.save_model(graph, str(path), save_as_external_data=_weight_bytes(graph) > ONE_FILE_BYTES, location=path.name + DATA_ENDING)


def _weight_bytes(graph: Any) -> int:
    """Bytes of a ModelProto's weights; protobuf cannot tell the size of a whole message above 2 GiB."""
    return sum(len(weight.raw_data) or weight.ByteSize() for weight in graph.graph.initializer)


def session_options(onnxruntime: ModuleType, num_threads: int | None) -> Any:
    """SessionOptions of a session that says nothing. num_threads: threads for its matrix products; as many as cores where it is None."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    return options


def session(path: Path, num_threads: int | None = None) -> Any:
    """An onnxruntime session on the CPU. num_threads: as :func:`session_options` takes it.

    Raises ComflpError where the file cannot be run.
    """
    onnxruntime = needed("onnxruntime", f"{path} is an ONNX model; reading it")
    try:
        return onnxruntime.InferenceSession(str(path), session_options(onnxruntime, num_threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each kind of damage and no common base
        raise ComflpError(f"{path} cannot be run: {error}") from error


def refuse_unless_same(
    family: str, path: Path, inputs: Mapping[str, torch.Tensor], expected: torch.Tensor, rows: Sequence[int]
) -> None:
    """ComflpError unless the first output of a graph is ``expected`` (B, T, ...) on the first ``rows`` of each utterance."""
    try:
        found = torch.from_numpy(session(path).run(None, {name: value.numpy() for name, value in inputs.items()})[0])
    except ComflpError:
        raise
    except Exception as error:  # onnxruntime's errors have no common base
        fault = str(error).strip().splitlines()[0]
    else:
        same = all(len(ours) >= count and torch.allclose(ours[:count], theirs[:count], rtol=1e-3, atol=1e-3)
                   for ours, theirs, count in zip(found, expected, rows))
        fault = None if same else "its logits differ from the model's"
    if fault:
        raise ComflpError(f"the ONNX graph of this {family} model does not compute what the model does ({fault}); "
                          f"PyTorch cannot export models of this family for audio of any length")
