"""CTC models as ONNX, with what onnxruntime, onnx-asr and sherpa-onnx read beside the graph.

Models that read waveforms: ``model.onnx`` takes ``waveforms`` (B, samples) and ``num_samples`` (B,) and gives ``logits``
(B, frames, V) and ``num_frames`` (B,). Families whose parts read the padding beside an utterance take one utterance
at a time: ``waveforms`` (1, samples) to ``logits``. For sherpa-onnx (its type "omnilingual") the graph takes one waveform
at 16 kHz, and resamples it where the model's rate is another.

Models that read NeMo's log-mel features (Parakeet): ``audio_signal`` (B, bins, frames) and ``length`` (B,) to
``logprobs`` (B, frames, V), which onnx-asr and sherpa-onnx ("nemo_ctc") compute the features for.

``tokens.txt`` and ``vocab.txt`` have a line ``text number`` for each label.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from comflp.artifacts import atomic_directory, read_json, write_json, write_text
from comflp.data.batching import AudioBatch
from comflp.deploy.ctc_graphs import Features, OneWaveform, Waveforms, only_text, takes_batches
from comflp.deploy.description import DESCRIPTION, describe, files_of, labels, unchecked
from comflp.deploy.formats import reads
from comflp.deploy.graph_edits import for_one_waveform, set_metadata
from comflp.deploy.onnx_files import ANY, ONNX_FILE, export_graph, refuse_unless_same
from comflp.models.finite import not_finite
from comflp.models.layered import LayeredModel

_EXAMPLE_SECONDS = (2.0, 1.4)
_COMPARED_SECONDS = (3.17, 1.3)


@dataclass(frozen=True)
class _Graph:
    """A module to trace: its example arguments, its axes of any length, and the names of what goes in and out."""

    module: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    dynamic: dict[str, dict[int, Any]]
    inputs: list[str]
    outputs: list[str]


def write_ctc(model: LayeredModel, directory: Path, force: bool = False) -> None:
    """Write the float32 form of a CTC model for onnxruntime; what sherpa-onnx reads is made of it (:func:`for_sherpa`).

    The graph is run on noise of several lengths and compared with the model. force: as :func:`comflp.artifacts.atomic_directory` takes it.

    Raises ComflpError where PyTorch cannot turn the model into a graph, where the graph does not compute the same, or where a
    package is missing.
    """
    texts = labels(model)
    if reads(model) == "waveforms":
        _alone(model)
    graph = _features(model) if reads(model) == "log-mel features" else _waveforms(model)
    with atomic_directory(directory, force=force) as temporary:
        export_graph(model.family, graph.module, graph.example, graph.dynamic, temporary / ONNX_FILE, graph.inputs, graph.outputs)
        _compare(model, graph, temporary / ONNX_FILE)
        table = "".join(f"{text} {label}\n" for label, text in enumerate(texts))
        write_text(temporary / "tokens.txt", table)
        more: dict[str, Any] = {"reads": reads(model), "batch": len(graph.inputs) > 1}
        if reads(model) == "log-mel features":
            write_text(temporary / "vocab.txt", table)
            more |= _nemo(model, temporary)
        model.tokenizer.save(temporary)
        write_json(temporary / DESCRIPTION, describe(model, "onnx", **more))


def for_sherpa(source: Path, directory: Path, force: bool = False) -> None:
    """Write what sherpa-onnx reads, in float32, of what :func:`write_ctc` wrote; force: as it takes it."""
    about = unchecked(read_json(source / DESCRIPTION))
    with atomic_directory(directory, force=force) as temporary:
        for path in files_of(source):
            if path.name != DESCRIPTION:
                shutil.copyfile(path, temporary / path.name)
        if about["reads"] == "waveforms":
            for_one_waveform(temporary / ONNX_FILE, about["sample_rate"])
            set_metadata(temporary / ONNX_FILE, {"model_type": "omnilingual-asr", "sample_rate": about["sample_rate"]})
            about["sherpa_type"] = "omnilingual_asr_ctc"
        write_json(temporary / DESCRIPTION, {**about, "format": "sherpa-onnx", "batch": False})


def _nemo(model: LayeredModel, directory: Path) -> dict[str, Any]:
    """Write what onnx-asr and sherpa-onnx ask of a NeMo model; what export.json says of it."""
    extractor = model.processor.feature_extractor
    step = model.model.config.encoder_config.subsampling_factor
    write_json(directory / "config.json", {"model_type": "nemo-conformer-ctc", "features_size": extractor.feature_size,
                                           "subsampling_factor": step})
    set_metadata(directory / ONNX_FILE, {
        "model_type": "EncDecCTCModelBPE", "vocab_size": model.tokenizer.vocab_size - 1, "subsampling_factor": step,
        "normalize_type": "per_feature", "is_giga_am": 0, "sample_rate": model.sample_rate,
    })
    return {"sherpa_type": "nemo_ctc", "num_features": extractor.feature_size}


def _waveforms(model: LayeredModel) -> _Graph:
    waveforms, lengths = _noise(model, _EXAMPLE_SECONDS)
    if not takes_batches(model):
        return _Graph(OneWaveform(model), (waveforms[:1],), {"waveforms": {1: ANY}}, ["waveforms"], ["logits"])
    return _Graph(Waveforms(model), (waveforms, lengths), {"waveforms": {0: ANY, 1: ANY}, "num_samples": {0: ANY}},
                  ["waveforms", "num_samples"], ["logits", "num_frames"])


def _features(model: LayeredModel) -> _Graph:
    bins = model.processor.feature_extractor.feature_size
    example = (torch.randn(2, bins, 200, generator=torch.Generator().manual_seed(0)), torch.tensor([200, 140]))
    return _Graph(Features(model), example, {"audio_signal": {0: ANY, 2: ANY}, "length": {0: ANY}},
                  ["audio_signal", "length"], ["logprobs"])


def _noise(model: LayeredModel, seconds: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, samples) noise of some lengths, the longest first, and (B,) samples."""
    lengths = torch.tensor([int(second * model.sample_rate) for second in seconds])
    waveforms = torch.zeros(len(lengths), int(lengths[0])).uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))
    for row, length in zip(waveforms, lengths.tolist()):
        row[length:] = 0
    return waveforms, lengths


