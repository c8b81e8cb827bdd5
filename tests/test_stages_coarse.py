"""Stages 2 and 3 through their scripts, from hidden states to candidates."""

import json
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest
from fixtures.in_process import call

from comflp.measures import Speech, correlation_matrix, skip_matrix
from comflp.inference.output_change import output_changes
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, coarse_search
from comflp.repair.quick import RepairedCosts

LOCAL = Path(__file__).parent.parent / "local"


def stage(name, *options):
    """Run a stage script in this process; returns its status, and what it says."""
    done = call(f"local/{name}", [*map(str, options)], LOCAL)
    return done.status, done.said


@pytest.fixture
def values():
    """Hidden states of 60 utterances and 6 layers."""
    return np.random.default_rng(0).normal(size=(60, 7, 8)).cumsum(axis=1).astype(np.float32)


@pytest.fixture
def exp(tmp_path, values):
    """An experiment directory, with a space in its name, after stage 1."""
    directory = tmp_path / "exp dir"
    hidden = directory / "hidden"
    hidden.mkdir(parents=True)
    with open(hidden / "hidden.ark", "wb") as ark, open(hidden / "hidden.scp", "w") as scp:
        for number, matrix in enumerate(values):
            name = f"utt{number:02d}"
            scp.write(f"{name} {hidden}/hidden.ark:{ark.tell() + len(name) + 1}\n")
            kaldiio.save_ark(ark, {name: matrix})
    np.save(hidden / "frame_cosine.npy", np.full((7, 7), 0.25))
    return directory


def correlation(exp, measure, *options):
    return stage("stage2_correlation.py", "--hidden", exp / "hidden", "--out", exp / "correlation", "--measure", measure, *options)


def search(exp, *options):
    return stage("stage3_coarse_search.py", "--exp", exp, *options)


def test_from_hidden_states_to_candidates(exp, values):
    status, said = correlation(exp, "dc", "--seed", 3, "--batch-size", 8)
    assert status == 0, said
    matrix = np.load(exp / "correlation" / "dc.npy")
    np.testing.assert_array_equal(matrix, correlation_matrix(values, "dc", seed=3, batch_size=8))
    about = json.loads((exp / "correlation" / "dc.json").read_text())
    assert about["options"] == {"batch_size": 8, "num_batch": 10}
    assert (about["measure"], about["num_layers"], about["num_utterances"]) == ("dc", 6, 60)
    assert (exp / "correlation" / "dc.svg").read_text().startswith("<svg")
    assert "up to date" in correlation(exp, "dc", "--seed", 3, "--batch-size", 8)[1]
    status, said = correlation(exp, "dc", "--seed", 3)
    assert status == 1 and "batch_size: 8 before, 4 now" in said

    status, said = search(exp, "--measure", "dc", "--num-prune", "2:3", "--beam-size", 4)
    assert status == 0, said
    for num_prune in (2, 3):
        found = json.loads((exp / f"prune{num_prune}" / "dc" / "candidates.json").read_text())
        expected = [candidate.as_dict() for candidate in coarse_search(matrix, num_prune, 4)]
        beam = [candidate.as_dict() for candidate in coarse_search(matrix, num_prune, 4, "beam")]
        assert found["candidates"] == found["beam_against_exact"]["exact"] == expected
        assert found["beam_against_exact"]["beam"] == beam
        assert found["beam_against_exact"]["num_true_top"] == 4
        assert found["beam_against_exact"]["found_by_beam"] == sum(candidate in expected for candidate in beam)
        assert (found["method"], found["beam_size"], found["reverse"]) == ("exact", 4, False)
    assert "up to date" in search(exp, "--measure", "dc", "--num-prune", "3", "--beam-size", 4)[1]


def test_options_of_the_search(exp):
    assert correlation(exp, "svcca")[0] == 0
    options = ("--measure", "svcca", "--num-prune", 3, "--beam-size", 2)
    status, said = search(exp, *options, "--reverse", "--method", "beam", "--keep", "1,6", "--compare", "false")
    assert status == 0, said
    found = json.loads((exp / "prune3" / "svcca_reverse" / "candidates.json").read_text())
    assert found["must_stay"] == [1, 6]
    assert "beam_against_exact" not in found
    assert all(not {1, 6} & set(PruningProposal.parse(c["proposal"], 6).removed) for c in found["candidates"])


