"""Where the states of a repair come from: an attention that is settled does not run again, and a trained model begins by itself."""

import numpy as np
import pytest
import soundfile
import torch
from fixtures.encoder_decoders import load_small
from fixtures.models import make_model as make_library_model
from fixtures.whisper import SAMPLE_RATE, make_whisper

from comflp.data.data_dir import DataDir, Utterance, subset
from comflp.inference.output_change import model_divergence
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.repair import Calibration


def make_wav2vec2(directory, **_):
    return make_library_model(directory, "wav2vec2", "ABCDE '")


@pytest.fixture
def data(tmp_path):
    rng, utterances = np.random.default_rng(0), []
    for number in range(6):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(int((0.6 + 0.1 * number) * SAMPLE_RATE)), SAMPLE_RATE)
        utterances.append(Utterance(f"u{number}", str(path), "", "s", 0.6 + 0.1 * number))
    return DataDir(tmp_path, utterances)


@pytest.mark.filterwarnings("ignore:.*utterances would do")
@pytest.mark.parametrize(("make", "attention"), [(make_whisper, "self_attn"), (make_wav2vec2, "attention")])
def test_the_same_repair_with_fewer_passes(tmp_path, data, make, attention, monkeypatch):
    deep = load_small(make, tmp_path / "deep")
    hypotheses = {u.utt_id: tuple(row) for u, row in zip(data, deep.example_targets(6))} if deep.teacher_forced else None
    calibration = Calibration(Speech(deep, data, hypotheses=hypotheses))
    depths = {name: stack.num_layers for name, stack in deep.stacks.items()}
    pruned = deep.prune(PruningProposal.parse("encoder=2" if len(depths) > 1 else "2", depths))
    runs = []
    for layer in pruned.stacks["encoder"].layers:
        layer.get_submodule(attention).q_proj.register_forward_hook(lambda *_: runs.append(1))
    repaired = calibration.repair(pruned)
    replayed = len(runs)
    monkeypatch.setattr("comflp.repair.refit._replays", lambda layer, block: [])
    plain = calibration.repair(pruned)
    assert replayed < len(runs) - replayed
    assert all(torch.equal(*pair) for pair in zip(repaired.state_dict().values(), plain.state_dict().values()))
    assert repaired.origin == plain.origin and not [module for module in repaired.modules() if "forward" in vars(module)]


@pytest.mark.filterwarnings("ignore:.*utterances would do")
def test_a_model_that_was_trained_since_begins_by_itself(make_model, data):
    deep = make_model(num_layers=4)
    pruned = deep.prune(PruningProposal.parse("2", 4))
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=noise)
    calibration = Calibration(Speech(deep, data))
    repaired = calibration.repair(pruned)
    judging = Speech(deep, subset(data, 1, calibration.seed))
    said = repaired.origin["pruning"][-1]["repair"]["divergence"]
    assert said == pytest.approx([model_divergence(judging, model.eval()) for model in (pruned, repaired)], rel=1e-4)
    assert said[1] < said[0]
