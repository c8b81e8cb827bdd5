"""What comflp.models.load takes, what it refuses, and that nothing from outside runs."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from fixtures.models import make_model
from transformers import AutoModel, Wav2Vec2ForCTC, WhisperConfig

import comflp.models
from comflp.errors import ComflpError


@pytest.fixture
def directory(tmp_path):
    return make_model(tmp_path / "model", "wav2vec2", "ABC ", num_layers=2)


def edit_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_model_comes_in_evaluation_mode_and_float32(directory):
    Wav2Vec2ForCTC.from_pretrained(directory, dtype=torch.float16).save_pretrained(directory)
    model = comflp.models.load(directory)
    assert not any(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.sample_rate == 16000
    assert model.origin == {"source": "model"}


def test_another_family_is_refused_with_the_list(tmp_path):
    WhisperConfig().save_pretrained(tmp_path)
    with pytest.raises(ComflpError, match="'whisper' model; .*wav2vec2, hubert, wavlm, data2vec-audio, .*parakeet_ctc"):
        comflp.models.load(tmp_path)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ComflpError, match="neither config.json nor hyperparams.yaml"):
        comflp.models.load(tmp_path)


def test_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ComflpError, match="exp/nowhere is neither a directory nor a model of the Hugging Face hub"):
        comflp.models.load("exp/nowhere")


def test_a_hub_name_is_loaded_from_the_cache(directory, tmp_path):
    """The hub's cache: a snapshot of the repository's files by commit, and a reference to it by branch."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "hub" / "models--someone--small-ctc"
    shutil.copytree(directory, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = "import comflp.models; model = comflp.models.load('someone/small-ctc'); print(model.num_layers, model.origin)"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"2 {dict(source='someone/small-ctc', revision=commit)}"
    assert done.stderr == ""


def test_loading_and_saving_write_nothing_to_the_screen(directory, tmp_path, capfd):
    comflp.models.load(directory).save(tmp_path / "saved")
    assert capfd.readouterr() == ("", "")


def test_a_pre_trained_model_without_ctc_head_is_refused(directory):
    AutoModel.from_pretrained(directory).save_pretrained(directory)
    with pytest.raises(ComflpError, match="lacks the weights lm_head.bias, lm_head.weight"):
        comflp.models.load(directory)


def test_weights_of_more_layers_than_the_configuration_says_are_refused(directory):
    edit_json(directory / "config.json", num_hidden_layers=1)
    with pytest.raises(ComflpError, match="has, besides what the model holds, the weights .*layers.1.* and 11 more"):
        comflp.models.load(directory)


def test_spec_augment_and_pre_training_weights_do_not_matter(directory):
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    weights = load_file(path)
    del weights["wav2vec2.masked_spec_embed"]
    save_file({**weights, "quantizer.codevectors": torch.zeros(1, 2)}, path, {"format": "pt"})
    assert comflp.models.load(directory).num_layers == 2


@pytest.mark.parametrize("file, part", [("vocab.json", "Wav2Vec2CTCTokenizer"), ("preprocessor_config.json", "Wav2Vec2FeatureExtractor")])
def test_a_directory_without_its_processor_is_refused(directory, file, part):
    (directory / file).unlink()
    with pytest.raises(ComflpError, match=f"has no {part} that can be loaded"):
        comflp.models.load(directory)


def test_a_damaged_configuration_is_named_with_its_line(directory):
    (directory / "config.json").write_text("{\n  oops\n}")
    with pytest.raises(ComflpError, match=r"config.json:2: not valid JSON"):
        comflp.models.load(directory)


def test_damaged_weights_are_refused(directory):
    (directory / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ComflpError, match="cannot be loaded as a CTC model"):
        comflp.models.load(directory)


class Payload:
    """A pickle of this makes a directory when it is loaded by a pickle that trusts it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return shutil.copytree, (self.path, self.path + ".ran")


def test_a_pickle_from_outside_does_not_run(directory, tmp_path):
    (directory / "model.safetensors").unlink()
    (tmp_path / "payload").mkdir()
    torch.save({"weight": Payload(tmp_path / "payload")}, directory / "pytorch_model.bin")
    with pytest.raises(ComflpError, match="cannot be loaded as a CTC model"):
        comflp.models.load(directory)
    assert not (tmp_path / "payload.ran").exists()


def test_code_beside_a_model_does_not_run(directory, tmp_path):
    ran = tmp_path / "ran"
    (directory / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nEvil = None\n")
    edit_json(directory / "config.json", auto_map={"AutoModelForCTC": "evil.Evil", "AutoConfig": "evil.Evil"})
    assert comflp.models.load(directory).num_layers == 2
    edit_json(directory / "config.json", model_type="evil")
    with pytest.raises(ComflpError, match="'evil' model"):
        comflp.models.load(directory)
    assert not ran.exists()
