"""What each fit of a repair is to: all of it, of the right frames, with the weights that the norm behind gives them."""

import copy

import pytest
import torch
from fixtures.encoder_decoders import load_small
from fixtures.models import make_model as make_library_model
from fixtures.variants import VARIANTS
from fixtures.whisper import make_whisper

import comflp.models
from comflp.data.data_dir import DataDir
from comflp.inference.output_change import model_divergence
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.repair import Calibration
from comflp.repair import refit as refit_module
from comflp.repair.fit import NormalEquations


def test_no_fit_sees_the_utterances_that_judge(make_model, make_data):
    calibration = Calibration(Speech(make_model(3), make_data(20)), held_out=0.25)
    fitted, judging = ({u.utt_id for batch in states.utterances for u in batch} for states in (calibration.states, calibration.held_out))
    assert (len(fitted), len(judging)) == (15, 5) and not fitted & judging


@pytest.mark.filterwarnings("ignore:.*utterances would do")
@pytest.mark.parametrize("variant", ["wav2vec2", "wav2vec2_stable", "wavlm", "sew_d", "conformer", "bert", "parakeet", "lasr", "granite"])
def test_one_utterance_is_brought_back_whole_where_the_last_map_has_more_inputs_than_it_has_frames(tmp_path, noise_data, variant):
    """Its writer then solves for the deep model's stream exactly, whatever its scale and whichever norm follows."""
    model_type, options = VARIANTS[variant]
    deep = comflp.models.load(make_library_model(tmp_path / "deep", model_type, "ABCDE '", **options))
    calibration = Calibration(Speech(deep, DataDir(noise_data.path, list(noise_data)[:2])), prior_frames=1e-4, lenient=True)
    pruned = deep.prune(PruningProposal.parse("4", 4))
    repaired = calibration.repair(pruned)
    (batch,) = calibration.states.batches()
    with torch.no_grad():
        outputs = [model.eval()(batch) for model in (deep, pruned, repaired)]
        before, after = (float((each.logits - outputs[0].logits)[each.own()].abs().max()) for each in outputs[1:])
    assert after < 0.02 * before


def test_the_projection_is_fitted_to_what_the_deep_model_puts_out(make_model, make_data):
    """With a prior that leaves every other matrix as it is."""
    deep = make_model(4)
    pruned = deep.prune(PruningProposal.parse("3", 4))
    calibration = Calibration(Speech(deep, make_data(16)), prior_frames=1e12, lenient=True)
    repaired = calibration.repair(pruned)
    plain = copy.deepcopy(repaired)
    plain.output.load_state_dict(pruned.output.state_dict())
    fitted_on = DataDir("data", [utterance for batch in calibration.states.utterances for utterance in batch])
    with_it, without = (model_divergence(Speech(deep, fitted_on), model.eval()) for model in (repaired, plain))
    assert with_it < 0.9 * without


@pytest.mark.filterwarnings("ignore:.*utterances would do")
@pytest.mark.parametrize("norm_first", [True, False])
def test_frames_count_by_what_the_norm_behind_makes_of_them(make_model, make_data, monkeypatch, norm_first):
    deep, weights, fitted_writer = make_model(3, norm_first=norm_first), [], refit_module.fitted_writer

    def watched(equations, writer, prior_frames):
        weights.append(equations.weight / equations.frames)
        return fitted_writer(equations, writer, prior_frames)

    monkeypatch.setattr(refit_module, "fitted_writer", watched)
    calibration = Calibration(Speech(deep, make_data(2)), lenient=True)
    calibration.repair(deep.prune(PruningProposal.parse("3", 3)))
    (batch,) = calibration.states.batches()
    seen = []
    deep.stacks["encoder"].layers[2].norm2.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        output = deep(batch)
    assert weights == [1.0] if norm_first else weights == pytest.approx([float((1 / seen[0][output.own()].var(dim=1)).mean())], rel=1e-3)


@pytest.mark.filterwarnings("ignore:.*utterances would do")
def test_readers_of_the_encoders_output_are_fitted_on_all_of_its_frames(tmp_path, noise_data, monkeypatch):
    deep = load_small(make_whisper, tmp_path / "deep")
    hypotheses = {utterance.utt_id: tuple(row) for utterance, row in zip(noise_data, deep.example_targets(10))}
    seen, fitted_readers = {}, refit_module.fitted_readers

    def watched(equations, maps, deep_maps, prior_frames):
        seen.setdefault(equations.frames, []).append(len(maps))
        return fitted_readers(equations, maps, deep_maps, prior_frames)

    monkeypatch.setattr(refit_module, "fitted_readers", watched)
    calibration = Calibration(Speech(deep, noise_data, hypotheses=hypotheses), lenient=True)
    calibration.repair(deep.prune(PruningProposal.parse("encoder=2", {name: stack.num_layers for name, stack in deep.stacks.items()})))
    assert len(seen[calibration.states.frames]) == 2 * 3 + 4 * 2, "q and v, k, fc1 of two layers of the encoder; k, v of four of the decoder"


@pytest.mark.parametrize("spread", [1e-6, 1e-4, 1e-1])
def test_inputs_that_hardly_vary_get_the_solution_that_64_bit_arithmetic_has_or_none(spread):
    torch.manual_seed(0)
    place = torch.randn(64)
    features = place * (1 + spread * torch.randn(30_000, 1))
    targets = torch.randn(30_000, 2)
    equations = NormalEquations(64, 2, True, torch.device("cpu"))
    for begin in range(0, 30_000, 10_000):
        equations.add(features[begin : begin + 10_000], targets[begin : begin + 10_000])
    means = equations.close()
    exact, wanted = (values.double() - values.double().mean(dim=0) for values in (features, targets))
    gram = exact.T @ exact / 30_000
    right = exact.T @ wanted / 30_000
    assert torch.allclose(means[0], features.double().mean(dim=0)) and torch.allclose(means[1], targets.double().mean(dim=0))
    solution = torch.linalg.solve(gram + 300 / 30_000 * gram.diagonal().mean() * torch.eye(64, dtype=torch.float64), right)
    found = equations.solve(equations.cross)
    if spread < 1e-5:
        assert not found.any(), "what varies here is the rounding of 32-bit numbers"
    else:
        assert torch.allclose(found, solution, rtol=1e-4, atol=1e-4 * solution.abs().max())
