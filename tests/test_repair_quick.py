"""Candidates held to the deep model after a quick repair of each, without any text."""

import math

import pytest

from comflp.data.data_dir import subset
from comflp.inference.output_change import model_divergence, output_changes
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.repair import Calibration
from comflp.search.coarse.candidate import Candidate
from comflp.repair.quick import RepairedCosts, ordered_by_repair

PROPOSALS = [PruningProposal.parse(text, 4) for text in ("1", "2", "3", "4", "1-2", "3-4")]


@pytest.fixture
def speech(make_model, make_data, tmp_path):
    return Speech(make_model(4), make_data(24), work=tmp_path / "partial")


def refused(*_):
    raise AssertionError("nothing is to be asked")


@pytest.mark.filterwarnings("ignore:.*utterances would do")
def test_costs_are_of_repairs_whose_refits_all_stay_on_speech_that_none_was_fitted_on(speech):
    found = RepairedCosts(speech, 5, 3, refused, few=4)(PROPOSALS[:3])
    drawn = speech.drawn(20, 3)
    held_out = Speech(speech.model, subset(drawn.data, 5, 3))
    for proposal, cost in found.items():
        repaired = Calibration(drawn, 3, held_out=0.25, lenient=True).repair(speech.model.prune(proposal))
        about = repaired.origin["pruning"][-1]["repair"]
        assert about["utterances"] == 20 and not about["kept"]
        assert cost == about["divergence"][1] == pytest.approx(model_divergence(held_out, repaired), rel=1e-4)
    assert len(set(found.values())) == 3 and min(found.values()) > 0


def test_only_the_best_by_what_they_cost_before_are_repaired(speech):
    def divergences(proposals):
        assert sorted(proposals) == PROPOSALS[:4], "of two there are no more than are wanted"
        return output_changes(speech, proposals, "kl")

    found = RepairedCosts(speech, 4, 0, divergences, few=2)(PROPOSALS)
    before = output_changes(speech, PROPOSALS[:4], "kl")
    assert sorted(p for p, cost in found.items() if cost < math.inf) == sorted([*sorted(before, key=before.get)[:2], *PROPOSALS[4:]])


def test_the_best_after_a_repair_come_first_and_nothing_is_repaired_twice(speech, monkeypatch):
    costs = RepairedCosts(speech, 4, 0, refused, few=4)
    found = costs(PROPOSALS[:4])
    monkeypatch.setattr(Calibration, "repair", refused)
    ordered = ordered_by_repair(costs, {"all": [Candidate(p, 0.0) for p in PROPOSALS[:4]], "two": [Candidate(p, 0.0) for p in PROPOSALS[:2]]}, 3)
    best = sorted(found, key=lambda proposal: (found[proposal], proposal))
    assert [(c.proposal, -c.quality) for c in ordered["all"]] == [(p, found[p]) for p in best[:3]] and len(ordered["two"]) == 2
    assert RepairedCosts(speech, 4, 0, refused, few=4)(PROPOSALS[:4]) == found, "a killed search goes on from its work directory"
