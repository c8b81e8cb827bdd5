"""A report on what an experiment should not hold, or holds by half."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from comflp import report
from comflp.artifacts import read_json, write_json, write_text
from comflp.proposal import PruningProposal
from comflp.report.document import Table, Text
from comflp.result_names import FineTuned, ProposalName
from fixtures.numbers_shown import missing_numbers


@pytest.fixture
def copied(exp, tmp_path):
    return shutil.copytree(exp, tmp_path / "exp" / "small", symlinks=True)


def written(experiment, recipe, out):
    """The page of an experiment, after a look at its numbers."""
    document = report.build(experiment, recipe=recipe)
    report.write(document, out)
    page = (out / "report.html").read_text()
    assert missing_numbers(page, json.loads((out / "report.json").read_text())) == []
    return page, document


def test_two_hundred_runs(experiment, recipe, tmp_path):
    run = next(run for run in experiment.runs if str(run.name) == "top")
    runs = tuple(replace(run, name=ProposalName(f"try{number}"), settings=FineTuned(tag=f"t{number}")) for number in range(200))
    page, document = written(replace(experiment, runs=runs), recipe, tmp_path)
    assert "The first 8 of 200 runs." in page
    [models] = document.sections[0].every(Table)
    assert len(models.rows) > 200


def test_names_with_html(experiment, recipe, tmp_path):
    run = next(run for run in experiment.runs if str(run.name) == "top")
    hostile = replace(run, name=ProposalName("<img src=x onerror=alert(1)>\\"), proposal=PruningProposal.parse("1-3", 6))
    lists = tuple(replace(entry, name=replace(entry.name, source="</svg><b>")) for entry in experiment.lists)
    page, _ = written(replace(experiment, runs=(hostile,), lists=lists, name="<i>"), recipe, tmp_path)
    assert "<img" not in page and "</svg><b>" not in page and "<i>" not in page


@pytest.mark.parametrize("gone", ["correlation", "prune3/dc", "deep/decode_dev", "costs.json", "prune3/top/proposal.json", "deep", "prune2"])
def test_a_stage_that_is_missing_in_the_middle(copied, recipe, gone):
    path = copied / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    _, document = written(report.collect(copied), recipe, copied / "report")
    assert "emove" in document.headline[0]


def test_after_stage_4_it_answers_with_pruned_models(copied, recipe):
    for path in [*copied.glob("prune*/*/finetuned"), *copied.glob("prune*/*/pruned"), *copied.glob("prune*/*/train")]:
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    shutil.rmtree(copied / "deep" / "decode_dev")
    shutil.rmtree(copied / "deep" / "decode_test")
    _, document = written(report.collect(copied), recipe, copied / "report")
    assert "neither repaired nor fine-tuned" in document.headline[2] or "neither" in " ".join(document.headline)
    assert document.facts["chosen_on"] == "valid" and document.facts["deep_rate"]["value"] > 0
    [line] = document.next[1].steps[0][1:]
    assert line.startswith("./run.sh --model small --stage 5 --stop-stage 7 --finetune-prune ") and line.endswith(" deep'")


def test_one_utterance_and_zero_errors(copied, recipe):
    for path in copied.rglob("decode_*"):
        if path.is_dir():
            write_text(path / "ref", "u000 abc\n")
            write_text(path / "hyp", "u000 abc\n")
            score = read_json(path / "score.json")
            write_json(path / "score.json", {**score, "error_rate": 0.0, "cer": 0.0, "num_utterances": 1})
    page, document = written(report.collect(copied), recipe, copied / "report")
    assert "0.00%" in page and "0.00% (" not in page  # of one utterance there is no interval, and no verdict
    assert document.facts["difference"] is None and not any("istinguishable" in line or "Worse" in line for line in document.headline)


def test_a_loss_that_is_no_number_and_a_killed_training(copied, recipe):
    result = copied / "prune3" / "layers_4-6"
    log = result / "train" / "train_log.csv"
    log.write_text(log.read_text().replace("1.5,1.25,40.25", "nan,inf,nan"))
    shutil.rmtree(result / "finetuned")
    _, document = written(report.collect(copied), recipe, copied / "report")
    said = " ".join(text.text for text in document.sections[4].every(Text))
    assert "Not finished: Top drop (N=3, 2 epochs)" in said and "A loss that is no number: Top drop" in said


def test_a_race_dropped_candidates_and_the_deep_model_was_not_decoded(copied, recipe):
    for path in copied.glob("prune*/*/ranked.json"):
        ranked = read_json(path)
        ranked.pop("deep")
        for entry in ranked["results"]:
            entry.update(deep_difference=None, deep_difference_interval=None)
        ranked["results"][-1]["dropped_after"] = 12 if len(ranked["results"]) > 1 else None
        write_json(path, ranked)
    _, document = written(report.collect(copied), recipe, copied / "report")
    assert document.facts["chosen_on"] == "dev"


def test_a_training_without_a_single_epoch_and_a_matrix_of_one_value(copied, recipe):
    (copied / "prune3" / "layers_4-6" / "train" / "train_log.csv").write_text("epoch,learning_rate,train_loss,valid_loss,valid_error_rate\n")
    np.save(copied / "correlation" / "dc.npy", np.ones((7, 7)))
    (copied / "correlation" / "dc.record.json").unlink()
    experiment = report.collect(copied)
    assert [run.log for run in experiment.runs if str(run.proposal) == "4-6"] == [[]]
    assert written(experiment, recipe, copied / "report")[1].facts["chosen_on"] == "dev"
