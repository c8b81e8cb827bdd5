"""comflp.search.fine.ranking: the shared walk equals decoding pruned models one by one, and counts what it ran."""

import gc
import itertools
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.interrupting import stopping_after

from comflp.data.batching import make_batches
from comflp.data.data_dir import DataDir
from comflp.inference.decode import decode
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches
from comflp.errors import ComflpError
from comflp.inference.prefix_tree import PrefixTree
from comflp.proposal import PruningProposal
from comflp.scoring import error_rate
from comflp.search.fine.bootstrap import difference, difference_intervals, rate_interval
from comflp.search.coarse.candidate import Candidate
from comflp.search.fine.evaluate import evaluate
from comflp.search.fine.ranking import fine_search, rank


def all_candidates(num_layers=5, sizes=(2, 3)):
    """Every proposal that removes a number of layers in ``sizes``, with a made-up quality."""
    sets = [layers for size in sizes for layers in itertools.combinations(range(1, num_layers + 1), size)]
    return [Candidate(PruningProposal.from_layers(layers, num_layers), 1 / (1 + i)) for i, layers in enumerate(sets)]


def distinct_prefixes(candidates):
    kept = [candidate.proposal.kept for candidate in candidates]
    return len({layers[:length] for layers in kept for length in range(1, len(layers) + 1)})


def references(data):
    return {utterance.utt_id: utterance.text for utterance in data}


@pytest.mark.parametrize("metric", ["cer", "wer"])
def test_texts_and_counts_are_those_of_each_pruned_model_by_itself(make_model, make_data, metric):
    model, data, candidates = make_model(num_layers=5), make_data(), all_candidates()
    found = fine_search(model, candidates, data, metric=metric, max_seconds=2.5)
    texts = []
    for candidate in candidates:
        alone = decode(model.prune(candidate.proposal), data)
        texts.append(tuple(alone.values()))
        assert found.evaluation.texts[candidate.proposal] == alone
        assert found.of(candidate.proposal).errors == error_rate(references(data), alone, metric)
    assert len(set(texts)) > len(candidates) // 2, "the candidates must differ for this test to mean anything"
    with pytest.raises(ComflpError, match="5 is not among the candidates"):
        found.of(PruningProposal.parse("5", num_layers=5))


def test_each_distinct_prefix_runs_once_a_batch_and_the_front_end_once(make_model, make_data):
    model, data, candidates = make_model(num_layers=5), make_data(), all_candidates()
    calls = {"frontend": 0, "layer": 0}
    model.features.register_forward_hook(lambda *_: calls.update(frontend=calls["frontend"] + 1))
    for layer in model.stacks["encoder"].layers:
        layer.register_forward_hook(lambda *_: calls.update(layer=calls["layer"] + 1))
    found = fine_search(model, candidates, data, max_seconds=2.5).evaluation
    batches = len(make_batches(data.utterances, max_seconds=2.5))
    assert batches > 2
    assert calls["frontend"] == found.frontend_runs == found.num_batches == batches
    assert calls["layer"] == found.layer_runs == batches * distinct_prefixes(candidates)


def test_states_held_at_a_time_are_bounded_by_the_depth(make_model, make_data):
    model, data, candidates = make_model(num_layers=7), make_data(1), all_candidates(7, sizes=(2, 3, 4))
    alive, most = weakref.WeakSet(), 0

    def watch(module, inputs, output):
        nonlocal most
        alive.add(output)
        most = max(most, len(alive))

    for layer in model.stacks["encoder"].layers:
        layer.register_forward_hook(watch)
    gc.disable()
    try:
        fine_search(model, candidates, data)
    finally:
        gc.enable()
    assert most <= 7 + 1 < distinct_prefixes(candidates)


