"""Stages 1, 4 and 6 through their scripts: what they write, refuse, take up again and share between processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.in_process import call

from comflp.inference import hidden_states
from comflp.artifacts import fingerprint_model, write_json
from comflp.inference.decode import decode
from comflp.models import load
from comflp.proposal import PruningProposal
from comflp.scoring import error_rate, normalise
from comflp.search.baselines.fixed import uniform
from comflp.record import Stage

LOCAL = Path(__file__).resolve().parents[1] / "local"
PROPOSALS = ["2,4", "3-4", "1,3", "5-6"]


def script(name, *arguments, cwd, processes=1, expect=0):
    """Run a stage script, in this process where it takes one; returns stdout and stderr together."""
    words = [*map(str, arguments)]
    if processes == 1:
        done = call(f"local/{name}", words, cwd)
        assert done.status == expect, done.said
        return done.said
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(LOCAL / name), *words],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    assert done.returncode == expect, done.stdout
    return done.stdout


@pytest.fixture
def recipe(make_model, make_data, tmp_path):
    """A recipe directory with a deep model, data, and candidates of a measure as stages 2 and 3 leave them."""
    make_data(12, name="data/valid")
    make_data(20, name="data/train", seed=1)
    make_model(num_layers=6).save(tmp_path / "exp" / "deep")
    matrix = np.full((7, 7), 0.5) + 0.5 * np.eye(7)
    (tmp_path / "exp" / "correlation").mkdir()
    np.save(tmp_path / "exp" / "correlation" / "dc.npy", matrix)
    write_json(tmp_path / "exp" / "correlation" / "dc.json", {"measure": "dc", "unit_interval": True})
    write_candidates(tmp_path, fingerprint_model(tmp_path / "exp" / "deep"))
    return tmp_path


def write_candidates(recipe, model_fingerprint):
    directory = recipe / "exp" / "prune2" / "dc"
    found = [{"proposal": text, "quality": 0.9 - 0.1 * i} for i, text in enumerate(PROPOSALS)]
    write_json(directory / "candidates.json", {"num_layers": 6, "num_prune": 2, "candidates": found})
    stage = Stage(directory / "stage3.record.json", "stage3", {}, {"model": model_fingerprint})
    stage.finish([directory / "candidates.json"])


def stage4(recipe, *more, **how):
    return script("stage4_fine_search.py", "--model", "exp/deep", "--exp", "exp", "--num-prune", "2", "--measures", "dc",
                  "--data", "data/valid", *more, cwd=recipe, **how)


def read(path):
    return json.loads(path.read_text())


def without_times(content):
    """JSON without what a clock measured."""
    if isinstance(content, dict):
        return {key: without_times(value) for key, value in content.items() if "seconds" not in key}
    return content


def test_stage1_writes_what_the_library_gives_and_is_then_up_to_date(recipe):
    arguments = ("--model", "exp/deep", "--data", "data/valid", "--out", "exp/hidden", "--max-seconds", "3")
    assert "wrote exp/hidden/hidden.ark" in script("stage1_dump_hidden_states.py", *arguments, cwd=recipe)
    utt_ids, hidden = hidden_states.read(recipe / "exp" / "hidden")
    assert len(utt_ids) == 12 and hidden.shape == (12, 7, 16)
    assert read(recipe / "exp" / "hidden" / "record.json")["inputs"]["model"] == fingerprint_model(recipe / "exp" / "deep")
    assert "up to date" in script("stage1_dump_hidden_states.py", *arguments, "--measures", "skip_kl dc", cwd=recipe)
    said = script("stage1_dump_hidden_states.py", *arguments, "--padded-mean", cwd=recipe, expect=1)
    assert "padded_mean" in said and "--force" in said and "Traceback" not in said


def test_stage1_writes_nothing_where_no_measure_reads_hidden_states(recipe):
    arguments = ("--model", "exp/deep", "--data", "data/valid", "--out", "exp/hidden")
    said = script("stage1_dump_hidden_states.py", *arguments, "--measures", "skip_kl skip_ctc", cwd=recipe)
    assert said.strip() == "no hidden states are needed: none of the measures (skip_kl skip_ctc) reads them"
    assert not (recipe / "exp" / "hidden").exists()
    assert "there is no measure 'skp_kl'" in script("stage1_dump_hidden_states.py", *arguments, "--measures", "skp_kl", cwd=recipe, expect=1)


def test_stage4_writes_rankings_proposals_and_baselines(recipe):
    said = stage4(recipe, "--baselines", "top random reverse uniform glp linear_probe")
    assert "Traceback" not in said
    prune = recipe / "exp" / "prune2"
    ranked = read(prune / "dc" / "ranked.json")
    assert {entry["proposal"] for entry in ranked["results"]} == set(PROPOSALS)
    rates = [entry["error_rate"] for entry in ranked["results"]]
    assert rates == sorted(rates)
    coarse, fine = (read(prune / f"dc_{search}" / "proposal.json") for search in ("coarse", "fine"))
    assert coarse["proposal"] == PROPOSALS[0] and fine["proposal"] == ranked["results"][0]["proposal"]
    assert (fine["measure"], fine["search"], fine["metric"], fine["num_prune"]) == ("dc", "fine", "cer", 2)

    model, data = load(recipe / "exp" / "deep"), valid(recipe)
    pruned = model.prune(PruningProposal.parse(fine["proposal"], num_layers=6))
    references = {utterance.utt_id: utterance.text for utterance in data}
    assert fine["error_rate"] == error_rate(references, decode(pruned, data)).rate

    for name in ("top", "random", "reverse", "uniform", "glp", "linear_probe"):
        proposal = read(prune / name / "proposal.json")
        assert (proposal["name"], proposal["search"]) == (name, "baseline")
        assert PruningProposal.parse(proposal["proposal"], num_layers=6).num_removed == 2
        assert proposal["quality"] == pytest.approx(0.5), "v(P) by the first measure's matrix"
    assert read(prune / "random" / "proposal.json")["proposal"] == read(prune / "random" / "candidates.json")["candidates"][0]["proposal"]
    assert len(read(prune / "random" / "ranked.json")["results"]) == 10
    (spaced,) = uniform(6, 2)
    assert read(prune / "uniform" / "proposal.json")["proposal"] == str(spaced)
    assert len(read(prune / "linear_probe" / "ranked.json")["layer_gains"]) == 6
    assert not (recipe / "exp" / ".stage4").exists()

    before = {path: path.read_bytes() for path in prune.rglob("*.json")}
    costs = {path: path.read_bytes() for path in (recipe / "exp" / "costs.json", recipe / "exp" / "costs.record.json")}
    for path in costs:  # as of a run that was killed after its last list
        path.unlink()
    (recipe / "exp" / ".stage4").mkdir()
    assert "up to date" in stage4(recipe, "--baselines", "top random reverse uniform glp linear_probe")
    assert costs[recipe / "exp" / "costs.json"] == (recipe / "exp" / "costs.json").read_bytes() and all(path.exists() for path in costs)
    assert not (recipe / "exp" / ".stage4").exists()
    stage4(recipe, "--baselines", "bottom")
    assert {path: path.read_bytes() for path in before} == before, "another baseline leaves the others as they were"


def valid(recipe):
    from comflp.data.data_dir import read_data_dir

    return read_data_dir(recipe / "data" / "valid")


def test_a_list_that_is_missing_after_a_race_comes_back_as_it_was(recipe):
    """What a race drops depends on all lists, so all of them run again."""
    options = ("--baselines", "random uniform middle", "--race", "--max-seconds", "2", "--num-random", "12")
    stage4(recipe, *options)
    ranked = recipe / "exp" / "prune2" / "random" / "ranked.json"
    before, others = without_times(read(ranked)), {path: path.read_bytes() for path in ranked.parents[1].glob("[!r]*/*.json")}
    ranked.unlink()
    stage4(recipe, *options)
    assert without_times(read(ranked)) == before and others == {path: path.read_bytes() for path in others}
    assert "both empty" in script("stage4_fine_search.py", "--model", "exp/deep", "--exp", "exp", "--num-prune", "2", "--measures", "",
                                  "--baselines", "", "--data", "data/valid", cwd=recipe, expect=1)


def test_stage4_refuses_candidates_of_another_model_and_a_bad_n(recipe):
    write_candidates(recipe, "0" * 64)
    said = stage4(recipe, expect=1)
    assert "stage3.record.json was made from another model" in said and "Traceback" not in said
    said = script("stage4_fine_search.py", "--model", "exp/deep", "--exp", "exp", "--num-prune", "6", cwd=recipe, expect=1)
    assert "cannot remove 6 of 6 layers of the encoder; N is from 1 to 5" in said
    said = script("stage4_fine_search.py", "--model", "exp/deep", "--exp", "exp", "--num-prune", "3", "--measures", "dc",
                  cwd=recipe, expect=1)
    assert "prune3/dc/candidates.json does not exist; stage 3 (coarse search) makes it" in said


def test_stage6_scores_every_model_of_an_experiment(recipe):
    model = load(recipe / "exp" / "deep")
    pruned = recipe / "exp" / "prune2" / "layers_5-6" / "pruned"
    model.prune(PruningProposal.parse("5-6", num_layers=6)).save(pruned)
    (pruned.parent / "proposal.json").write_text(json.dumps({"proposal": "5-6", "num_layers": 6}))
    (pruned / "record.json").write_text(json.dumps({"origin": {}}))
    script("stage6_decode.py", "--exp", "exp", "--data", "valid", cwd=recipe)
    data = valid(recipe)
    references = {utterance.utt_id: utterance.text for utterance in data}
    for directory, num_layers in ((recipe / "exp" / "deep", 6), (pruned, 4)):
        out = directory / "decode_valid"
        hypotheses = decode(load(directory), data)
        lines = dict((line.split(" ", 1) + [""])[:2] for line in (out / "hyp").read_text().splitlines())
        assert lines == {utt_id: normalise(text) for utt_id, text in hypotheses.items()}, "what was scored"
        score = read(out / "score.json")
        assert score["error_rate"] == error_rate(references, hypotheses).rate == score["cer"]
        assert score["wer"] == error_rate(references, hypotheses, "wer").rate
        assert (score["num_layers"], score["num_parameters"]) == (num_layers, load(directory).num_parameters)
        assert score["rtf"] == score["decode_seconds"] / score["audio_seconds"] > 0
        rows = (out / "per_speaker.tsv").read_text().splitlines()
        assert [row.split("\t")[0] for row in rows] == ["speaker", "s0", "s1", "s2", "all"]
        assert float(rows[-1].split("\t")[2]) == pytest.approx(score["cer"], abs=0.005)
        trn = (out / "ref.trn").read_text().splitlines()
        assert trn[0] == f"{' '.join(references['u000'])} (s0-u000)"
        assert "REF: " in (out / "worst.txt").read_text()
        assert not (out / ".partial").exists()
    assert "up to date" in script("stage6_decode.py", "--models", "exp/deep", "--data", "data/valid", cwd=recipe)
    said = script("stage6_decode.py", "--data", "valid", cwd=recipe, expect=1)
    assert "--exp DIR" in said and "Traceback" not in said


def test_references_in_the_other_letter_case_stop_stages_4_and_6(recipe):
    """Every letter would count as an error of a perfect model; the remedy is said, and works."""
    text = recipe / "data" / "valid" / "text"
    lines = (line.split(" ", 1) for line in text.read_text().splitlines())
    text.write_text("".join(f"{utt_id} {words.upper()}\n" for utt_id, words in lines))
    stages = {
        "stage4_fine_search.py": ["--exp", "exp", "--model", "exp/deep", "--num-prune", 2, "--measures", "dc", "--baselines", ""],
        "stage6_decode.py": ["--models", "exp/deep", "--data", "valid"],
    }
    for name, options in stages.items():
        said = script(name, *options, cwd=recipe, expect=1)
        assert "small letters only, and 100% of the letters in the references" in said and "Traceback" not in said
        assert "--letter-case lower" in said and "--normaliser basic" in said
        script(name, *options, "--normaliser", "basic", cwd=recipe)
    score = json.loads((recipe / "exp" / "deep" / "decode_valid" / "score.json").read_text())
    assert score["normaliser"] == "basic" and score["capped_error_rate"] <= score["error_rate"]
    assert json.loads((recipe / "exp" / "prune2" / "dc" / "ranked.json").read_text())["normaliser"] == "basic"


def test_corrected_speakers_are_seen(recipe):
    """Intervals are over speakers."""
    stage6 = ("stage6_decode.py", "--models", "exp/deep", "--data", "valid")
    script(*stage6, cwd=recipe)
    stage4(recipe, "--baselines", "")
    (recipe / "data" / "valid" / "spk2utt").unlink(missing_ok=True)
    (recipe / "data" / "valid" / "utt2spk").write_text("".join(f"u{number:03d} t{number % 6}\n" for number in range(12)))
    for said in (script(*stage6, cwd=recipe, expect=1), stage4(recipe, "--baselines", "", expect=1)):
        assert "made otherwise (speakers: " in said and "--force" in said


def test_stage6_keeps_the_results_of_several_searches(recipe):
    of_deep = ("stage6_decode.py", "--models", "exp/deep", "--data", "valid")
    script(*of_deep, cwd=recipe)
    said = script(*of_deep, "--decoder", "beam", cwd=recipe, expect=1)
    assert "another --tag" in said and "Traceback" not in said
    script(*of_deep, "--decoder", "beam", "--beam-size", "4", "--tag", "beam4", cwd=recipe)
    scores = [read(recipe / "exp" / "deep" / name / "score.json") for name in ("decode_valid", "decode_valid_beam4")]
    assert [score["decoder"] for score in scores] == ["greedy", "beam"] and scores[0]["ref_length"] == scores[1]["ref_length"]


def test_two_processes_give_the_numbers_of_one(recipe):
    small = ("--max-seconds", "2")
    outputs = {}
    for processes in (1, 2):
        where = {"cwd": recipe, "processes": processes}
        script("stage1_dump_hidden_states.py", "--model", "exp/deep", "--data", "data/valid", "--out", "exp/hidden", "--force", *small, **where)
        stage4(recipe, "--baselines", "random glp linear_probe", "--race", "--force", *small, processes=processes)
        script("stage6_decode.py", "--models", "exp/deep", "--data", "valid", "--force", *small, **where)
        exp = recipe / "exp"
        outputs[processes] = {
            **{path: path.read_bytes() for path in (exp / "hidden").glob("*.*") if path.suffix != ".json"},
            **{path: without_times(read(path)) for path in exp.glob("prune2/*/*.json") if "record" not in path.name},
            **{path: path.read_bytes() for path in (exp / "deep" / "decode_valid").glob("hyp*")},
        }
    assert outputs[1] == outputs[2] and len(outputs[1]) > 10
