"""What collect reads, and what it says of damaged and missing directories."""

import json
import shutil

import pytest

from comflp import report
from comflp.errors import ComflpError


def test_everything_that_the_stages_left_is_there(experiment):
    assert experiment.num_layers == 6
    assert experiment.num_prunes == [2, 3]
    assert set(experiment.matrices) == {"dc", "svcca"}
    assert experiment.main_measure == "dc"
    assert [entry.name for entry in experiment.lists_of(3)] == [
        "dc", "svcca", "dc_reverse", "svcca_reverse", "random", "top"
    ]
    assert {entry.name for entry in experiment.chosen} == {
        "dc_coarse", "dc_fine", "svcca_coarse", "svcca_fine", "top", "random"
    }
    assert experiment.data_sets == ["dev", "test"]


def test_a_run_has_its_models_log_and_snapshots(experiment):
    run = next(run for run in experiment.runs if run.name == "top")
    assert str(run.proposal) == "4-6"
    assert (run.pruned.num_layers, run.finetuned.num_layers) == (3, 3)
    assert run.finetuned.num_parameters < experiment.deep.num_parameters
    assert run.finetuned.megabytes < experiment.deep.megabytes
    assert [row["valid_error_rate"] for row in run.log] == [80.5, 40.25]
    assert {epoch: matrix.shape for epoch, matrix in run.snapshots.items()} == {0: (4, 4), 2: (4, 4)}


def test_quality_is_that_of_the_matrix(experiment):
    chosen = next(entry for entry in experiment.chosen if entry.name == "svcca_coarse" and entry.num_prune == 2)
    ranked = next(entry for entry in experiment.lists_of(2) if entry.name == "svcca")
    stated = next(r["quality"] for r in ranked.results if r["proposal"] == str(chosen.proposal))
    assert experiment.quality(chosen.proposal, "svcca") == pytest.approx(stated)
    assert experiment.quality(None) is None


def test_scratch_has_no_proposal(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small")
    shutil.copytree(copied / "prune3" / "top", copied / "prune3" / "scratch_seed2")
    run = next(run for run in report.collect(copied).runs if run.name == "scratch_seed2")
    assert run.proposal is None


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ComflpError, match="nowhere does not exist"):
        report.collect(tmp_path / "nowhere")


@pytest.mark.parametrize("path", ["prune3/top/ranked.json", "prune3/top/proposal.json", "deep/decode_test/score.json"])
def test_a_broken_file_is_named(exp, tmp_path, path):
    copied = shutil.copytree(exp, tmp_path / "small")
    (copied / path).write_text("{")
    with pytest.raises(ComflpError, match=path.rpartition("/")[2]):
        report.collect(copied)


def test_a_proposal_without_layers_is_named(exp, tmp_path):
    copied = shutil.copytree(exp, tmp_path / "small")
    (copied / "prune3" / "top" / "proposal.json").write_text(json.dumps({"name": "top"}))
    with pytest.raises(ComflpError, match="proposal.json has no"):
        report.collect(copied)
