"""``comflp report A B C``: several experiments in one report."""

import json
import shutil
import statistics
from dataclasses import replace

import pytest

from comflp import report
from comflp.cli.report import run
from comflp.errors import ComflpError
from fixtures.numbers_shown import missing_numbers


def test_seeds_are_one_row_each_and_have_a_mean(exp, tmp_path, capsys):
    other = shutil.copytree(exp, tmp_path / "seed2" / "small", symlinks=True)
    score = other / "deep" / "decode_test" / "score.json"
    content = json.loads(score.read_text())
    score.write_text(json.dumps({**content, "error_rate": content["error_rate"] / 2, "cer": content["cer"] / 2}))
    run([str(exp), str(other), "--out", str(tmp_path / "out")])
    assert "experiments have a smaller model" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["Experiment"] for row in found["tables"]["experiments"]] == ["small (1)", "small (2)"]
    deep = next(row for row in found["tables"]["ways"] if row["State"] == "deep")
    rates = [deep["small (1)"], deep["small (2)"]]
    assert rates == [content["error_rate"], content["error_rate"] / 2]
    assert deep["Mean CER, test (%)"] == statistics.fmean(rates) and deep["Deviation"] == statistics.stdev(rates)
    assert missing_numbers((tmp_path / "out" / "report.html").read_text(), found) == []


def test_models_of_other_kinds_stand_side_by_side(experiment, two_stacks):
    document = report.compare([experiment, two_stacks])
    table = document.first[0]
    assert [row[0] for row in table.rows] == ["small", "both"]
    how = [column.title for column in table.columns].index("How that is known")
    assert [row[how] for row in table.rows if row[how - 1]] and {row[how] for row in table.rows} <= {"measured, one thread", "at most, by multiply-adds", None}


def test_experiments_of_one_name_are_told_apart(experiment):
    named = [replace(experiment, name=name) for name in ("a", "a", "a (1)")]
    assert len(report.compare(named).facts["experiments"]) == 3


def test_a_comparison_needs_a_place_of_its_own(exp):
    with pytest.raises(ComflpError, match="--out"):
        run([str(exp), str(exp)])


def test_a_model_directory_is_no_experiment(exp):
    with pytest.raises(ComflpError, match=f"{exp / 'deep'} is a model directory; give the experiment that it is of"):
        run([str(exp / "deep")])
    assert not (exp / "deep" / "report").exists()


def test_another_folder_is_no_experiment(tmp_path):
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "notes.txt").write_text("beach")
    with pytest.raises(ComflpError, match=f"{tmp_path / 'holidays'} holds nothing of an experiment"):
        run([str(tmp_path / "holidays")])
    assert [path.name for path in (tmp_path / "holidays").iterdir()] == ["notes.txt"]
