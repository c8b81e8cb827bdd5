"""comflp.search.baselines.greedy: GLP by error rate on the shared walk."""

import pytest

from comflp.inference.decode import decode
from comflp.errors import ComflpError
from comflp.proposal import PruningProposal
from comflp.scoring import error_rate
from comflp.search.baselines.greedy import glp


def greedy_one_by_one(model, data, num_prune):
    """GLP as its paper has it: a pruned model for each candidate, decoded by itself."""
    references = {utterance.utt_id: utterance.text for utterance in data}
    removed, found, layer_runs = (), [], 0
    for _ in range(num_prune):
        scored = []
        for layer in set(range(1, model.num_layers + 1)) - set(removed):
            proposal = PruningProposal.from_layers((*removed, layer), model.num_layers)
            texts = decode(model.prune(proposal), data)
            scored.append((error_rate(references, texts).rate, proposal))
            layer_runs += len(proposal.kept)
        found.append(min(scored))
        removed = found[-1][1].removed
    return found, layer_runs


@pytest.mark.parametrize("cache_bytes", [0, 2**12, 2**30])
def test_glp_finds_what_evaluating_one_by_one_finds_whatever_the_cache(make_model, make_data, cache_bytes):
    model, data = make_model(num_layers=5, seed=3), make_data()
    expected, _ = greedy_one_by_one(model, data, 4)
    steps = glp(model, 4, data, cache_bytes=cache_bytes, max_seconds=2.0)
    assert [(step.best.errors.rate, step.best.proposal) for step in steps] == expected
    assert len({rate for rate, _ in expected}) > 1


def test_each_step_says_what_the_search_took_so_far(make_model, make_data):
    steps = glp(make_model(num_layers=5, seed=3), 3, make_data(4))
    assert [step.search_cost["models"] for step in steps] == [5, 5 + 4, 5 + 4 + 3]
    assert steps[2].search_cost["layer_runs"] == sum(step.evaluation.layer_runs for step in steps)
    assert steps[2].search_cost["seconds"] == pytest.approx(sum(step.evaluation.seconds for step in steps))


def test_states_of_the_step_before_are_used_again(make_model, make_data):
    model, data = make_model(num_layers=8, seed=3), make_data(4)
    _, one_by_one = greedy_one_by_one(model, data, 4)

    def runs(cache_bytes):
        evaluations = [step.evaluation for step in glp(model, 4, data, cache_bytes=cache_bytes)]
        batches = evaluations[0].num_batches
        return sum(e.layer_runs for e in evaluations) / batches, sum(e.frontend_runs for e in evaluations) / batches

    without, some, all_of_it = runs(0), runs(20000), runs(2**30)
    assert without[1] == 4 and all_of_it[1] == 1
    assert all_of_it[0] < some[0] < without[0] < one_by_one
    assert all_of_it[0] <= one_by_one / 2


def test_a_killed_glp_goes_on(make_model, make_data, tmp_path):
    model, data = make_model(num_layers=5, seed=3), make_data()
    seen = []

    def stop_in_the_second_step(iterable, desc, total):
        seen.append(desc)
        for number, item in enumerate(iterable):
            if len(seen) == 2 and number == 1:
                raise KeyboardInterrupt
            yield item

    options = {"max_seconds": 1.5, "work": tmp_path / "work"}
    with pytest.raises(KeyboardInterrupt):
        glp(model, 3, data, **options, progress=stop_in_the_second_step)
    resumed = glp(model, 3, data, **options)
    assert [step.results for step in resumed] == [step.results for step in glp(model, 3, data, max_seconds=1.5)]


@pytest.mark.parametrize("num_prune", [0, 5])
def test_n_must_leave_a_layer(make_model, make_data, num_prune):
    with pytest.raises(ComflpError, match="N is from 1 to 4"):
        glp(make_model(num_layers=5), num_prune, make_data(1))


def test_layers_that_must_stay_are_never_removed(make_model, make_data):
    steps = glp(make_model(num_layers=5, seed=3), 3, make_data(4), must_stay=(2, 5))
    assert [step.search_cost["models"] for step in steps] == [3, 3 + 2, 3 + 2 + 1]
    assert str(steps[-1].best.proposal) == "1,3-4"
    with pytest.raises(ComflpError, match="of which 2, 5 must stay; N is from 1 to 3"):
        glp(make_model(num_layers=5), 4, make_data(1), must_stay=(2, 5))
