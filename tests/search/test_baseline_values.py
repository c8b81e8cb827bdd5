"""comflp.search.baselines.baseline and comflp.search.lists: how each baseline proposes, of one stack and of several, and what is
chosen from a list."""

import dataclasses
from pathlib import Path

import pytest

from comflp.errors import ComflpError
from comflp.experiment import Layout
from comflp.proposal import JointProposal, PruningProposal
from comflp.result_names import ListName, ProposalName
from comflp.search import BlockMatrix, Candidate, baselines, coarse_search
from comflp.search.baselines import baseline
from comflp.search.baselines.greedy_loss import greedy, greedy_by_loss
from comflp.search.baselines.linear_probe import ProbeResult
from comflp.search.coarse.stacks import StackMatrices
from comflp.search.fine.ranking import fine_search
from comflp.search.lists import CandidateList, RankedFiles, baseline_list, measure_list
from comflp.target import LayerCounts
from comflp.artifacts import read_json, write_json
from fixtures.every_proposal import random_matrix


@dataclasses.dataclass(frozen=True)
class Layers:
    num_layers: int
    must_stay: dict = dataclasses.field(default_factory=dict)


ONE = {"encoder": Layers(6)}
TWO = {"encoder": Layers(6, {2: "it subsamples"}), "decoder": Layers(4)}


def texts(entry, stacks, **counts):
    return [str(proposal) for proposal in entry.propose(LayerCounts({stack: counts.get(stack, 0) for stack in stacks}))]


@pytest.mark.parametrize("name", baselines.FIXED)
def test_rules_in_one_stack_and_in_two(name):
    rule = baselines.FIXED[name]
    assert baseline.fixed(name, ONE).propose(LayerCounts({"encoder": 2})) == rule(6, 2)
    both = baseline.fixed(name, TWO).propose(LayerCounts({"encoder": 1, "decoder": 2}))
    parts = [(e, d) for e in rule(6, 1, [2]) for d in rule(4, 2)]
    assert both == [JointProposal({"encoder": e, "decoder": d}) for e, d in parts]


def test_a_stack_that_loses_nothing_is_left_alone():
    assert texts(baseline.fixed("top", TWO), TWO, decoder=1) == ["decoder=4"]
    assert texts(baseline.fixed("uniform", TWO), TWO, decoder=2) == ["decoder=1,3", "decoder=2,4"]
    assert set(texts(baseline.random(TWO, seed=0), TWO, decoder=1)) == {f"decoder={layer}" for layer in (1, 2, 3, 4)}


def test_random_draws():
    assert baseline.random(ONE, seed=3).propose(LayerCounts({"encoder": 2})) == baselines.random(6, 2, seed=3)
    drawn = baseline.random(TWO, seed=3).propose(LayerCounts({"encoder": 2, "decoder": 2}))
    assert len(set(drawn)) == baselines.NUM_RANDOM
    for proposal in drawn:
        assert (proposal.of("encoder").num_removed, proposal.of("decoder").num_removed) == (2, 2)
        assert 2 not in proposal.of("encoder").removed
    every = {p for seed in range(60) for p in baseline.random(TWO, seed).propose(LayerCounts({"encoder": 1, "decoder": 1}))}
    assert len(every) == 5 * 4


def test_baselines_that_look_at_something():
    matrix = BlockMatrix(random_matrix(6, seed=1))
    worst = baseline.reverse(StackMatrices({"encoder": matrix}), "f00", Path("dc.record.json"))
    assert worst.propose(LayerCounts({"encoder": 3})) == [c.proposal for c in coarse_search(matrix, 3, reverse=True)]
    assert (worst.choice, worst.identity, worst.upstream) == ("first", ("reverse", "f00"), (Path("dc.record.json"),))
    probed = ProbeResult((6.0, 5.0, 5.5, 3.0, 2.9))
    entry = baseline.linear_probe(lambda: probed, "f00", 100, {"encoder": Layers(4)})
    assert entry.propose(LayerCounts({"encoder": 2})) == [probed.proposal(2)]
    assert entry.details() == {"probe_losses": list(probed.losses), "layer_gains": list(probed.gains)}
    assert baseline.glp(ONE).propose is None


