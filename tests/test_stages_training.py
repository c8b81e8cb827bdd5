"""Stage 5 through its script: one place for the same layers whatever they are called, and what it says and refuses."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fixtures.in_process import call
from fixtures.training import CONFIGURATION

from comflp.artifacts import fingerprint_model, read_json, write_json
from comflp.experiment import Layout
from comflp.locks import locked
from comflp.models import load
from comflp.proposal import PruningProposal
from comflp.record import Stage
from comflp.result_names import FineTuned, ListName, ProposalName, Pruned, Repaired, Scratch
from comflp.target import LayerCounts

LOCAL = Path(__file__).resolve().parents[1] / "local"
TWO = LayerCounts({"encoder": 2})


def stage5(recipe, proposal, *more, expect=0):
    """Run the script in this process; returns stdout and stderr together."""
    words = ["--exp", "exp", "--num-prune", "2", "--proposal", proposal, "finetune.yaml", "--noprogressbar", *more]
    done = call("local/stage5_finetune.py", words, recipe)
    assert done.status == expect, done.said
    assert "Traceback" not in done.said
    return done.said


def propose(recipe, name, layers):
    """A named proposal as stage 4 leaves it."""
    named = Layout(recipe / "exp").named(TWO, ProposalName.parse(name))
    named.choose({"proposal": layers, "num_layers": 4, "num_prune": 2, "ranked_by": "error_rate", "error_rate": 10.0})
    model = fingerprint_model(recipe / "exp" / "deep")
    Stage(named.record, "stage4_fine_search", {}, {"model": model, "valid": "v"}).finish([named.proposal])


@pytest.fixture
def recipe(make_model, make_data, tmp_path):
    """A recipe directory with a deep model, data and a configuration of one short epoch."""
    for number, name in enumerate(("data/train", "data/dev", "data/probe")):
        make_data(12, name=name, seed=number)
    make_model(num_layers=4).save(tmp_path / "exp" / "deep")
    (tmp_path / "finetune.yaml").write_text(CONFIGURATION)
    propose(tmp_path, "dc_fine", "1,3")
    propose(tmp_path, "top", "3-4")
    return tmp_path


def test_the_same_layers_are_pruned_and_trained_once_whatever_they_are_called(recipe):
    assert "epoch 1:" in stage5(recipe, "dc_fine")
    layout = Layout(recipe / "exp")
    result = layout.result(PruningProposal.parse("1,3", num_layers=4))
    assert result.states() == [Pruned(), FineTuned()] and load(result.model(FineTuned())).num_layers == 2
    assert (result.training(FineTuned()) / "snapshots" / "dc_epoch0000.npy").exists()
    named = layout.named(TWO, ProposalName("dc", "fine"))
    assert [link.name for link in named.links()] == ["finetuned", "pruned", "train"]
    card = (named.directory / "finetuned" / "README.md").read_text()
    assert "dc_fine, layers 1,3 removed" in card and "trained on data/train" in card

    assert "up to date" in stage5(recipe, "1,3")
    propose(recipe, "skip_kl_fine", "1,3")
    said = stage5(recipe, "skip_kl_fine")
    assert "up to date" in said and "epoch" not in said
    other = layout.named(TWO, ProposalName("skip_kl", "fine"))
    assert (other.directory / "finetuned").resolve() == result.model(FineTuned()).resolve()

    pruned = (result.model(Pruned()) / "record.json").read_bytes()
    assert "epoch 1:" in stage5(recipe, "dc_fine", "--distill", "both", "--tag", "e1")
    assert (result.model(Pruned()) / "record.json").read_bytes() == pruned, "pruned once for both trainings"
    assert result.states() == [Pruned(), FineTuned(distill="both", tag="e1"), FineTuned()]


def test_a_model_learns_from_the_deep_one_alone_without_texts(recipe):
    (recipe / "data" / "train" / "text").unlink()
    said = stage5(recipe, "top", "--distill", "only")
    assert FineTuned(distill="only") in Layout(recipe / "exp").result(PruningProposal.parse("3-4", num_layers=4)).states()
    assert "epoch 1:" in said and "left out" not in said
    assert "--distill only learns" in stage5(recipe, "1,3", "--distill", "only", "--distill_ctc_weight", "0", expect=1)


def test_what_stage_3_puts_first_is_repaired_where_there_are_no_texts(recipe):
    for name in ("train", "dev"):
        (recipe / "data" / name / "text").unlink()
    assert "stage 3 (coarse search)" in stage5(recipe, "dc_coarse", "--repair", "10", expect=1)
    layout = Layout(recipe / "exp")
    found = layout.list(TWO, ListName("dc"))
    write_json(found.candidates, {"num_layers": 4, "num_prune": 2, "candidates": [{"proposal": "2-3", "quality": 0.9}]})
    Stage(found.candidates_record, "stage3_coarse_search", {}, {"model": "another"}).finish([found.candidates])
    without = ("--repair", "10", "--number_of_epochs", "0")
    assert "made from another model" in stage5(recipe, "dc_coarse", *without, expect=1)
    model = fingerprint_model(recipe / "exp" / "deep")
    Stage(found.candidates_record, "stage3_coarse_search", {}, {"model": model}).finish([found.candidates])
    stage5(recipe, "dc_coarse", *without)
    assert layout.result(PruningProposal.parse("2-3", num_layers=4)).states() == [Pruned(), Repaired()]
    assert "data/train/text" in stage5(recipe, "dc_coarse", "--repair", "10", expect=1), "an epoch needs texts"


def test_a_model_is_repaired_and_trained_from_there(recipe):
    said = stage5(recipe, "top", "--repair", "10")
    layout = Layout(recipe / "exp")
    result, state = layout.result(PruningProposal.parse("3-4", num_layers=4)), FineTuned(repaired=True)
    assert result.states() == [Pruned(), Repaired(), state] and "linear maps refitted on 10 utterances" in said
    links = layout.named(TWO, ProposalName("top")).links()
    assert [link.name for link in links] == ["finetuned_repaired", "pruned", "repaired", "train_repaired"]
    done = load(result.model(Repaired())).origin["pruning"][-1]["repair"]
    assert done["utterances"] == 10 and done["divergence"][1] <= done["divergence"][0]
    for model in (Repaired(), state):
        assert "repaired in closed form, without labels" in (result.model(model) / "README.md").read_text()
    assert read_json(result.model(state) / "record.json")["options"]["optimizer.lr"] == "0.0001"

    repaired = fingerprint_model(result.model(Repaired()))
    shutil.rmtree(result.model(Repaired()))
    assert f"wrote {result.model(Repaired()).relative_to(recipe)}" in stage5(recipe, "3-4", "--repair", "10")
    assert fingerprint_model(result.model(Repaired())) == repaired, "what is made again has the same bytes"
    assert "utterances: 10 before, 4 now" in stage5(recipe, "top", "--repair", "4", expect=1)

    stage5(recipe, "top", "--repair", "10", "--tag", "typed", "--lr", "0.0002")
    typed = read_json(result.model(FineTuned(repaired=True, tag="typed")) / "record.json")
    assert typed["options"]["optimizer.lr"] == "0.0002", "what is typed comes first"


def test_random_weights_are_trained_and_nothing_is_pruned(recipe):
    stage5(recipe, "scratch_frontend", "--repair", "10")
    result = Layout(recipe / "exp").result(Scratch(TWO, keep_frontend=True))
    assert result.states() == [FineTuned()]
    record = read_json(result.model(FineTuned()) / "record.json")
    assert record["options"]["start"] == "scratch_frontend" and record["options"]["processes"] == 1


def test_a_changed_setting_is_named_with_both_values(recipe):
    stage5(recipe, "top")
    said = stage5(recipe, "top", "--lr", "0.002", "--precision", "bf16", expect=1)
    assert 'lr: "0.0005" before, "0.002" now; optimizer.lr: "0.0005" before, "0.002" now; precision: null before, "bf16" now' in said
    assert "add --force" in said and "another --tag" in said


def test_a_model_repaired_anew_is_trained_anew(recipe):
    stage5(recipe, "top", "--repair", "6")
    said = stage5(recipe, "top", "--repair", "10", expect=1)
    assert "utterances: 6 before, 10 now" in said and "add --force" in said and "--tag" not in said
    stage5(recipe, "top", "--repair", "10", "--force", "--number_of_epochs", "0")
    assert "repaired model: " in stage5(recipe, "top", "--repair", "10", expect=1)
    assert "epoch 1:" in stage5(recipe, "top", "--repair", "10", "--force")


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is for machines without a GPU")
def test_what_takes_a_gpu_is_refused_in_a_line_without_one(recipe):
    assert "--device cuda cannot be used" in stage5(recipe, "top", "--device", "cuda", expect=1)
    assert "SpeechBrain cannot train with these run options" in stage5(recipe, "top", "--precision", "fp16", expect=1)


def test_a_training_whose_run_was_killed_does_not_mix_with_the_next(recipe):
    """Two processes train, and the same result is begun with another learning rate and --force: while they live, and after."""
    result = Layout(recipe / "exp").result(PruningProposal.parse("1,3", num_layers=4))
    training = result.training(FineTuned())
    command = [sys.executable, str(LOCAL / "launch.py"), "--nproc-per-node", "2", str(LOCAL / "stage5_finetune.py"), "--exp", "exp",
               "--num-prune", "2", "--proposal", "dc_fine", "finetune.yaml", "--noprogressbar", "--number_of_epochs", "5000"]
    first = subprocess.Popen(command, cwd=recipe, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
                             stdout=subprocess.DEVNULL)
    while not list(training.glob("save/CKPT+epoch*")):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
    assert f"{training.relative_to(recipe)} is in use by process" in stage5(recipe, "dc_fine", "--force", "--lr", "0.002", expect=1)
    assert "epoch 1:" in stage5(recipe, "top"), "other results can be trained beside it"
    first.kill()
    with locked(training, wait=True):  # its processes are gone
        first.communicate()
    stage5(recipe, "dc_fine", "--force", "--lr", "0.002")
    rows = list(csv.DictReader((training / "train_log.csv").read_text().splitlines()))
    assert read_json(result.model(FineTuned()) / "record.json")["options"]["lr"] == "0.002"
    assert [row["learning_rate"] for row in rows] == ["0.002"]
    assert [path.name for path in (training / "save").iterdir()] == ["CKPT+epoch0001"]


def test_a_training_that_goes_on_says_from_where(recipe):
    stage5(recipe, "top")
    result = Layout(recipe / "exp").result(PruningProposal.parse("3-4", num_layers=4))
    (result.model(FineTuned()) / "record.json").unlink()
    said = stage5(recipe, "top")
    assert "goes on after epoch 1, from its checkpoint" in said and "epoch 1:" not in said


def test_a_training_that_ended_before_its_first_checkpoint_stands_in_no_ones_way(recipe):
    assert "nothing would be trained" in stage5(recipe, "top", "--grad_accumulation_factor", "99", expect=1)
    training = Layout(recipe / "exp").result(PruningProposal.parse("3-4", num_layers=4)).training(FineTuned())
    (training / "snapshots").mkdir()
    said = stage5(recipe, "top", "--lr", "0.002", "--snapshot_epochs", "[]")
    assert "epoch 1:" in said and not (training / "snapshots").exists(), "nothing of another setting is left"
    (training.with_name("finetuned") / "record.json").unlink()
    assert "holds unfinished work" in stage5(recipe, "top", expect=1), "there is a checkpoint to lose"


def test_more_epochs_go_on_from_a_finished_training_and_fewer_are_refused(recipe):
    stage5(recipe, "top")
    said = stage5(recipe, "top", "--number_of_epochs", "2")
    assert "goes on after epoch 1, from its checkpoint" in said and "epoch 2:" in said and "epoch 1:" not in said
    result = Layout(recipe / "exp").result(PruningProposal.parse("3-4", num_layers=4))
    record = read_json(result.model(FineTuned()) / "record.json")
    assert record["options"]["number_of_epochs"] == "2" and record["extends"] == 1 and len(record["epochs"]) == 2
    assert "up to date" in stage5(recipe, "top", "--number_of_epochs", "2")
    assert 'number_of_epochs: "2" before, "1" now' in stage5(recipe, "top", expect=1)
    assert "lr: " in stage5(recipe, "top", "--number_of_epochs", "3", "--lr", "0.002", expect=1), "more epochs alone"


def test_another_deep_model_and_copies_in_place_of_links_stop_the_stage(recipe):
    record = Layout(recipe / "exp").named(TWO, ProposalName("top")).record
    content = read_json(record)
    content["origin"]["model"] = "0" * 64
    record.write_text(json.dumps(content))
    assert "made from another model" in stage5(recipe, "top", expect=1)
    (recipe / "exp" / "prune2" / "dc_fine" / "train").mkdir()
    assert "dc_fine holds copies where links to layers_... belong" in stage5(recipe, "dc_fine", expect=1)
