"""The closed-form repair of pruned models: exact where it can be, harmless where there is nothing to do, of every family."""

import copy
import warnings

import numpy as np
import pytest
import soundfile
import torch
from fixtures.encoder_decoders import MAKERS, load_small
from fixtures.models import SAMPLE_RATE, make_model as make_library_model
from fixtures.own_forward import alone, own_forward
from fixtures.variants import VARIANTS
from fixtures.whisper import make_whisper
from transformers import AutoFeatureExtractor, AutoModelForCTC

import comflp.models
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.inference.output_change import output_changes
from comflp.inference.speech import Speech
from comflp.models.layered import Step
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal
from comflp.repair import Calibration, repair
from comflp.repair.candidates import evaluate_repaired
from comflp.repair.fit import NormalEquations, fitted_readers, fitted_writer
from comflp.repair.judge import Judge
from comflp.repair.maps import LinearMap, sub_blocks
from comflp.repair.refit import end_of_gap
from comflp.repair.watch import calling_output_map

CHARACTERS = "ABCDE '"


def done(model):
    return model.origin["pruning"][-1]["repair"]


def make_affine(layer, attention=True):
    """A layer whose feed-forward is affine in the stream: no norm before it, and inputs where GELU is the identity."""
    layer.norm2 = torch.nn.Identity()
    layer.activation_relu_or_gelu = 0  # torch's fused layer would apply a norm all the same
    layer.linear1.bias.data.fill_(60.0)
    if not attention:
        layer.self_attn.out_proj.weight.data.zero_()
        layer.self_attn.out_proj.bias.data.zero_()


@pytest.mark.parametrize(("overshoot", "share"), [(1, 1.0), (3, 0.5), (7, 0.25), (20, 0.0)])
def test_a_refit_goes_as_much_of_the_way_as_helps(make_model, overshoot, share):
    model, wanted = make_model(), make_model()
    direction = 0.1 * torch.randn(model.output.bias.shape, generator=torch.Generator().manual_seed(0))
    old, batch = model.output.bias.detach().clone(), noise_batch(model.sample_rate, (0.9, 1.4))
    wanted.output.bias.data += direction
    with torch.no_grad():
        judge = Judge(model, [model.begin(batch)], [wanted(batch).log_probs()[wanted(batch).own()]])
        judge.decide([(model.output.bias, old + overshoot * direction)], ["output"])
    torch.testing.assert_close(model.output.bias.detach(), old + share * overshoot * direction)
    assert (judge.refitted, judge.kept) == ((["output"], []) if share else ([], ["output"]))
    assert judge.now == pytest.approx(judge.divergence(), abs=1e-6) and judge.now <= judge.before


def test_a_removed_block_that_is_affine_is_repaired_exactly(make_model, make_data):
    deep, proposal = make_model(4), PruningProposal.parse("3", 4)
    make_affine(deep.stacks["encoder"].layers[1])
    make_affine(deep.stacks["encoder"].layers[2], attention=False)
    pruned = deep.prune(proposal)
    speech = Speech(deep, make_data(16))
    before = output_changes(speech, [proposal], "kl")[proposal]
    repaired = Calibration(speech, prior_frames=1e-6).repair(pruned)
    assert done(repaired)["divergence"][0] == pytest.approx(before, rel=0.5) and before > 1e-3
    assert done(repaired)["divergence"][1] < 1e-5 * before
    batch = noise_batch(deep.sample_rate, (0.6, 0.5))
    with torch.no_grad():
        torch.testing.assert_close(repaired(batch).logits, deep(batch).logits, rtol=1e-2, atol=1e-2)


