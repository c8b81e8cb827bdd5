"""A directory of the recipes' own model that was damaged or brought: refused in one line before anything of it is built."""

import json
import shutil

import pytest
import safetensors.torch
import torch

import comflp.models
from comflp.errors import ComflpError
from comflp.models.own.tokenizer import SentencePieceTokenizer
from comflp.models.own.transformer_ctc import Architecture, TransformerCTC
from comflp.proposal import PruningProposal


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("own") / "sound"
    architecture = Architecture(sample_rate=8000, n_mels=20, d_model=8, nhead=2, d_ffn=8, num_layers=2)
    TransformerCTC(SentencePieceTokenizer.train(["abc de"]), architecture).save(directory)
    return directory


@pytest.fixture
def directory(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "brought")


def refusal(directory):
    with pytest.raises(ComflpError) as raised:
        comflp.models.load(directory)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("values, said", [
    ({"d_ffn": 10**9}, "d_ffn in config.json is 1000000000, beyond"),
    ({"num_layers": 10**5}, "num_layers in config.json is 100000, beyond 1000"),
    ({"d_ffn": 9 * 10**6}, "do not belong together: encoder_layers.0.linear1.bias is [9000000] in the model and [8] in the weights"),
    ({"num_layers": 1000}, "encoder_layers.10.linear1.bias is [8] in the model and not there in the weights"),
    ({"num_layers": 1}, "encoder_layers.1.linear1.bias is not there in the model and [8] in the weights"),
    ({"n_mels": 10**6}, "is [1000000, 1, 5] in the model and [20, 1, 5] in the weights"),
    ({"sample_rate": 10**6}, "config.json: sample_rate is 1000000 and has to be a whole number from 1,000 to 399,999"),
    ({"d_model": "8"}, "d_model is '8' and has to be a whole number"),
    ({"d_model": 8.0}, "d_model is 8.0"),
    ({"num_layers": True}, "num_layers is True"),
    ({"num_layers": 0}, "num_layers is 0"),
    ({"nhead": None}, "nhead is None"),
    ({"nhead": 3}, "d_model is 8 and has to be divisible by nhead, which is 3"),
    ({"dropout": 1}, "dropout is 1 and has to be a number from 0 to below 1"),
    ({"dropout": [0.1]}, "dropout is [0.1]"),
    ({"norm_first": 1}, "norm_first is 1 and has to be true or false"),
])  # fmt: skip
def test_a_configuration_that_cannot_be(directory, values, said):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    assert said in refusal(directory)


def test_post_norm_models_stay_post_norm(make_model, tmp_path):
    model = make_model(norm_first=False)
    model.prune(PruningProposal.parse("2", 4)).save(tmp_path / "pruned")
    assert not any(layer.norm_first for layer in comflp.models.load(tmp_path / "pruned").stacks["encoder"].layers)


def test_a_key_that_is_missing_is_named(directory):
    path = directory / "config.json"
    config = json.loads(path.read_text())
    del config["nhead"]
    path.write_text(json.dumps(config))
    assert refusal(directory).startswith(f"{path} has no key 'nhead'")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.model", "config.json"])
def test_a_file_that_is_a_link_out_of_the_directory(directory, tmp_path, name):
    (directory / name).rename(tmp_path / name)
    (directory / name).symlink_to(tmp_path / name)
    assert f"{name} is a symbolic link out of the model's directory" in refusal(directory)


def test_weights_of_another_model(directory):
    path = directory / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["extra"] = torch.zeros(3)
    safetensors.torch.save_file(weights, path)
    assert "extra is not there in the model and [3] in the weights" in refusal(directory)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
def test_any_usual_sample_rate_has_features(rate):
    model = TransformerCTC(SentencePieceTokenizer.train(["ab"]), Architecture(rate, 20, 8, 2, 8, 1)).eval()
    with torch.no_grad():
        assert model.features(torch.randn(1, rate)).shape == (1, 101, 20)
