"""What collect reads, and what it says of damaged and missing directories."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from comflp import report
from comflp.artifacts import read_json, write_json
from comflp.errors import ComflpError
from comflp.experiment import Layout
from comflp.report.choices import choices
from comflp.report.collect import metric_of
from comflp.report.document import Table
from comflp.proposal import PruningProposal
from comflp.report.names import label
from comflp.result_names import FineTuned, ProposalName
from comflp.target import LayerCounts

THREE = LayerCounts({"encoder": 3})


def test_everything_that_the_stages_left_is_there(experiment):
    assert experiment.num_layers == 6
    assert [str(counts) for counts in experiment.counts] == ["2", "3"]
    assert set(experiment.matrices) == {"dc", "svcca"} and experiment.stacks == {"encoder": 6}
    assert experiment.main_measure == "dc"
    assert [str(entry.name) for entry in experiment.lists_of(THREE)] == [
        "dc", "svcca", "dc_reverse", "svcca_reverse", "random", "top"
    ]
    assert {str(entry.name) for entry in experiment.chosen} == {
        "dc_coarse", "dc_fine", "svcca_coarse", "svcca_fine", "top", "random"
    }
    assert experiment.data_sets == ["dev", "test"]


def test_a_run_has_its_models_log_and_snapshots(experiment):
    run = next(run for run in experiment.runs if str(run.name) == "top")
    assert str(run.proposal) == "4-6"
    assert (run.pruned.scores["dev"]["num_layers"], run.finetuned.scores["dev"]["num_layers"]) == (3, 3)
    assert run.finetuned.num_parameters < experiment.deep.num_parameters
    assert run.finetuned.megabytes < experiment.deep.megabytes
    assert [row["valid_error_rate"] for row in run.log] == [80.5, 40.25]
    assert {epoch: matrix.shape for epoch, matrix in run.snapshots.items()} == {0: (4, 4), 2: (4, 4)}


def test_quality_is_that_of_the_matrix(experiment):
    chosen = next(entry for entry in experiment.chosen if str(entry.name) == "svcca_coarse" and entry.counts.total == 2)
    ranked = next(entry for entry in experiment.lists_of(LayerCounts({"encoder": 2})) if str(entry.name) == "svcca")
    stated = next(r["quality"] for r in ranked.results if r["proposal"] == str(chosen.proposal))
    assert experiment.quality(chosen.proposal, "svcca") == pytest.approx(stated)
    assert experiment.quality(None) is None


def test_rates_have_intervals_and_are_those_of_the_scores(experiment):
    for _, _, model in experiment.models.values():
        for name, rate in model.rates.items():
            assert rate.value == model.rate(name) and rate.low <= rate.value <= rate.high
            assert rate.counts.values.sum(axis=0)[:3].sum() == sum(model.scores[name][key] for key in ("substitutions", "deletions", "insertions"))
            assert set(rate.counts.speakers) == {"s0", "s1", "s2"}


def test_two_stacks_are_read(two_stacks):
    assert two_stacks.stacks == {"encoder": 6, "decoder": 4} and two_stacks.num_layers == 10
    assert len(two_stacks.counts) == 8 and str(two_stacks.counts[-1]) == "encoder=2+decoder=2"


def test_quality_of_both_stacks_is_the_mean_of_theirs(two_stacks):
    encoder, decoder = np.add.outer(np.arange(7), np.arange(7)) / 20, 1 - np.add.outer(np.arange(5), np.arange(5)) / 20
    found = replace(two_stacks, matrices={"dc": {"encoder": encoder, "decoder": decoder}})
    expected = ((encoder[1, 2] + encoder[3, 4]) / 2 + decoder[2, 3]) / 2
    proposal = PruningProposal.parse("encoder=2,4+decoder=3", two_stacks.stacks)
    assert found.quality(proposal) == pytest.approx(expected), "as stage 3 has it, however many blocks a stack loses"


def test_scratch_has_no_proposal(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small", symlinks=True)
    shutil.copytree(copied / "prune3" / "top" / "finetuned", copied / "prune3" / "scratch" / "finetuned_seed2")
    run = next(run for run in report.collect(copied).runs if str(run.name) == "scratch")
    assert (run.proposal, run.num_prune, run.settings, run.finetuned.scores["test"]["num_layers"]) == (None, 3, FineTuned(tag="seed2"), 3)


def test_two_names_of_the_same_layers_share_their_models(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small", symlinks=True)
    counts, layout = LayerCounts({"encoder": 3}), Layout(copied)
    top, other = (layout.named(counts, ProposalName(name)) for name in ("top", "svcca_fine"))
    shutil.copytree(top.directory, other.directory, symlinks=True, dirs_exist_ok=True)
    found = {str(run.name): run for run in report.collect(copied).runs}
    assert set(found) == {"dc_fine", "top", "svcca_fine"}
    assert found["svcca_fine"].finetuned is found["top"].finetuned and found["svcca_fine"].log == found["top"].log
    [models] = report.build(report.collect(copied)).sections[0].every(Table)
    assert [row[5] for row in models.rows if row[0] == "SVCCA, fine; Top drop, N=3"] == ["pruned", "fine-tuned"]


def test_what_no_name_points_to_goes_by_its_layers(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small", symlinks=True)
    top = Layout(copied).named(LayerCounts({"encoder": 3}), ProposalName("top"))
    for link in top.links():
        link.unlink()
    found = {label(run.name, run.settings): run for run in report.collect(copied).runs}
    assert set(found) == {"DC, fine", "Layers 4-6"} and found["Layers 4-6"].finetuned.scores["test"]["num_layers"] == 3
    shutil.rmtree(copied / "prune3" / "layers_4-6" / "finetuned")
    shutil.rmtree(copied / "prune3" / "layers_4-6" / "train")
    found = {label(run.name): run for run in report.collect(copied).runs}
    assert found["Layers 4-6"].settings is None and found["Layers 4-6"].states[0][0] == "pruned"


def test_a_copy_that_followed_the_links_is_refused(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small")
    with pytest.raises(ComflpError, match="prune3/dc_fine holds copies where links .*; remove finetuned, pruned, train from it, and run stage 5 again"):
        report.collect(copied)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ComflpError, match="nowhere does not exist"):
        report.collect(tmp_path / "nowhere")


@pytest.mark.parametrize("path", ["prune3/top/ranked.json", "prune3/top/proposal.json", "deep/decode_test/score.json"])
def test_a_broken_file_is_named(exp, tmp_path, path):
    copied = shutil.copytree(exp, tmp_path / "small", symlinks=True)
    (copied / path).write_text("{")
    with pytest.raises(ComflpError, match=path.rpartition("/")[2]):
        report.collect(copied)


def test_a_proposal_that_was_changed_is_named(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small", symlinks=True)
    (copied / "prune3" / "top" / "proposal.json").write_text(json.dumps({"name": "top"}))
    with pytest.raises(ComflpError, match="proposal.json was changed"):
        report.collect(copied)


def test_before_stage_6_a_model_has_the_rate_that_its_training_found(exp, tmp_path):
    own = shutil.copytree(exp, tmp_path / "own", symlinks=True, ignore=shutil.ignore_patterns("decode_*"))
    for number, path in enumerate([own / "deep" / "record.json", *sorted(own.glob("prune3/layers_*/finetuned/record.json"))]):
        facts = {"metric": "cer", "error_rate": 10.0 + number, "set": "dev"}
        path.write_text(json.dumps({**json.loads(path.read_text()), "facts": facts}))
    found = report.collect(own)
    assert found.deep.rates["dev"].value == 10.0 and found.deep.rates["dev"].low is None
    document = report.build(found)
    assert document.headline[1:3] == ["Within 1 point of CER of the deep model on dev.", "This is the fine-tuned model."]
    assert not any(entry.results for entry in report.collect(own, "wer").lists), "they are ordered by CER"
    assert report.collect(own, "wer").deep.rates == {}


def test_each_rate_is_of_the_metric_that_is_shown(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "own", symlinks=True)
    score = read_json(copied / "deep" / "decode_test" / "score.json")
    write_json(copied / "deep" / "decode_test" / "score.json", {**score, "metric": "wer", "error_rate": score["wer"]})
    assert score["cer"] != score["wer"]
    assert report.collect(copied).deep.rates["test"].value == report.collect(copied).deep.rate("test") == score["cer"]
    assert metric_of(copied) == "cer", "its searches' own"


def test_the_size_of_a_model_has_the_files_of_its_folders(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "own", symlinks=True)
    before = report.collect(copied).deep.megabytes
    (copied / "deep" / "encoder").mkdir()
    (copied / "deep" / "encoder" / "model.safetensors").write_bytes(b"0" * 10**6)
    assert report.collect(copied).deep.megabytes == pytest.approx(before + 1)


def test_the_recommended_layers_are_shown_in_every_state_whatever_they_are_called(exp, tmp_path):
    """Coarse and fine search chose the same layers, of which one name was trained."""
    own = shutil.copytree(exp, tmp_path / "own", symlinks=True)
    trained, other = own / "prune3" / "dc_fine", own / "prune3" / "dc_coarse"
    for gone in (other, own / "prune3" / "top", own / "prune3" / "layers_4-6"):
        shutil.rmtree(gone)
    shutil.copytree(trained, other, ignore=shutil.ignore_patterns("finetuned*", "pruned", "train*"))
    [table] = [part for part in report.build(report.collect(own), max_increase=1000.0).every(Table) if part.name == "states"]
    assert [row[0] for row in table.rows] == ["Deep model", "Pruned", "Fine-tuned", "Repaired: not measured"]


def test_a_model_that_is_not_there_has_the_deep_models_files_less_some_weights(experiment):
    def sizes(more):
        deep = replace(experiment.deep, megabytes=experiment.deep.megabytes + more)
        return [choice.megabytes for choice in choices(replace(experiment, deep=deep, runs=()))]

    assert sizes(7.0) == pytest.approx([size + 7 for size in sizes(0.0)]), "a tokenizer, say, which all models have"