def _compare(model: LayeredModel, graph: _Graph, path: Path) -> None:
    """ComflpError unless the graph gives the model's rows, on lengths other than those it was traced with."""
    if reads(model) == "log-mel features":
        arguments = (torch.randn(2, graph.example[0].shape[1], 316, generator=torch.Generator().manual_seed(1)), torch.tensor([316, 130]))
        with torch.no_grad():
            expected = graph.module(*arguments)
        frames = model.split.layer_frames(arguments[1]).tolist()
        refuse_unless_same(model.family, path, dict(zip(graph.inputs, arguments)), expected, frames)
        return
    waveforms, lengths = _noise(model, _COMPARED_SECONDS)
    alone = [only_text(model, row) for row in _alone(model)]
    expected = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True)
    if len(graph.inputs) > 1:
        refuse_unless_same(model.family, path, {"waveforms": waveforms, "num_samples": lengths}, expected, [len(row) for row in alone])
        return
    for row, length, rows in zip(waveforms, lengths, alone):
        refuse_unless_same(model.family, path, {"waveforms": row[None, :length]}, rows[None], [len(rows)])


def _alone(model: LayeredModel) -> list[torch.Tensor]:
    """The model's own logits (frames, V) of each of the utterances that graphs are compared on, one at a time.

    Raises ComflpError where they are not finite.
    """
    waveforms, lengths = _noise(model, _COMPARED_SECONDS)
    with torch.no_grad():
        rows = [model(AudioBatch((), row[None, :length], length[None])).logits[0] for row, length in zip(waveforms, lengths)]
    if not all(torch.isfinite(row).all() for row in rows):
        raise not_finite("the output of the model that is exported", waveform=waveforms)
    return rows