def test_layers_that_must_stay_stay_by_themselves(exp):
    """Stage 1's record says which; stage 2 hands it on, and stage 3 leaves them in."""
    record = {"stage": "stage1_dump_hidden_states", "options": {}, "origin": {}, "outputs": {}, "must_stay": {"encoder": {"3": "it subsamples"}}}
    (exp / "hidden" / "record.json").write_text(json.dumps(record))
    status, said = correlation(exp, "dc")
    assert status == 0, said
    assert json.loads((exp / "correlation" / "dc.json").read_text())["must_stay"] == {"3": "it subsamples"}
    status, said = search(exp, "--num-prune", 2, "--keep", 5)
    assert status == 0, said
    found = json.loads((exp / "prune2" / "dc" / "candidates.json").read_text())
    assert found["must_stay"] == [3, 5]
    assert len(found["candidates"]) == 6
    assert all(not {3, 5} & set(PruningProposal.parse(c["proposal"], 6).removed) for c in found["candidates"])


def test_cosine_is_of_frames(exp):
    assert correlation(exp, "cosine")[0] == 0
    matrix = np.load(exp / "correlation" / "cosine.npy")
    assert matrix[0, 1] == 0.25 and matrix[1, 1] == 1


def test_a_matrix_of_the_users_own(exp, tmp_path):
    """What the released code would find by its beam in a given matrix, by an implementation of its own."""
    rng = np.random.default_rng(4)
    matrix = rng.uniform(size=(13, 13))
    matrix = np.triu(matrix, 1) + np.triu(matrix, 1).T + np.eye(13)
    np.save(tmp_path / "own.npy", matrix)
    status, said = search(exp, "--matrix", tmp_path / "own.npy", "--measure", "own", "--num-prune", 6, "--method", "beam")
    assert status == 0, said
    beam = [()]
    for _ in range(6):
        extended = {tuple(sorted((*layers, new))) for layers in beam for new in range(1, 13) if new not in layers}
        quality = {layers: PruningProposal.from_layers(layers, 12).quality(matrix) for layers in extended}
        beam = sorted(extended, key=quality.get, reverse=True)[:10]
    found = json.loads((exp / "prune6" / "own" / "candidates.json").read_text())
    assert [PruningProposal.parse(c["proposal"], 12).removed for c in found["candidates"]] == beam


