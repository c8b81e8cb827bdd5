"""Candidates run freely: what each pruned model writes by itself against what the deep model writes, without any text."""

import dataclasses

import numpy as np
import pytest
import soundfile
from fixtures.transducers import make_rnnt
from fixtures.whisper import SAMPLE_RATE, make_whisper

import comflp.models
from comflp.data.data_dir import DataDir, Utterance
from comflp.inference.decode import decode
from comflp.inference.hypotheses import on_own_hypotheses
from comflp.inference.output_change import joined, output_changes
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.scoring import total_of, utterances_errors
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.free_runs import ordered_by_free_runs, text_distances

HYPOTHESES = {"u0": (0, 1, 2), "u1": (3,), "u2": (4, 4, 1, 0)}
"""Of a Whisper of random weights, whose own search never ends."""


def whisper(directory):
    make_whisper(directory, encoder_layers=3, decoder_layers=3, seed=6)
    proposals = ("decoder=1", "decoder=2", "decoder=3", "encoder=2", "encoder=1+decoder=2-3")
    return comflp.models.load(directory, language="it"), proposals, HYPOTHESES


def rnnt(directory):
    return comflp.models.load(make_rnnt(directory)), ("1", "2", "3", "4", "1-2"), None


@pytest.fixture(scope="module", params=[whisper, rnnt])
def heard(request, tmp_path_factory):
    """(speech, proposals): three utterances whose texts say nothing true."""
    model, names, hypotheses = request.param(tmp_path_factory.mktemp("model"))
    folder, rng, utterances = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    for number, seconds in enumerate((0.5, 0.8, 1.3)):
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.2 * rng.standard_normal(int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
        utterances.append(Utterance(f"u{number}", str(path), "~ not what is said ~", "s", seconds))
    several = {name: stack.num_layers for name, stack in model.stacks.items()} if len(model.stacks) > 1 else model.num_layers
    proposals = [PruningProposal.parse(name, several) for name in names]
    return on_own_hypotheses(Speech(model, DataDir(folder, utterances), hypotheses=hypotheses)), proposals


def test_distances_are_those_of_each_pruned_models_own_texts(heard):
    speech, proposals = heard
    found = text_distances(speech, [speech.model.nothing, *proposals])
    own = speech.model.texts({"": list(map(list, speech.hypotheses.values()))}, speech.data.utterances)[""]
    for proposal, distance in found.items():
        alone = decode(speech.model.prune(proposal), speech.data, hypotheses=speech.hypotheses)
        errors = utterances_errors(own, [alone[key] for key in speech.hypotheses], "cer", "basic")
        assert distance == pytest.approx(total_of([each.capped for each in errors]).rate / 100)
    assert len(set(found.values())) > 1 and max(found.values()) <= 1 + own.count("")  # words made up where it wrote none count as one
    assert found[speech.model.nothing] == 0 or speech.hypotheses == HYPOTHESES, "what the deep model wrote is no distance from itself"


def test_candidates_come_in_the_order_of_divergence_and_text(heard):
    speech, proposals = heard
    costs = output_changes(speech, proposals, "kl")
    by_divergence = sorted((Candidate(p, -costs[p]) for p in proposals), key=lambda c: -c.quality)
    found = ordered_by_free_runs(speech, {"all": by_divergence, "two": by_divergence[-2:]}, 4)
    distances = text_distances(speech, proposals)
    expected = sorted((joined([costs[p], distances[p], distances[p]]), p) for p in proposals)
    assert [(-c.quality, c.proposal) for c in found["all"]] == expected[:4] and len(found["two"]) == 2
    untold = DataDir(speech.data.path, [dataclasses.replace(utterance, text="") for utterance in speech.data])
    assert ordered_by_free_runs(dataclasses.replace(speech, data=untold), {"all": by_divergence}, 4)["all"] == found["all"]