def test_a_tree_deeper_than_pythons_recursion_limit(make_model, make_data):
    model = make_model(num_layers=1)
    layer = model.stacks["encoder"].layers[0]
    model.encoder_layers = torch.nn.ModuleList([layer] * 1200)
    proposal = PruningProposal.parse("3-4", num_layers=1200)
    with evaluation(model):
        (batch,) = load_batches(model, [make_data(1).utterances])
        ((found, state, runs),) = PrefixTree([proposal], model.path).walk(model, model.begin(batch))
    assert (found, runs) == (proposal, 1198) and state.hidden.ndim == 3


def test_the_best_comes_first_and_ties_go_to_quality_then_layers(make_model, make_data):
    model, data = make_model(num_layers=4), make_data()
    for layer in model.stacks["encoder"].layers:
        for name in ("linear2", "self_attn.out_proj"):
            layer.get_submodule(name).weight.data.zero_()
            layer.get_submodule(name).bias.data.zero_()
    candidates = [Candidate(PruningProposal.parse(text, num_layers=4), q) for text, q in
                  (("4", 0.5), ("3", 0.5), ("2", 0.9), ("1", None))]
    found = fine_search(model, candidates, data)
    assert [str(result.proposal) for result in found.results] == ["2", "3", "4", "1"]
    assert [result.rank for result in found.results] == [1, 2, 3, 4]
    assert {result.errors.rate for result in found.results} == {found.best.errors.rate}
    different = fine_search(make_model(num_layers=4), candidates, data)
    rates = [result.errors.rate for result in different.results]
    assert rates == sorted(rates) and len(set(rates)) > 1
    assert different.best.difference_interval == (0.0, 0.0)


def test_lists_of_several_n_walked_together_rank_as_they_do_alone(make_model, make_data):
    model, data = make_model(num_layers=5), make_data()
    lists = [all_candidates(sizes=(size,)) for size in (1, 2, 3)]
    together = evaluate(model, [c.proposal for part in lists for c in part], data)
    for part in lists:
        assert rank(together, part).results == fine_search(model, part, data).results
    alone = sum(fine_search(model, part, data).evaluation.layer_runs for part in lists)
    assert together.layer_runs < alone


def test_bootstrap_interval_covers_the_difference_and_needs_pairs():
    rng = np.random.default_rng(5)
    hard = rng.integers(0, 8, size=200)
    first = np.stack([hard, hard * 0, hard * 0, 20 - hard], axis=1)
    second = first + (rng.random(200) < 0.3)[:, None] * np.array([1, 0, 0, -1])
    ((low, high),) = difference_intervals(second[None], first, seed=0)
    exact = 100 * (second[:, 0].sum() - first[:, 0].sum()) / (200 * 20)
    assert 0 < low < exact < high < 2.5
    ((low, high),) = difference_intervals(second[rng.permutation(200)][None], first, seed=0)
    assert low < 0 < high, "without pairing, the utterances' own spread hides the difference"
    assert difference_intervals(second[None], first, seed=1) != difference_intervals(second[None], first, seed=0)


def test_many_speakers_are_drawn_whole():
    """One of six speakers has all the errors: over utterances the rate looks far surer than over speakers."""
    speakers = [f"s{number % 6}" for number in range(600)]
    counts = np.array([[5, 0, 0, 5] if speaker == "s0" else [0, 0, 0, 10] for speaker in speakers])
    (low, high), (widest_low, widest_high) = rate_interval(counts), rate_interval(counts, speakers=speakers)
    assert 5 < low < 100 / 12 < high < 12 and widest_low == 0 and widest_high > 15
    assert rate_interval(counts, speakers=["one"] * 600) == (low, high)


def test_as_many_utterances_as_are_said_tell_two_models_apart():
    rng = np.random.default_rng(5)

    def drawn(size):
        wrong = rng.random((2, size)) < [[0.10], [0.13]]
        return np.stack([wrong, wrong * 0, wrong * 0, ~wrong], axis=2).astype(np.int64)

    few = difference(*drawn(300))
    assert few.tied and few.utterances_to_tell > 300
    many = difference(*drawn(20_000))
    assert not many.tied and 300 < many.utterances_to_tell < 20_000
    assert difference(np.ones((4, 4)), np.ones((4, 4))).utterances_to_tell is None


