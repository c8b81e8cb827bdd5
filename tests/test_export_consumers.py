"""Exports as the runtimes that people use read them: 50 utterances get the texts that the model gives in PyTorch."""

import pytest
import torch
from fixtures.exported import same_share, speech
from fixtures.models import make_model as make_transformers_model

import comflp.models
from comflp.deploy import recognition
from comflp.deploy.export import export
from comflp.deploy.formats import FORMATS
from comflp.proposal import PruningProposal

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def needs(package):
    return pytest.importorskip(package, reason=f"{package} is not installed; pip install 'comflp[runtimes]' brings it")


def test_sherpa_onnx_reads_models_of_waveforms(tmp_path):
    needs("sherpa_onnx")
    model = comflp.models.load(make_transformers_model(tmp_path / "m", "wav2vec2", "ABCDE ", num_layers=2))
    pruned = model.prune(PruningProposal.parse("1", 2))
    export(pruned, tmp_path, [FORMATS["sherpa-onnx"], FORMATS["sherpa-onnx_int8"]])
    assert same_share(pruned, tmp_path / "sherpa-onnx", speech()) >= 0.98
    assert len(recognition.load(tmp_path / "sherpa-onnx_int8").text(speech(1)[0])) > 0


def test_sherpa_onnx_and_onnx_asr_read_models_of_features(tmp_path):
    model = comflp.models.load(make_transformers_model(tmp_path / "m", "parakeet_ctc", "ABCDE ", num_layers=2))
    with torch.no_grad():
        model.model.ctc_head.bias[0] -= 100  # <unk>, which random weights say of nearly all frames
    export(model, tmp_path, [FORMATS["onnx"], FORMATS["sherpa-onnx"]])
    needs("onnx_asr")
    assert same_share(model, tmp_path / "onnx", speech()) >= 0.98
    needs("sherpa_onnx")
    # Its frames begin half a step from NeMo's, which trained models bear and random weights do not.
    found = recognition.load(tmp_path / "sherpa-onnx", num_threads=1)
    assert sum(bool(found.text(waveform)) for waveform in speech()) >= 25
