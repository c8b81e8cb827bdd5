"""int8 exports for PyTorch of every family: what may become int8, and what comes of it."""

import pytest
import torch
from fixtures.canary import make_canary
from fixtures.encoder_decoders import MAKERS, load_small
from fixtures.exported import speech
from fixtures.models import FAMILIES
from fixtures.models import make_model as make_transformers_model
from fixtures.transducers import make_rnnt, make_tdt
from fixtures.whisper import make_whisper

import comflp.models
from comflp.cli import main
from comflp.deploy import int8_torch, recognition
from comflp.errors import ComflpError


def small(name, directory):
    """A model of two layers of a family, by the name of a CTC family or of what makes it."""
    if name in FAMILIES:
        return comflp.models.load(make_transformers_model(directory, name, "ABC ", num_layers=2))
    make = {make.__name__: make for make in (make_rnnt, make_tdt, *MAKERS)}[name]
    if make in MAKERS:
        return load_small(make, directory, encoder_layers=2, decoder_layers=2)
    return comflp.models.load(make(directory, num_layers=2))


@pytest.mark.parametrize("name", [*FAMILIES, *(make.__name__ for make in (make_rnnt, make_tdt, *MAKERS))])
def test_every_family_recognises_with_int8_weights(tmp_path, name):
    model = small(name, tmp_path / "model")
    int8_torch.save_int8(model, tmp_path / "int8")
    loaded, at_once = recognition.load(tmp_path / "int8"), recognition.of_model(int8_torch.quantized(model))
    heard = speech(3)
    assert sum(loaded.text(waveform) == at_once.text(waveform) for waveform in heard) >= 2  # random weights tell the last bits apart
    if not model.teacher_forced:
        assert torch.cosine_similarity(loaded.logits(heard[0]).flatten(), at_once.logits(heard[0]).flatten(), dim=0) > 0.99
    assert all(type(module) is not torch.nn.Linear or module.weight.dtype == torch.float32 for module in model.modules())
    layers = int8_torch.int8_layers(model)
    assert len(layers) > sum(stack.num_layers for stack in model.stacks.values())
    assert name != "wavlm" or not any(name.endswith("q_proj") for name in layers), "torch reads these weights itself"


@pytest.mark.parametrize("make", [make_whisper, make_canary])
def test_weights_that_two_modules_share_are_counted_once(tmp_path, make):
    model = load_small(make, tmp_path / "model", encoder_layers=1, decoder_layers=1)
    int8_torch.save_int8(model, tmp_path / "int8")
    recognizer = recognition.load(tmp_path / "int8")
    assert (recognizer.format, recognizer.num_parameters) == ("torch_int8", model.num_parameters)


def test_an_export_is_not_taken_for_a_model(make_model, make_data, tmp_path, capsys):
    int8_torch.save_int8(make_model(num_layers=1), tmp_path / "int8")
    assert not (tmp_path / "int8" / "README.md").exists()
    for command in (["info"], ["evaluate", "--data", str(make_data(1).path), "--out", str(tmp_path / "scores")]):
        assert main([command[0], str(tmp_path / "int8"), *command[1:]]) == 1
        assert f"{tmp_path / 'int8'} is an export (export.json lies in it), which comflp transcribe" in capsys.readouterr().err


def test_what_does_not_run_with_int8_weights_is_not_left_behind(make_model, tmp_path, monkeypatch):
    def everything(model):
        return frozenset(name for name, module in model.named_modules() if type(module) is torch.nn.Linear)

    monkeypatch.setattr(int8_torch, "int8_layers", everything)
    model = small("granite_speech5_ctc", tmp_path / "model")
    with pytest.raises(ComflpError, match="a granite_speech5_ctc model cannot be exported as torch_int8: with int8 weights it does not run .*dtype"):
        int8_torch.save_int8(model, tmp_path / "int8")
    assert not (tmp_path / "int8").exists()