def test_ranked_json_names_the_deep_model_and_the_ties(make_model, make_data):
    model, data = make_model(num_layers=4), make_data()
    deep = evaluate(model, [PruningProposal(4, ())], data)
    found = replace(fine_search(model, all_candidates(num_layers=4), data), deep=deep).as_json()
    assert found["deep"]["error_rate"] == error_rate(references(data), decode(model, data)).rate
    for entry in found["results"]:
        low, high = entry["difference_interval"]
        assert entry["tied_with_best"] == (low <= 0 <= high)
        assert entry["interval"][0] <= entry["error_rate"] <= entry["interval"][1]
        low, high = entry["deep_difference_interval"]
        assert low <= entry["error_rate"] - found["deep"]["error_rate"] <= high


@pytest.mark.parametrize("race", [False, True])
def test_a_killed_search_goes_on_and_gives_the_same(make_model, make_data, tmp_path, race):
    model, data, candidates = make_model(num_layers=5), make_data(20), all_candidates()
    options = {"max_seconds": 1.5, "race": race}
    whole = fine_search(model, candidates, data, **options)
    assert whole.evaluation.num_batches > 6
    with pytest.raises(KeyboardInterrupt):
        fine_search(model, candidates, data, **options, work=tmp_path / "work", progress=stopping_after(2))
    (journal,) = (tmp_path / "work").iterdir()
    kept = journal.read_bytes()
    with open(journal, "ab") as file:
        file.write(b'{"index": 1, "res')
    resumed = fine_search(model, candidates, data, **options, work=tmp_path / "work")
    assert journal.read_bytes().startswith(kept)
    assert resumed.results == whole.results
    assert resumed.evaluation.layer_runs == whole.evaluation.layer_runs


def test_partial_results_of_other_candidates_are_not_used(make_model, make_data, tmp_path):
    model, data, candidates = make_model(num_layers=5), make_data(), all_candidates()
    fine_search(model, candidates[:4], data, work=tmp_path / "work")
    assert fine_search(model, candidates, data, work=tmp_path / "work").results == fine_search(model, candidates, data).results


def test_a_race_drops_what_is_behind_and_keeps_the_winner(make_model, make_data):
    model, data, candidates = make_model(num_layers=5), make_data(40), all_candidates()
    texts = decode(model.prune(candidates[7].proposal), data)
    data = DataDir(data.path, [replace(utterance, text=texts[utterance.utt_id] or "a") for utterance in data])
    full = fine_search(model, candidates, data, max_seconds=3.0)
    raced = fine_search(model, candidates, data, max_seconds=3.0, race=True)
    assert raced.best.proposal == full.best.proposal == candidates[7].proposal
    assert raced.best.errors == full.best.errors
    dropped = [result for result in raced.results if result.dropped_after is not None]
    assert dropped and all(0 < result.dropped_after < len(data) for result in dropped)
    assert all(result.dropped_after is None for result in full.results)
    assert raced.evaluation.layer_runs < full.evaluation.layer_runs
    for result in dropped:
        assert result.errors.ref_length < raced.best.errors.ref_length
        assert result.rank > len(raced.results) - len(dropped)
        less, (low, high) = raced.less_best(result), result.difference_interval
        assert low <= less.value <= high and less.num_utterances == result.dropped_after, "both on what it was tried on"


def test_a_proposal_for_another_model_is_refused(make_model, make_data):
    with pytest.raises(ComflpError, match="for a model of 5 layers, this one has 4"):
        fine_search(make_model(num_layers=4), all_candidates(5), make_data(1))
    with pytest.raises(ComflpError, match="no proposal"):
        fine_search(make_model(num_layers=4), [], make_data(1))
