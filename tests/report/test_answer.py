"""The recommendation: fewest parameters within the budget, chosen on dev and reported on test, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest

from comflp.experiment import counts_of
from comflp.proposal import PruningProposal
from comflp.report.answer import answer, facts, headline, tiles, warnings
from comflp.report.choices import Choice, Speed
from comflp.report.collect import Experiment
from comflp.report.rates import Counts, Rate
from comflp.costs import Costs, ModelCosts
from comflp.result_names import FineTuned, ProposalName
from comflp.target import LayerCounts

SIZE = Costs(12_000.0, {"encoder": 500.0})
EXPERIMENT = Experiment("m", None, costs=ModelCosts({"encoder": 12}, {"encoder": 11}, SIZE, SIZE, SIZE))


def rate(value, num_utterances=100):
    """One error rate in percent, of which some utterances have all the errors."""
    wrong = np.zeros((num_utterances, 4), dtype=int)
    wrong[:, 3] = 100
    errors = round(value * num_utterances)
    for row in range(num_utterances):
        wrong[row, 0] = min(100, max(errors - 100 * row, 0))
        wrong[row, 3] -= wrong[row, 0]
    return Rate(value, value * 0.8, value * 1.2, num_utterances, Counts(tuple(f"u{i:03d}" for i in range(num_utterances)), wrong, ()))


def choice(name, removed, dev, test, state="fine-tuned", times=1.5):
    rates = {data: rate(value) for data, value in (("dev", dev), ("test", test)) if value is not None}
    if removed is None:
        return Choice((), "deep", None, None, None, "deep", rates, 12, 12_000.0, 10.0, None, Speed(1.0, False))
    proposal = PruningProposal.parse(removed, num_layers=12)
    return Choice((ProposalName(name),), state, counts_of(proposal), proposal, None, f"prune/{name}", rates, len(proposal.kept),
                  12_000.0 - 500 * proposal.num_removed, 5.0, None, Speed(times, False))


DEEP = choice("deep", None, 2.0, 2.1)
MODELS = [DEEP, choice("four", "1,3,5,7", 2.1, 2.2), choice("six", "1,3,5,7,9,11", 2.9, 3.4), choice("top", "7-12", 2.95, 3.0)]


@pytest.mark.parametrize(("budget", "name", "within"), [(1.0, "six", True), (0.5, "four", True), (0.05, "four", False)])
def test_fewest_parameters_within_the_budget_on_dev(budget, name, within):
    found = answer(EXPERIMENT, MODELS, budget)
    assert (str(found.choice.names[0]), found.within) == (name, within)


def test_a_rise_of_just_the_budget_is_within():
    """5 errors of 300 are 1 point above 2, whatever their quotients round to."""
    deep, pruned = replace(DEEP, rates={"dev": Rate(100 * 2 / 300)}), replace(MODELS[2], rates={"dev": Rate(100 * 5 / 300)})
    assert answer(EXPERIMENT, [deep, pruned], 1.0).within


def test_test_set_reports_but_does_not_choose():
    found = answer(EXPERIMENT, MODELS, 1.0)
    assert (found.chosen_on, found.shown_on, found.rate.value, found.deep_rate.value) == ("dev", "test", 3.4, 2.1)


def test_headline_says_layers_state_and_what_the_difference_is_worth():
    found = answer(EXPERIMENT, MODELS, 1.0)
    lines = headline(EXPERIMENT, found, "CER")
    assert lines[0] == "Remove 6 of 12 layers: 1,3,5,7,9,11."
    said = " ".join(lines)
    assert "Within 1 point of CER of the deep model on dev" in said and "the fine-tuned model" in said
    assert "Not distinguishable from the deep model on 100 utterances of test: +1.30 points of CER" in said
    assert "would tell them apart" in said and "Not distinguishable on dev from Top drop, fine-tuned" in said
    assert [tile[0] for tile in tiles(found, "CER")] == ["CER on test, fine-tuned", "Layers", "Parameters", "Size", "Speed"]
    assert tiles(found, "CER")[0][1:] == ("3.40% (2.72–4.08)", "deep 2.10% (1.68–2.52)")
    assert facts(found, 1.0)["difference"]["tied"] is True and facts(found, 1.0)["num_removed"] == {"encoder": 6}


def test_a_pruned_model_that_is_better_than_its_repaired_form_says_so():
    pruned = choice("six", "7-12", 2.5, 2.6, "pruned")
    told = " ".join(headline(EXPERIMENT, answer(EXPERIMENT, [DEEP, pruned, choice("six", "7-12", 2.7, 2.4, "repaired")], 1.0), "CER"))
    assert "neither repaired nor fine-tuned; repaired it has 2.70% on dev." in told
    assert "both mostly make it better." in " ".join(headline(EXPERIMENT, answer(EXPERIMENT, [DEEP, pruned], 1.0), "CER"))


def test_headline_where_nothing_is_within():
    assert headline(EXPERIMENT, answer(EXPERIMENT, MODELS, 0.05), "CER")[0].startswith("No model stays within 0.05 points of CER")


def test_after_stage_3_it_is_a_prediction():
    predicted = [choice(name, removed, None, None, "predicted") for name, removed in (("dc", "3-4"), ("svcca", "2-7"))]
    found = answer(EXPERIMENT, predicted, 1.0)
    lines = headline(EXPERIMENT, found, "CER")
    assert lines[0] == "Predicted: remove 6 of 12 layers: 2-7." and "nothing has been decoded" in lines[1]


def test_without_the_deep_models_rate_nothing_is_within_or_not():
    found = answer(EXPERIMENT, MODELS[1:], 1.0)
    assert found.within is None and "has not been decoded" in " ".join(headline(EXPERIMENT, found, "CER"))


def test_nothing_is_recommended_where_nothing_is_proposed():
    assert answer(EXPERIMENT, [DEEP], 1.0) is None
    assert headline(EXPERIMENT, None, "CER")[0].startswith("No recommendation yet")
    assert tiles(None, "CER") == [] and facts(None, 1.0)["recommended"] is None


def test_a_weak_deep_model_and_a_longer_training_are_warned_of():
    weak = [choice("deep", None, 31.0, 30.5), choice("six", "7-12", 31.5, 32.0)]
    first, second = warnings(EXPERIMENT, weak, answer(EXPERIMENT, weak, 1.0), "CER")
    assert "30.50% CER on test, above 30%" in first and "trained for longer" in second
    [only] = warnings(EXPERIMENT, MODELS, answer(EXPERIMENT, MODELS, 1.0), "CER")
    assert "trained for longer" in only


def test_a_choice_of_unknown_size_is_not_the_smallest():
    """Nobody has counted the parameters where stage 4 has not run."""
    unknown = replace(choice("typed", "2", 2.8, 2.8), parameters=None)
    assert [str(name) for name in answer(EXPERIMENT, [*MODELS, unknown], 1.0).choice.names] == ["six"]


def test_trainings_of_the_deep_model_are_told_apart():
    ways = [FineTuned(), FineTuned(tag="e2"), FineTuned(distill="both")]
    labels = [replace(DEEP, counts=LayerCounts({"encoder": 0}), settings=settings).label for settings in ways]
    assert labels == ["Deep model, trained on", "Deep model, trained on (e2)", "Deep model, trained on (distill both)"]
