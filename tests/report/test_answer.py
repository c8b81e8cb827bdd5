"""The recommendation: fewest layers within the budget, chosen on dev and reported on test."""

from dataclasses import replace

import pytest

from comflp.proposal import PruningProposal
from comflp.report.answer import headline, recommend, speed_up
from comflp.report.collect import Experiment, Model, Run
from comflp.result_names import FineTuned, ProposalName


def model(path, num_layers, dev, test, rtf=0.01):
    def score(rate):
        return {"error_rate": rate, "rtf": rtf, "num_layers": num_layers, "num_parameters": num_layers * 1000}
    return Model(path, {"dev": score(dev), "test": score(test)}, num_layers / 10)


def run(name, removed, dev, test, rtf=0.005):
    proposal = PruningProposal.parse(removed, num_layers=12)
    made = model(f"prune/{name}/finetuned", len(proposal.kept), dev, test, rtf)
    return Run(proposal.num_removed, ProposalName(name), FineTuned(), proposal, None, None, made, [], {})


@pytest.fixture
def experiment():
    runs = run("four", "1,3,5,7", dev=2.1, test=2.2), run("six", "1,3,5,7,9,11", dev=2.9, test=3.4), run("top", "7-12", 2.95, 3.0)
    return Experiment("m", model("deep", 12, dev=2.0, test=2.1), runs=runs)


@pytest.mark.parametrize(("budget", "name", "within"), [(1.0, "six", True), (0.5, "four", True), (0.05, "four", False)])
def test_fewest_layers_within_the_budget_on_dev(experiment, budget, name, within):
    found = recommend(experiment, budget)
    assert (str(found.run.name), found.within) == (name, within)


def test_test_set_reports_but_does_not_choose(experiment):
    found = recommend(experiment, 1.0)
    assert (found.chosen_on, found.shown_on, found.rate, found.deep_rate) == ("dev", "test", 3.4, 2.1)


def test_headline_says_layers_rates_and_speed(experiment):
    first, second = headline(experiment, recommend(experiment, 1.0), 1.0, "CER")
    assert first == "Remove 6 of 12 layers: 1,3,5,7,9,11."
    assert "on dev" in second and "from 2.10% to 3.40% (+1.30)" in second and "2.00 times as fast" in second


def test_headline_where_nothing_is_within(experiment):
    first, _ = headline(experiment, recommend(experiment, 0.05), 0.05, "CER")
    assert first.startswith("No pruned model stays within 0.05 points of CER")


def test_a_model_trained_anew_is_not_called_pruned(experiment):
    best = replace(experiment.runs[1], name=ProposalName("scratch"), proposal=None, num_prune=6)
    first, second = headline(experiment, recommend(replace(experiment, runs=(best,)), 1.0), 1.0, "CER")
    assert first == "Train a model of 6 layers anew instead of pruning 6 of 12."
    assert second.startswith("This model (Scratch) stays within 1 point of CER on dev.")


def test_measured_speed_counts_more_than_decoding_times(experiment):
    found = recommend(experiment, 1.0)
    rows = [{"path": path, "format": "torch", "rtf": {"1": value}} for path, value in (("deep", 0.03), (found.model.path, 0.01))]
    assert speed_up(replace(experiment, deployment={"rows": rows}), found.model)[0] == pytest.approx(3.0)


def test_nothing_is_recommended_before_decoding(experiment):
    assert recommend(replace(experiment, deep=None), 1.0) is None
    assert recommend(replace(experiment, runs=()), 1.0) is None
    assert headline(replace(experiment, runs=()), None, 1.0, "CER")[0].startswith("No recommendation yet: stage 5")
