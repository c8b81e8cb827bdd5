"""benchmarks/deploy.py measures the models of an experiment and leaves what the report shows."""

import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.in_process import call

from comflp import report
from comflp.artifacts import read_json
from comflp.report.document import Table

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "deploy.py"


def test_every_number_of_the_deep_model_is_measured(make_model, make_data, tmp_path):
    make_data(4)
    model = make_model(num_layers=3)
    model.save(tmp_path / "exp" / "deep")
    done = call("benchmarks/deploy.py", ["--exp", "exp", "--data", "data", "--runs", "2", "--threads", "1"], tmp_path)
    assert done.status == 0, done.said
    content = read_json(tmp_path / "exp" / "deploy" / "deploy.json")
    row = content["rows"][0]
    assert (row["path"], row["format"], row["num_layers"]) == ("deep", "torch", 3)
    assert row["num_parameters"] == model.num_parameters
    assert row["megabytes"] == pytest.approx(report.collect(tmp_path / "exp").deep.megabytes)
    assert row["peak_megabytes"] > 50 and content["baseline_megabytes"] > 50 and row["rtf"]["1"] > 0
    # at least the 4 d^2 of attention and 4 d^2 of the feed-forward part a frame, 25 frames a second, with d = 16
    assert row["multiply_adds_per_second"] > 3 * 8 * 16**2 * 25
    assert 0.2 < row["layer_share"] < 1 and f"{row['layer_share']:.0%} of the time in layers" in done.said
    section = next(part for part in report.build(report.collect(tmp_path / "exp")).sections if part.key == "deployment")
    assert section.every(Table)[0].rows[0][:3] == ("Deep model", "PyTorch", 1.0)


def test_a_missing_model_is_named(make_data, tmp_path):
    make_data(2)
    command = [sys.executable, str(BENCHMARK), "--exp", "exp", "--data", "data", "--models", "prune6/dc_fine/finetuned"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "prune6/dc_fine/finetuned" in done.stderr and "Traceback" not in done.stderr