def test_greedy_goes_step_by_step_and_only_where_a_stack_is_to_lose_more():
    """A layer costs its number, and two of the decoder much more than the sum: what is gone is looked at together."""
    def cost(proposal):
        encoder, decoder = (proposal.of(stack).removed for stack in ("encoder", "decoder"))
        return sum(encoder) + sum(decoder) + (10 if decoder in ((1, 2), (1, 3)) else 0)

    calls = []

    def costs(proposals):
        calls.append(list(proposals))
        return {proposal: cost(proposal) for proposal in proposals}

    stacks = {"encoder": Layers(5), "decoder": Layers(5)}
    wanted = [LayerCounts({"encoder": 1, "decoder": 0}), LayerCounts({"encoder": 1, "decoder": 2})]
    found = greedy_by_loss(costs, stacks, wanted)
    assert [str(found[counts]) for counts in wanted] == ["encoder=1", "encoder=1+decoder=1,4"]
    assert len(calls) == 3 and len(calls[0]) == len(set(calls[0])) == 10, "what both look at is run once"


def test_some_baselines_are_of_one_stack():
    for make in (baseline.glp, lambda stacks: baseline.linear_probe(lambda: None, "", 1, stacks)):
        with pytest.raises(ComflpError, match="of models of one stack, and this one has encoder, decoder"):
            make(TWO)


def test_what_a_record_says_of_a_baseline_changes_with_what_it_looks_at():
    kept = {"encoder": Layers(6, {2: "it subsamples"})}
    makers = [lambda s: baseline.fixed("top", s), lambda s: baseline.random(s, 0), baseline.glp,
              lambda s: baseline.linear_probe(lambda: None, "f00", 5, s)]
    for make in makers:
        assert make(ONE).identity != make(kept).identity == (*make(ONE).identity, {"encoder": [2]})


def test_names():
    made = [*(baseline.fixed(name, ONE) for name in baselines.FIXED), baseline.random(ONE, 0), baseline.glp(ONE),
            baseline.reverse(StackMatrices({"encoder": BlockMatrix(random_matrix(6, 0))}), "", Path()),
            baseline.linear_probe(lambda: None, "", 1, ONE), greedy(lambda proposals: {}, ONE, [])]
    assert {entry.name for entry in made} == set(baseline.NAMES)


def ranked(model, data, entry):
    return fine_search(model, entry.candidates, data)


def test_what_is_chosen_from_a_list_and_what_is_written(make_model, make_data, tmp_path):
    model, data, layout, counts = make_model(num_layers=5), make_data(4), Layout(tmp_path / "exp"), LayerCounts({"encoder": 2})
    matrix = BlockMatrix(random_matrix(5, seed=0))
    found = coarse_search(matrix, 2, 4)
    content = {"num_layers": 5, "num_prune": 2, "candidates": [candidate.as_dict() for candidate in found]}
    for name in (ListName("dc"), ListName("dc", reverse=True)):
        write_json(layout.list(counts, name).candidates, content)
    lists = [measure_list(layout, counts, "dc"), measure_list(layout, counts, "dc", reverse=True),
             baseline_list(baseline.random({"encoder": Layers(5)}, 0), counts, matrix.quality)]
    for entry in lists:
        files = RankedFiles(layout, entry, "cer", {"seed": 0}, {"model": "f00"})
        assert not files.up_to_date()
        result = ranked(model, data, entry)
        assert str(result.best.proposal) in files.write(result)
        assert RankedFiles(layout, entry, "cer", {"seed": 0}, {"model": "f00"}).up_to_date()
        with pytest.raises(ComflpError, match="seed: 0 before, 1 now"):
            RankedFiles(layout, entry, "cer", {"seed": 1}, {"model": "f00"}).up_to_date()
    results = {str(entry.name): ranked(model, data, entry) for entry in lists}
    chosen = {
        name: read_json(layout.named(counts, ProposalName.parse(name)).proposal)["proposal"]
        for name in ("dc_coarse", "dc_fine", "random")
    }
    assert chosen == {"dc_coarse": str(found[0].proposal), "dc_fine": str(results["dc"].best.proposal),
                      "random": str(lists[2].candidates[0].proposal)}
    assert not layout.named(counts, ProposalName("dc", "reverse")).proposal.exists()
    drawn = read_json(layout.list(counts, ListName("random")).candidates)
    assert drawn["candidates"] == [candidate.as_dict() for candidate in lists[2].candidates]
    assert [c.quality for c in lists[2].candidates] == [matrix.quality(c.proposal) for c in lists[2].candidates]


def test_candidates_are_found_when_they_are_needed_and_once():
    calls = []
    found = [Candidate(PruningProposal(3, ((1, 1),)), 0.5)]
    entry = CandidateList(LayerCounts({"encoder": 1}), ListName("x"), lambda: calls.append(1) or found, [], {})
    assert not calls and entry.proposals == [found[0].proposal] and entry.candidates is found and len(calls) == 1