def test_skip_costs_from_the_model_to_refined_candidates(exp, tmp_path, make_model, make_data):
    model, data = make_model(num_layers=5), make_data(10)
    model.save(tmp_path / "deep")
    of_model = ("--model", tmp_path / "deep", "--data", data.path)
    status, said = correlation(exp, "skip_kl", *of_model, "--num-utterances", 6, "--seed", 2)
    assert status == 0, said
    speech = Speech(model, data)
    matrix = np.load(exp / "correlation" / "skip_kl.npy")
    np.testing.assert_array_equal(matrix, skip_matrix(speech, "skip_kl", seed=2, num_utterances=6))
    about = json.loads((exp / "correlation" / "skip_kl.json").read_text())
    assert (about["kind"], about["num_utterances"], about["options"]["max_block"]) == ("cost", 6, None)
    assert (exp / "correlation" / "skip_kl.svg").exists() and "between layers" in said

    options = ("--measure", "skip_kl", "--num-prune", "2:3", "--beam-size", 3, *of_model)
    status, said = search(exp, *options, "--refine", 7, "--refine-utterances", 8)
    assert status == 0, said
    for num_prune in (2, 3):
        found = json.loads((exp / f"prune{num_prune}" / "skip_kl" / "candidates.json").read_text())
        by_matrix = coarse_search(BlockMatrix(matrix, is_cost=True), num_prune, found["pool"])
        assert found["pool"] in (7, 10) and len(by_matrix) == found["pool"]
        true = output_changes(speech.drawn(8, 2), [c.proposal for c in by_matrix], "near+text")
        best = sorted(true, key=lambda p: (true[p], p.removed))[:3]
        assert [c["proposal"] for c in found["candidates"]] == [str(p) for p in best]
        assert [c["quality"] for c in found["candidates"]] == pytest.approx([-true[p] for p in best], rel=1e-5)
        assert found["refined"] == {"by": "near+text", "proposals": 7, "num_utterances": 8, "seed": 2}
        assert [c["proposal"] for c in found["beam_against_exact"]["exact"]] == [str(c.proposal) for c in by_matrix[:3]]
    assert "up to date" in search(exp, *options, "--refine", 7, "--refine-utterances", 8)[1]
    status, said = search(exp, *options)
    assert status == 1 and "refined" in said and "--force" in said
    status, said = search(exp, *options, "--refine", 7, "--refine-utterances", 8, "--refine-by", "ctc", "--force")
    by_ctc = json.loads((exp / "prune2" / "skip_kl" / "candidates.json").read_text())
    best = by_ctc["candidates"][0]
    proposal = PruningProposal.parse(best["proposal"], 5)
    assert status == 0 and by_ctc["refined"]["by"] == "ctc", said
    assert best["quality"] == pytest.approx(-output_changes(speech.drawn(8, 2), [proposal], "ctc")[proposal], rel=1e-5)
    status, said = search(exp, *options, "--refine", 7, "--refine-utterances", 2, "--refine-by", "repair", "--force")
    by_repair = json.loads((exp / "prune2" / "skip_kl" / "candidates.json").read_text())
    assert status == 0 and by_repair["refined"] == {"by": "repair", "proposals": 7, "num_utterances": 2, "seed": 2}, said
    ends = RepairedCosts(speech, 2, 2, None, 10)([PruningProposal.parse(c["proposal"], 5) for c in by_repair["candidates"]])
    assert [-c["quality"] for c in by_repair["candidates"]] == pytest.approx(sorted(ends.values()), rel=1e-5) and len(ends) == 3
    assert not list(exp.glob(".refine*")) and not list((exp / "correlation").glob(".skip*"))
    status, said = search(exp, *options, "--reverse", "--refine", 7)
    worst = json.loads((exp / "prune2" / "skip_kl_reverse" / "candidates.json").read_text())
    assert status == 0 and "refined" not in worst


def test_skip_costs_need_a_model_and_say_so(exp, tmp_path, make_data):
    status, said = correlation(exp, "skip_kl")
    assert status == 2 and "--measure skip_kl needs --model" in said
    status, said = correlation(exp, "skip_kl", "--model", tmp_path / "nowhere", "--data", make_data(3).path)
    assert status == 1 and "stage 0 (deep model) makes it" in said
    assert search(exp, "--num-prune", 2, "--refine", 5)[0] == 2


def test_errors_are_one_line(exp, tmp_path):
    np.save(tmp_path / "skewed.npy", np.triu(np.ones((5, 5))))
    cases = [
        (search(exp, "--num-prune", 3), "stage 2 (correlation) makes it"),
        (search(exp, "--num-prune", 3, "--matrix", tmp_path / "skewed.npy"), "skewed.npy: the correlation matrix is not symmetric"),
        (search(exp, "--num-prune", 3, "--matrix", exp / "hidden" / "hidden.ark"), "hidden.ark is not a .npy file"),
        (search(exp, "--num-prune", 9, "--matrix", exp / "hidden" / "frame_cosine.npy"), "cannot remove 9 of 6"),
        (search(exp, "--num-prune", 2, "--matrix", exp / "hidden" / "frame_cosine.npy", "--keep", "a"), "--keep a"),
        (search(exp, "--num-prune", 2, "--matrix", exp / "hidden" / "frame_cosine.npy", "--measure", "random"), "results of another kind"),
        (correlation(exp, "svcca", "--batch-size", 4), "svcca has no option batch_size"),
        (correlation(exp, "cca"), "no measure 'cca'"),
        (correlation(tmp_path, "dc"), "stage 1 (feature dump) makes it"),
    ]
    for (status, said), message in cases:
        assert status == 1 and message in said and "Traceback" not in said, said
    assert not (exp / "correlation").exists() and not list(exp.glob("prune*"))


def test_a_warning_is_one_line(exp):
    command = [sys.executable, str(LOCAL / "stage2_correlation.py"), "--hidden", str(exp / "hidden"), "--out", str(exp / "correlation"),
               "--measure", "dc", "--batch-size", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "stage2_correlation.py: warning: a batch of 100 is more than the 60 utterances" in done.stderr