def test_a_fit_on_the_deep_models_own_inputs_changes_nothing(make_model):
    layer = make_model(1).stacks["encoder"].layers[0]
    read = torch.randn(200, 16)
    equations = NormalEquations(16, 16, centred=True, device=read.device)
    equations.add(read, read)
    maps = [LinearMap(layer, "self_attn.in_proj")]
    for parameter, new in fitted_readers(equations, maps, maps, prior_frames=300):
        torch.testing.assert_close(new, parameter.data, rtol=0, atol=1e-7)
    equations = NormalEquations(32, 16, centred=True, device=read.device)
    equations.add(torch.randn(200, 32), torch.zeros(200, 16))
    for parameter, new in fitted_writer(equations, LinearMap(layer, "linear2"), prior_frames=300):
        torch.testing.assert_close(new, parameter.data, rtol=0, atol=0)


def test_a_removed_layer_that_did_nothing_leaves_the_weights(make_model, make_data):
    deep = make_model(3)
    for writer in (deep.stacks["encoder"].layers[1].self_attn.out_proj, deep.stacks["encoder"].layers[1].linear2):
        writer.weight.data.zero_()
        writer.bias.data.zero_()
    pruned = deep.prune(PruningProposal.parse("2", 3))
    repaired = repair(Speech(deep, make_data()), pruned)
    for before, after in zip(pruned.parameters(), repaired.parameters()):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_normal_equations_solve_ridge_regression(centred, weighted):
    generator = np.random.default_rng(0)
    features, targets = generator.normal(size=(50, 5)) + 2, generator.normal(size=(50, 3)) + 1
    weights = generator.uniform(0.5, 2, size=50) if weighted else np.ones(50)
    equations = NormalEquations(5, 3, centred, torch.device("cpu"))
    for rows in (slice(0, 20), slice(20, 50)):
        arrays = (array[rows] for array in (features, targets, weights))
        equations.add(*(torch.from_numpy(array) for array in arrays))
    equations.close()
    found = equations.solve(equations.cross, prior_frames=30).numpy()
    share = weights / weights.sum()
    if centred:
        features, targets = features - share @ features, targets - share @ targets
    gram = features.T @ (share[:, None] * features)
    ridge = 30 / 50 * np.diag(gram).mean() * np.eye(5)
    np.testing.assert_allclose(found, np.linalg.solve(gram + ridge, features.T @ (share[:, None] * targets)), rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_frames_that_are_all_the_same_change_nothing(seed):
    """The first step of a decoder whose hypotheses have one token each."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 40, generator=generator).expand(38, -1) * 10
    equations = NormalEquations(40, 3, True, torch.device("cpu"))
    equations.add(features, torch.randn(38, 3, generator=generator))
    equations.close()
    assert torch.equal(equations.solve(equations.cross), torch.zeros(40, 3, dtype=torch.float64))


def test_attention_that_calls_its_output_map_computes_the_same(make_model):
    attention = make_model(1).stacks["encoder"].layers[0].self_attn
    read = torch.randn(2, 7, 16)
    seen = []
    attention.out_proj.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    with torch.no_grad():
        expected = attention(read, read, read)[0]
        with calling_output_map(attention):
            found = attention(read, read, read)[0]
        torch.testing.assert_close(attention(read, read, read)[0], expected)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert len(seen) == 1 and seen[0].shape == read.shape


def test_inputs_are_left_alone_and_the_seed_decides(make_model, make_data):
    deep, data = make_model(4), make_data()
    pruned = deep.prune(PruningProposal.parse("2,4", 4))
    before = copy.deepcopy((deep.state_dict(), pruned.state_dict()))
    speech = Speech(deep, data)
    first, again, other = repair(speech, pruned), repair(speech, pruned), repair(speech, pruned, seed=1)
    for model, weights in zip((deep, pruned), before):
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert first.origin == again.origin and done(first)["seed"] == 0
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters()))
    assert "repair" not in pruned.origin["pruning"][-1]


def test_one_calibration_repairs_many_as_each_alone(make_model, make_data):
    speech = Speech(make_model(5), make_data())
    calibration = Calibration(speech)
    for removed in ("2", "1,3-4", "5", "2-3"):
        pruned = speech.model.prune(PruningProposal.parse(removed, 5))
        shared, alone = calibration.repair(pruned), repair(speech, pruned)
        assert shared.origin == alone.origin
        assert all(torch.equal(a, b) for a, b in zip(shared.parameters(), alone.parameters()))


def test_candidates_are_decoded_as_they_are_repaired(make_model, make_data):
    speech, data = Speech(make_model(4), make_data()), make_data(4, seed=3, name="valid")
    calibration = Calibration(speech)
    proposals = [PruningProposal.parse(text, 4) for text in ("2", "1,3", "3-4")]
    evaluation = evaluate_repaired(calibration, [*proposals, proposals[0]], data)
    assert sorted(evaluation.counts) == sorted(proposals)
    for proposal in proposals:
        texts = decode(calibration.repair(speech.model.prune(proposal)), data)
        assert evaluation.texts[proposal] == dict(texts)
        assert evaluation.error_rate(proposal).ref_length == sum(len(u.text.replace(" ", "")) for u in data)


@pytest.mark.parametrize(("path", "ends"), [
    ([1, 2, 3, 0, 1], [0, 1, 3, 4, 5]),
    ([2, 4, 0, 1], [2, 3, 4, 5]),
    ([1, 0, 1], [3, 4, 5]),
])
def test_a_gap_ends_before_the_next_kept_layer_or_stack(path, ends):
    """Four layers of an encoder and one of a decoder; 0 enters the decoder."""
    deep = [*(Step("encoder", layer) for layer in (1, 2, 3, 4)), Step("decoder", 0), Step("decoder", 1)]
    stacks = ["encoder"] * path.index(0) + ["decoder"] * 2
    steps = [Step(stack, layer) for stack, layer in zip(stacks, path)]
    here = [deep.index(step) for step in steps]
    assert [end_of_gap(steps, here, number, deep) for number in range(len(steps))] == ends


def test_what_stands_between_layers_and_moves_ends_no_gap():
    """A step of its own (-1) in the middle of six layers is in the middle of four when the last two go."""
    deep = [Step("encoder", layer) for layer in (1, 2, 3, -1, 4, 5, 6)]
    steps = [Step("encoder", layer) for layer in (1, 2, -1, 3, 4)]
    here = [deep.index(step) for step in steps]
    assert [end_of_gap(steps, here, number, deep) for number in (0, 1, 3, 4)] == [0, 1, 2, 6]


@pytest.mark.parametrize("norm_first", [True, False])
def test_held_out_divergence_never_rises(make_model, make_data, norm_first):
    calibration = Calibration(Speech(make_model(5, norm_first=norm_first), make_data(8)))
    for removed in ("1", "3", "2-4", "1,3,5"):
        before, after = done(calibration.repair(calibration.deep.prune(PruningProposal.parse(removed, 5))))["divergence"]
        assert after <= before


def test_a_repaired_model_is_repaired_again_from_its_own_weights(make_model, make_data):
    speech = Speech(make_model(4), make_data())
    once = repair(speech, speech.model.prune(PruningProposal.parse("2", 4)))
    twice = repair(speech, once)
    assert done(twice)["divergence"][0] == pytest.approx(done(once)["divergence"][1], rel=1e-4)
    assert done(twice)["divergence"][1] <= done(twice)["divergence"][0]


def test_what_removes_nothing_is_returned(make_model, make_data):
    deep = make_model(3)
    pruned = deep.prune(PruningProposal.parse("none", 3))
    assert repair(Speech(deep, make_data()), pruned) is pruned


def test_a_model_of_other_origin_is_refused(make_model, make_data):
    with pytest.raises(ComflpError, match="was not made by pruning"):
        repair(Speech(make_model(4), make_data()), make_model(3))


def test_few_frames_for_the_widest_map_are_warned_of(make_model, make_data):
    deep = make_model(3)
    with pytest.warns(UserWarning, match=r"maps of 32 inputs; about \d+ utterances would do"):
        repair(Speech(deep, make_data(2)), deep.prune(PruningProposal.parse("2", 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repair(Speech(deep, make_data(12)), deep.prune(PruningProposal.parse("2", 3)))


def test_states_that_are_not_finite_name_the_utterance(make_model, make_data):
    deep, data = make_model(3), make_data(4)
    loud = data.utterances[2]
    rate = deep.sample_rate
    samples = soundfile.read(loud.wav)[0]
    samples[100:200] = np.inf
    soundfile.write(loud.wav, samples, rate, subtype="FLOAT")
    with pytest.raises(ComflpError, match=loud.utt_id):
        repair(Speech(deep, data), deep.prune(PruningProposal.parse("2", 3)))


@pytest.mark.filterwarnings("ignore:.*utterances would do")
@pytest.mark.parametrize("variant", VARIANTS)
def test_repaired_models_of_every_family_load_in_their_library(tmp_path, noise_data, variant):
    model_type, options = VARIANTS[variant]
    deep = comflp.models.load(make_library_model(tmp_path / "deep", model_type, CHARACTERS, **options))
    removed = next(layer for layer in (2, 3, 1) if layer not in deep.stacks["encoder"].must_stay)
    pruned = deep.prune(PruningProposal.from_layers([removed], 4))
    repaired = repair(Speech(deep, noise_data), pruned)
    before, after = done(repaired)["divergence"]
    assert after < before and done(repaired)["refitted"]
    repaired.save(tmp_path / "repaired")
    batch = noise_batch(SAMPLE_RATE, (0.6, 0.5))
    with torch.no_grad():
        output = repaired(batch)
        assert not torch.allclose(output.logits, pruned(batch).logits, rtol=1e-3, atol=1e-3)
    library_model = AutoModelForCTC.from_pretrained(tmp_path / "repaired").eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "repaired")
    encoder = getattr(library_model, "encoder", None) or library_model.base_model.encoder
    layers = encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layer
    for logits, frames, single in zip(output.logits, output.num_frames, alone(batch)):
        expected, _ = own_forward(library_model, extractor, layers, single)
        torch.testing.assert_close(logits[:frames], expected[0, :frames], rtol=1e-4, atol=1e-4)
    assert library_model.config.comflp["pruning"][-1]["repair"]["frames"] == done(repaired)["frames"]


@pytest.mark.filterwarnings("ignore:.*utterances would do")
@pytest.mark.parametrize(("make", "removed"), [(make_whisper, "encoder=2"), (make_whisper, "decoder=3"), *((make, "encoder=2-3+decoder=1") for make in MAKERS)])
def test_both_stacks_are_repaired(tmp_path, noise_data, make, removed):
    deep = load_small(make, tmp_path / "deep")
    writers = {name: sub_blocks(stack.layers[0])[-1].writer for name, stack in deep.stacks.items()}
    hypotheses = {utterance.utt_id: tuple(row) for utterance, row in zip(noise_data, deep.example_targets(10))}
    speech = Speech(deep, noise_data, hypotheses=hypotheses)
    depths = {name: stack.num_layers for name, stack in deep.stacks.items()}
    repaired = repair(speech, deep.prune(PruningProposal.parse(removed, depths)))
    before, after = done(repaired)["divergence"]
    tried = [*done(repaired)["refitted"], *done(repaired)["kept"]]
    assert after < before
    assert ("output" in tried) is not deep.model.config.tie_word_embeddings, "a projection that is the embedding too stays"
    if removed.startswith("encoder"):
        assert {f"encoder.1.{writers['encoder']}", "decoder.2.encoder_attn.k_proj", "decoder.2.encoder_attn.v_proj"} <= set(tried)
    else:
        assert not [name for name in tried if name.startswith("encoder")] and f"decoder.2.{writers['decoder']}" in tried
    repaired.save(tmp_path / "repaired")
    verify_saved(repaired, tmp_path / "repaired")
