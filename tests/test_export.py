"""Exports recognise what the model does: ONNX of any length, int8 of both, and families that cannot be exported say so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import comflp.models
from comflp.deploy import export, recognition
from comflp.artifacts import read_json
from comflp.data.audio import read_audio
from comflp.errors import ComflpError
from comflp.report.collect import Experiment, Model
from comflp.report.document import Table
from comflp.report.sections import deployment

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

LOCAL = Path(__file__).resolve().parents[1] / "local"


def waveforms(data, rate):
    return [read_audio(utterance, rate) for utterance in data]


@pytest.fixture
def model(make_model):
    return make_model(num_layers=3)


def test_onnx_gives_the_models_logits_and_texts_for_any_length(model, make_data, tmp_path):
    data = make_data(6)
    export.export_onnx(model, tmp_path / "onnx")
    recognizer, own = recognition.load(tmp_path / "onnx"), recognition.of_model(model)
    assert (recognizer.format, recognizer.num_layers, recognizer.num_parameters) == ("onnx", 3, model.num_parameters)
    for waveform in waveforms(data, model.sample_rate):
        expected, found = own.logits(waveform), recognizer.logits(waveform)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert recognizer.text(waveform) == own.text(waveform)

    export.quantize_onnx(tmp_path / "onnx", tmp_path / "int8")
    small = recognition.load(tmp_path / "int8", num_threads=1)
    assert small.format == "onnx_int8"
    assert (tmp_path / "int8" / "model.onnx").stat().st_size < (tmp_path / "onnx" / "model.onnx").stat().st_size
    assert_close_in_direction(small.logits(waveform), own.logits(waveform))


def assert_close_in_direction(found, expected):
    """int8 logits lean the same way as the float ones, frame by frame."""
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.98


def test_int8_directory_keeps_weights_within_half_a_step_and_loads_the_same(model, make_data, tmp_path):
    export.save_int8(model, tmp_path / "int8")
    stored = safetensors.torch.load_file(tmp_path / "int8" / "model.safetensors")
    name = "encoder_layers.1.linear1.weight"
    scales, weight = stored[name + export.INT8_SCALE], model.state_dict()[name]
    assert stored[name].dtype == torch.int8
    assert ((stored[name].float() * scales[:, None] - weight).abs() <= scales[:, None] / 2 + 1e-7).all()

    recognizer, at_once = recognition.load(tmp_path / "int8"), recognition.of_model(export.quantized(model), "torch_int8")
    assert (recognizer.format, recognizer.num_parameters) == ("torch_int8", model.num_parameters)
    waveform = waveforms(make_data(1), model.sample_rate)[0]
    torch.testing.assert_close(recognizer.logits(waveform), at_once.logits(waveform), rtol=1e-3, atol=1e-3)
    assert_close_in_direction(recognizer.logits(waveform), recognition.of_model(model).logits(waveform))


def test_the_model_itself_is_left_in_float(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export.quantized(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("seconds", [0.4, 1.0, 7.3])
def test_frames_are_counted_as_the_model_counts_them(model, seconds):
    samples = int(seconds * model.sample_rate)
    frames = recognition.of_model(model).logits(np.zeros(samples, dtype=np.float32)).shape[0]
    assert abs(frames - samples / export.samples_per_frame(model)) <= 1
    assert int(model.num_frames(torch.tensor([export.minimum_samples(model)]))) == 2
    assert int(model.num_frames(torch.tensor([export.minimum_samples(model) - 1]))) == 1


def test_a_family_that_cannot_be_exported_says_so(tmp_path):
    from fixtures.models import make_model as make_transformers_model

    model = comflp.models.load(make_transformers_model(tmp_path / "bert", "wav2vec2-bert", "ABC ", num_layers=1))
    with pytest.raises(ComflpError, match="cannot export this wav2vec2-bert model"):
        export.export_onnx(model, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_a_transformers_model_is_exported_with_its_tokenizer(tmp_path):
    from fixtures.models import make_model as make_transformers_model

    model = comflp.models.load(make_transformers_model(tmp_path / "w2v2", "wav2vec2", "ABC ", num_layers=1))
    export.export_onnx(model, tmp_path / "onnx")
    recognizer, own = recognition.load(tmp_path / "onnx"), recognition.of_model(model)
    waveform = np.random.default_rng(0).uniform(-0.1, 0.1, 20000).astype(np.float32)
    assert recognizer.text(waveform) == own.text(waveform) != ""


def test_damaged_exports_are_named(model, tmp_path):
    export.save_int8(model, tmp_path / "int8")
    description = read_json(tmp_path / "int8" / "export.json")
    (tmp_path / "int8" / "export.json").write_text(json.dumps({**description, "format": "onnx"}))
    with pytest.raises(ComflpError, match="model.onnx cannot be run"):
        recognition.load(tmp_path / "int8")
    (tmp_path / "int8" / "export.json").write_text("{}")
    with pytest.raises(ComflpError, match="export.json has no key 'format'"):
        recognition.load(tmp_path / "int8")


def test_the_script_exports_checks_and_knows_when_it_is_done(model, make_data, tmp_path):
    make_data(5)
    model.save(tmp_path / "model")
    command = [sys.executable, str(LOCAL / "export.py"), "--model", "model", "--data", "data"]

    def run():
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)

    first = run()
    assert first.returncode == 0, first.stderr
    for name in export.FORMATS:
        about = read_json(tmp_path / "model" / "export" / name / "export.json")
        assert (about["format"], about["num_utterances"]) == (name, 5)
        assert len((tmp_path / "model" / "export" / name / "hyp").read_text().splitlines()) == 5
    assert read_json(tmp_path / "model" / "export" / "onnx" / "export.json")["same_texts"] == 5
    found = {path.parent.name: read_json(path) for path in tmp_path.glob("model/export/*/export.json")}
    [table] = deployment.section(Experiment("small", Model("model", {}, 1.0, found)), "CER").every(Table)
    assert sorted(row[:2] for row in table.rows) == [("Deep model", kind) for kind in ("ONNX", "ONNX int8", "PyTorch int8")]
    assert "up to date" in run().stdout
    (tmp_path / "model" / "export" / "onnx_int8" / "model.onnx").write_bytes(b"")
    again = run()
    assert "onnx_int8" in again.stdout and "onnx:" not in again.stdout
