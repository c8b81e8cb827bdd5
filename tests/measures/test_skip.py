"""Skip costs: each block removed by itself, against the same thing done the long way, utterance by utterance."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from fixtures.models import FAMILIES, SAMPLE_RATE, make_model as make_family

import comflp.models
from comflp.data.data_dir import DataDir, Utterance, subset
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.errors import ComflpError
from comflp.measures import COST, MEASURES, MODEL, Speech, correlation_matrix, skip_matrix
from comflp.inference.output_change import output_changes
from comflp.proposal import PruningProposal


def log_posteriors(model, data):
    """Utterance -> (T, V) log-posteriors, each utterance decoded alone."""
    found = {}
    with evaluation(model):
        for utterance in data:
            (batch,) = load_batches(model, [[utterance]])
            output = model(batch)
            found[utterance.utt_id] = output.logits[0, : output.num_frames[0]].double().log_softmax(dim=-1)
    return found


def divergence(deep, pruned):
    """Mean over all frames of KL(deep || pruned)."""
    frames = sum(len(rows) for rows in deep.values())
    return sum(float((rows.exp() * (rows - pruned[utt_id])).sum()) for utt_id, rows in deep.items()) / frames


def spelled(rows, blank):
    """What the best path spells, label by label."""
    best = [label for label, _ in itertools.groupby(rows.argmax(dim=-1).tolist())]
    return [label for label in best if label != blank]


def ctc(rows, labels, blank):
    return float(torch.nn.functional.ctc_loss(
        rows[:, None], torch.tensor([labels or [0]]), torch.tensor([len(rows)]), torch.tensor([len(labels)]),
        blank=blank, reduction="sum",
    ))


def blocks(num_layers):
    pairs = itertools.combinations(range(num_layers + 1), 2)
    return {(i, j): PruningProposal(num_layers, ((i + 1, j),)) for i, j in pairs if j - i < num_layers}


def test_skip_kl_is_the_divergence_without_each_block_alone(make_model, make_data):
    model, data = make_model(num_layers=5), make_data(7)
    matrix = skip_matrix(Speech(model, data, max_seconds=2.0), "skip_kl")
    deep = log_posteriors(model, data)
    assert matrix.shape == (6, 6) and np.array_equal(matrix, matrix.T) and not matrix.diagonal().any()
    for (i, j), proposal in blocks(5).items():
        assert matrix[i, j] == pytest.approx(divergence(deep, log_posteriors(model.prune(proposal), data)), rel=1e-4)
    assert matrix[0, 5] == np.inf and np.isfinite(matrix).sum() == 36 - 2
    assert len(np.unique(matrix.round(6))) > 10, "blocks must differ for this test to mean anything"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_measured_as_its_pruned_models_are(tmp_path, family):
    model = comflp.models.load(make_family(tmp_path / "deep", family, "abc ", num_layers=3))
    rng, utterances = np.random.default_rng(0), []
    for number, samples in enumerate((9000, 12000, 12000)):
        wav = tmp_path / f"{number}.wav"
        soundfile.write(wav, 0.2 * rng.standard_normal(samples), SAMPLE_RATE)
        utterances.append(Utterance(f"u{number}", str(wav), "ab", "s", samples / SAMPLE_RATE))
    data = DataDir(tmp_path, utterances)
    matrix = skip_matrix(Speech(model, data), "skip_kl")
    deep = log_posteriors(model, data)
    must_stay = set(model.stacks["encoder"].must_stay)
    for (i, j), proposal in blocks(3).items():
        if must_stay & set(proposal.removed):
            assert matrix[i, j] == np.inf
            continue
        expected = divergence(deep, log_posteriors(model.prune(proposal), data))
        assert matrix[i, j] == pytest.approx(expected, rel=2e-3, abs=1e-6)


@pytest.mark.parametrize("measure", ["skip_ctc", "skip_ctc_labelled"])
def test_skip_ctc_is_the_rise_of_the_loss_a_label(make_model, make_data, measure):
    model, data = make_model(num_layers=4), make_data(6)
    blank = model.tokenizer.blank_id
    deep = log_posteriors(model, data)
    if measure == "skip_ctc":
        labels = {utt_id: spelled(rows, blank) for utt_id, rows in deep.items()}
    else:
        labels = {utterance.utt_id: model.tokenizer.encode(utterance.text) for utterance in data}
    repeats = {key: sum(a == b for a, b in zip(row, row[1:])) for key, row in labels.items()}
    used = [key for key, row in labels.items() if len(row) + repeats[key] <= len(deep[key])]
    assert used
    matrix = skip_matrix(Speech(model, data, max_seconds=2.0), measure)

    def loss(found):
        return sum(ctc(found[key], labels[key], blank) for key in used) / sum(max(len(labels[key]), 1) for key in used)

    for (i, j), proposal in blocks(4).items():
        expected = loss(log_posteriors(model.prune(proposal), data)) - loss(deep)
        assert matrix[i, j] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_model_that_spells_nothing_can_be_measured(make_model, make_data):
    model, data = make_model(num_layers=3), make_data(3)
    model.output.bias.data[model.tokenizer.blank_id] = 100.0
    matrix = skip_matrix(Speech(model, data), "skip_ctc")
    assert np.isfinite(matrix).sum() == 16 - 2


def test_several_blocks_at_once_are_the_whole_pruned_model(make_model, make_data):
    model, data = make_model(num_layers=6), make_data(5)
    proposals = [PruningProposal.parse(text, num_layers=6) for text in ("1,3", "2-3,5-6", "6", "1-2,4")]
    found = output_changes(Speech(model, data), proposals, "kl")
    deep = log_posteriors(model, data)
    for proposal in proposals:
        assert found[proposal] == pytest.approx(divergence(deep, log_posteriors(model.prune(proposal), data)), rel=1e-4)
    assert output_changes(Speech(model, data), [PruningProposal(6, ())], "kl") == {}


def test_layer_runs_are_those_that_the_module_states(make_model, make_data):
    model, data = make_model(num_layers=6), make_data(4)
    batches, runs = [], []
    model.features.register_forward_hook(lambda *_: batches.append(1))
    for layer in model.stacks["encoder"].layers:
        layer.register_forward_hook(lambda *_: runs.append(1))
    skip_matrix(Speech(model, data), "skip_kl")
    assert len(runs) == len(batches) * (6 + 6 * (6**2 - 1) // 6)


def test_utterances_are_drawn_with_the_seed(make_model, make_data):
    model, data = make_model(num_layers=4), make_data(12)
    drawn = skip_matrix(Speech(model, data), "skip_kl", seed=3, num_utterances=5)
    same = skip_matrix(Speech(model, subset(data, 5, 3)), "skip_kl")
    np.testing.assert_allclose(drawn[np.isfinite(drawn)], same[np.isfinite(same)], rtol=1e-5)
    assert not np.allclose(drawn[0, 1], skip_matrix(Speech(model, data), "skip_kl", seed=4, num_utterances=5)[0, 1])


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_a_block_longer_than_those_measured_costs_what_each_layer_adds_to_those_before(make_model, make_data, longest):
    model, data = make_model(num_layers=5), make_data(5)
    runs = []
    model.features.register_forward_hook(lambda *_: runs.append(1))
    for layer in model.stacks["encoder"].layers:
        layer.register_forward_hook(lambda *_: runs.append(1))
    whole, whole_runs = skip_matrix(Speech(model, data)), len(runs)
    short = skip_matrix(Speech(model, data), max_block=longest)
    assert len(runs) - whole_runs < whole_runs
    for start, end in itertools.combinations(range(6), 2):
        expected = whole[start, min(end, start + longest)]
        for last in range(start + longest + 1, end + 1):
            expected += max(whole[last - longest, last] - whole[last - longest, last - 1], 0)
        expected = np.inf if (start, end) == (0, 5) else expected
        assert short[start, end] == short[end, start] == pytest.approx(expected, rel=1e-5)
    if longest == 1:
        assert short[1, 4] == pytest.approx(sum(whole[layer, layer + 1] for layer in (1, 2, 3)), rel=1e-5)


def test_a_killed_run_goes_on_from_its_batches(make_model, make_data, tmp_path):
    model, data = make_model(num_layers=4), make_data(12)
    undisturbed = skip_matrix(Speech(model, data, max_seconds=2.0), "skip_kl")

    first, second = (len(batch) for batch in plan_batches(model, data, 2.0)[:2])

    def killed(utterances, **_):
        for number, utterance in enumerate(utterances, start=1):
            yield utterance
            if number == first + second:
                raise KeyboardInterrupt

    speech = Speech(model, data, max_seconds=2.0, work=tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        skip_matrix(replace(speech, progress=killed), "skip_kl")
    fronts = []
    model.features.register_forward_hook(lambda *_: fronts.append(1))
    assert np.array_equal(skip_matrix(speech, "skip_kl"), undisturbed)
    resumed = len(fronts)
    assert np.array_equal(skip_matrix(Speech(model, data, max_seconds=2.0), "skip_kl"), undisturbed)
    assert resumed == len(fronts) - resumed - 2


def test_what_cannot_be_measured_says_so(make_model, make_data):
    model, data = make_model(), make_data(3)
    speech = Speech(model, data)
    with pytest.raises(ComflpError, match="skip_kl is computed by comflp.measures.skip_matrix"):
        correlation_matrix(np.zeros((4, 3, 2)), "skip_kl")
    with pytest.raises(ComflpError, match="dc is computed by comflp.measures.correlation_matrix"):
        skip_matrix(speech, "dc")
    with pytest.raises(ComflpError, match="at least 1, not 0"):
        skip_matrix(speech, num_utterances=0)
    with pytest.raises(ComflpError, match="at least 1 layer, not 0"):
        skip_matrix(speech, max_block=0)
    with pytest.raises(ComflpError, match="for a model of 5 layers, this one has 4"):
        output_changes(speech, [PruningProposal.parse("1", num_layers=5)], "kl")
    with torch.no_grad():
        model.stacks["encoder"].layers[1].linear2.bias.fill_(float("nan"))
    with pytest.raises(ComflpError, match="not finite .* utterance u00"):
        skip_matrix(speech)


def test_texts_that_no_utterance_is_long_enough_for(make_model, make_data):
    model, data = make_model(), make_data(2)
    long = DataDir(data.path, [Utterance(u.utt_id, u.wav, "abc" * 200, u.speaker, u.duration) for u in data])
    with pytest.raises(ComflpError, match="none of the 2 utterances"):
        skip_matrix(Speech(model, long), "skip_ctc_labelled")


def test_the_table_tells_them_from_similarities():
    skip = {name for name, measure in MEASURES.items() if measure.source == MODEL}
    assert skip == {"skip_kl", "skip_ctc", "skip_ctc_labelled"} == {n for n, m in MEASURES.items() if m.kind == COST}
