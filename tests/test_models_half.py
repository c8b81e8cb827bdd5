"""Checkpoints in float16 and bfloat16: computed with in float32, saved in what they came in."""

import json

import pytest
import safetensors.torch
import torch
from fixtures.models import make_model
from fixtures.training import train
from fixtures.whisper import make_whisper
from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq

import comflp.models
from comflp.data.batching import AudioBatch
from comflp.deploy.int8_torch import load_int8, save_int8
from comflp.inference.measure_costs import measure_costs
from comflp.inference.speech import Speech
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal, joined
from comflp.repair.calibration import Calibration
from comflp.repair.judge import Judge

HALF = (torch.float16, torch.bfloat16)


def ctc(directory, dtype):
    make_model(directory, "wav2vec2", "abcde ", num_layers=4)
    AutoModelForCTC.from_pretrained(directory, dtype=dtype).save_pretrained(directory)
    return directory


def whisper(directory, dtype):
    make_whisper(directory, multilingual=False, ends=True)
    AutoModelForSpeechSeq2Seq.from_pretrained(directory, dtype=dtype).save_pretrained(directory)
    return directory


def types_on_disk(directory):
    return {tensor.dtype for tensor in safetensors.torch.load_file(directory / "model.safetensors").values()}


def second_of_each(model):
    """The proposal that removes the second layer of every stack."""
    return joined({name: PruningProposal.parse("2", stack.num_layers) for name, stack in model.stacks.items()})


def logits(model, batch: AudioBatch):
    with torch.no_grad():
        return model(batch.with_targets(model.example_targets(1)) if model.teacher_forced else batch).logits


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("make", [ctc, whisper])
def test_what_is_made_of_a_half_precision_model_has_its_type_and_half_the_bytes(tmp_path, make, dtype):
    deep = comflp.models.load(make(tmp_path / "deep", dtype))
    assert {parameter.dtype for parameter in deep.parameters()} == {torch.float32} and deep.weight_type == dtype
    costs = measure_costs(deep)
    assert costs.bytes.whole == 2 * costs.parameters.whole and costs.bytes.layer == {name: 2 * n for name, n in costs.parameters.layer.items()}
    pruned = deep.prune(second_of_each(deep))
    before = logits(pruned, noise_batch(16000, (1.0,)))
    pruned.save(tmp_path / "pruned")
    assert types_on_disk(tmp_path / "pruned") == {dtype}
    assert json.loads((tmp_path / "pruned" / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    verify_saved(pruned, tmp_path / "pruned")
    again = comflp.models.load(tmp_path / "pruned")
    assert again.weight_type == dtype and torch.equal(logits(again, noise_batch(16000, (1.0,))), before), "untouched weights are the checkpoint's"


@pytest.mark.filterwarnings("ignore:.*utterances would do")
@pytest.mark.parametrize("make", [ctc, whisper])
def test_a_repaired_model_is_measured_as_it_is_saved(tmp_path, make, make_data):
    """Each map is rounded before it is judged, and before the layers after it are refitted on what it gives."""
    deep = comflp.models.load(make(tmp_path / "deep", torch.bfloat16))
    proposal = second_of_each(deep)
    calibration = Calibration(Speech(deep, make_data(12)))
    repaired = calibration.repair(deep.prune(proposal))
    changed = [p for p, q in zip(repaired.parameters(), deep.prune(proposal).parameters()) if not torch.equal(p, q)]
    assert changed and all(torch.equal(parameter, parameter.bfloat16().float()) for parameter in changed)
    repaired.save(tmp_path / "repaired")
    verify_saved(repaired, tmp_path / "repaired")
    loaded = comflp.models.load(tmp_path / "repaired").eval()
    with torch.no_grad():
        found = Judge(loaded, calibration.held_out.begun_by(loaded), calibration.held_targets).divergence()
    assert repaired.origin["pruning"][-1]["repair"]["divergence"][1] == pytest.approx(found, rel=1e-4)


def test_a_trained_model_is_measured_as_it_is_saved(tmp_path, make_data):
    model = comflp.models.load(ctc(tmp_path / "deep", torch.bfloat16))
    found = train(model, make_data(6), tmp_path / "train", number_of_epochs=1)
    assert not any(torch.equal(p, q) for p, q in zip(found.model.parameters(), comflp.models.load(tmp_path / "deep").parameters()) if p.ndim > 1)
    assert all(torch.equal(parameter, parameter.bfloat16().float()) for parameter in found.model.parameters())


def test_a_vector_that_the_library_draws_says_nothing_of_the_checkpoint(tmp_path):
    """Old checkpoints lack what SpecAugment puts in place of frames."""
    directory = ctc(tmp_path / "deep", torch.float16)
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    del weights["wav2vec2.masked_spec_embed"]
    safetensors.torch.save_file(weights, directory / "model.safetensors", {"format": "pt"})
    model = comflp.models.load(directory)
    model.save(tmp_path / "saved")
    assert model.weight_type == torch.float16 and types_on_disk(tmp_path / "saved") == {torch.float16}


def test_trained_weights_are_rounded_where_they_are_saved(tmp_path):
    model = comflp.models.load(ctc(tmp_path / "deep", torch.float16))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.0001)
    model.save(tmp_path / "trained")
    verify_saved(model, tmp_path / "trained")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_float32_weights_stay_so_whatever_config_json_says(tmp_path):
    make_model(tmp_path / "deep", "wav2vec2", "abcde ", num_layers=2)
    config = tmp_path / "deep" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "torch_dtype": "float16", "dtype": "float16"}))
    model = comflp.models.load(tmp_path / "deep")
    model.save(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert types_on_disk(tmp_path / "again") == {torch.float32} and written["dtype"] == "float32"


def test_int8_weights_have_float32_scales(tmp_path):
    model = comflp.models.load(ctc(tmp_path / "deep", torch.float16))
    save_int8(model, tmp_path / "int8")
    assert types_on_disk(tmp_path / "int8") == {torch.int8, torch.float16, torch.float32}
    found, expected = (logits(each, noise_batch(16000, (1.0,))) for each in (load_int8(tmp_path / "int8"), model))
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
