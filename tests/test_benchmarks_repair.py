"""The benchmarks of repair and of deeper models run, on the smallest cases that they have, and go on from what they kept."""

import json
import shutil
from functools import partial

import pytest
from fixtures.benchmarks import BENCHMARKS, benchmark

import comflp.models
from comflp.data.data_dir import read_data_dir
from comflp.inference.hidden_states import dump
from comflp.measures import Speech, skip_matrix


@pytest.fixture
def recipe(tmp_path, make_model, make_data):
    """A folder with exp/deep, eight layers, and data/."""
    make_model(num_layers=8).save(tmp_path / "exp" / "deep")
    for number, name in ((40, "probe"), (8, "train"), (6, "dev"), (6, "valid"), (6, "test")):
        make_data(number, name=f"data/{name}")
    return tmp_path


@pytest.mark.parametrize("table", ["states", "sizes", "maps", "cost"])
def test_repair(recipe, table):
    run = partial(benchmark, cwd=recipe)
    words = ("repair.py", table, "--exp", "exp", "--num-prune", 6, "--choices", "top", "--sizes", 8, "--random", 2)
    said = run(*words)
    rows = said.splitlines()[2:]
    assert len(rows) == {"states": 2, "sizes": 2, "maps": 7, "cost": 3}[table]
    if table == "cost":
        return
    kept = (recipe / "exp" / "repair.jsonl").read_text()
    assert run(*words) == said
    assert (recipe / "exp" / "repair.jsonl").read_text() == kept


def test_several_deep_models(recipe):
    found = recipe / "exp" / "prune6" / "skip_kl" / "candidates.json"
    found.parent.mkdir(parents=True)
    found.write_text(json.dumps({"num_layers": 8, "candidates": [{"proposal": "2-7"}]}))
    words = ("--num-prune", 6, "--choices", "top", "skip_kl", "--sizes", 8, "--random", 2)
    one = benchmark("repair.py", "states", "--exp", "exp", *words, cwd=recipe).splitlines()[2:]
    shutil.copytree(recipe / "exp", recipe / "again")
    several = benchmark("repair_seeds.py", "exp", "again", *words, cwd=recipe).splitlines()[4:]
    assert len(several) == len(one) == 3
    for line, row in zip(several, one):
        (_, _, pruned, repaired), expected = line.split(" | "), row.split(" | ")
        assert pruned == f"{expected[4].split()[0]} +- 0.00" and repaired.startswith(f"{expected[5].split()[0]} +- 0.00")
    benchmark("repair_figure.py", "exp", "again", *words[:-4], "--size", 8, "--out", "states.png", cwd=recipe)
    assert (recipe / "states.png").stat().st_size > 10_000


CONFIG = BENCHMARKS.parent / "recipes" / "fsdd" / "conf" / "finetune.yaml"


def test_distillation_in_the_time_of_a_repair(recipe):
    said = benchmark("repair_training.py", "distillation", "--exp", "exp", "--num-prune", 6, "--choices", "top", "--times", 1, "--config", CONFIG, cwd=recipe)
    assert "distilled, 1x" in said and "that one repaired" in said and "6" in said.splitlines()[2]


def test_what_one_would_do_instead(recipe):
    run = partial(benchmark, cwd=recipe)
    starts = ("pruned", "repaired", "scratch", "scratch_distilled")
    said = run("repair_training.py", "finetune", "--exp", "exp", "--num-prune", 6, "--choices", "top", "--epochs", 0, 1,
               "--starts", *starts, "--config", CONFIG)
    assert all(f"1 from {start}" in said for start in starts)
    run("low_rank.py", "--exp", "exp", "--shares", 0.5)
    rows = run("instead.py", "--exp", "exp", "--choice", "top", "--epochs", 1, "--out", "instead.png").splitlines()[2:]
    seconds = {cells[0]: cells[3] for cells in ([cell.strip() for cell in row.strip("| ").split("|")] for row in rows)}
    assert len(rows) == 1 + 2 + 2 + 1 + 1 + 1 and (recipe / "instead.png").stat().st_size > 10_000
    assert float(seconds["repaired, fine-tuned, 1 epoch"]) >= float(seconds["repaired"]) > 0


@pytest.mark.parametrize("removed", ["none", "3-4"])
def test_low_rank(recipe, removed):
    said = benchmark("low_rank.py", "--exp", "exp", "--remove", removed, "--shares", 1.5, 0.5, cwd=recipe).splitlines()[2:]
    whole, same, half = ([cell.strip() for cell in line.strip("| ").split("|")] for line in said)
    assert same[0] == whole[0] and same[1] == "100%" and same[3] == whole[3]
    assert float(half[0]) < float(whole[0]) and int(half[1].rstrip("%")) <= 50


def test_draws(recipe):
    deep = comflp.models.load(recipe / "exp" / "deep")
    dump(deep, read_data_dir(recipe / "data" / "probe"), recipe / "exp" / "hidden")
    words = ("--exp", "exp", "--choices", "top", "--draws", 2, "--dc", 8, 40, "--skip-kl", 8, "--repair", 8, 40, "--figure", "draws.png")
    eight, all_of_them = benchmark("draws.py", *words, cwd=recipe).splitlines()[2:]
    cells = [cell.strip() for cell in all_of_them.strip("| ").split("|")]
    assert cells[:2] == ["40", "10.0"] and cells[2].endswith("+- 0.00")  # of all utterances there is one draw
    assert eight.count("+-") == 3 and (recipe / "draws.png").stat().st_size > 10_000
    kept = (recipe / "exp" / "draws.jsonl").read_text()
    assert benchmark("draws.py", *words, cwd=recipe).splitlines()[2:] == [eight, all_of_them] and (recipe / "exp" / "draws.jsonl").read_text() == kept


def test_speed_of_low_rank():
    rows = benchmark("low_rank_speed.py", "--layers", 2, "--frames", 20, "--rounds", 3).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
    assert [row[2] for row in cells] == 2 * ["deep", "half of the layers", "all layers, low rank"]
    for deep, half, narrow in (cells[:3], cells[3:]):
        assert float(narrow[3]) == pytest.approx(float(half[3]), rel=0.05) and float(half[3]) == pytest.approx(float(deep[3]) / 2, rel=0.05)


def test_deeper_models(recipe):
    run = partial(benchmark, cwd=recipe)
    words = ("--model", "exp/deep", "--out", "depth", "--random", 4, "--utterances", 4, "--hidden", 20, "--valid", 4, "--test", 4)
    run("depth.py", "run", *words)
    summary = json.loads((recipe / "depth" / "summary.json").read_text())
    assert set(summary["by_num"]) == {"4", "6", "7"}
    rows = summary["by_num"]["4"]["rows"]
    blocks = [(start, end) for start in range(8) for end in range(start + 1, 9) if end - start < 8]
    assert rows["skip_kl"]["passes"] == 16 / 8 * (8 + sum(8 - end for _, end in blocks))
    assert rows["skip_kl, blocks of 1"]["passes"] == 16 / 8 * (8 + sum(range(8)))
    speech = Speech(comflp.models.load(recipe / "exp" / "deep"), read_data_dir(recipe / "data" / "probe"))
    whole = skip_matrix(speech, num_utterances=16, max_block=2)
    kept = json.loads((recipe / "depth" / "matrices.json").read_text())["skip_kl, blocks of 2"]["values"]
    assert kept[1][4] == pytest.approx(whole[1, 4], rel=1e-5)
    (recipe / "depth" / "summary.json").unlink()
    run("depth.py", "run", *words)
    assert json.loads((recipe / "depth" / "summary.json").read_text()) == summary
    assert "N=4 / 6 / 7" in run("depth.py", "table", "depth")
    shutil.copytree(recipe / "depth", recipe / "seed2")
    other = json.loads(json.dumps(summary))
    other["by_num"]["4"]["rows"]["skip_kl"]["first"] += 1.0
    (recipe / "seed2" / "summary.json").write_text(json.dumps(other))
    (line,) = (line for line in run("depth.py", "table", "depth", "seed2").splitlines() if line.startswith("| skip_kl |"))
    assert f" | {rows['skip_kl']['first'] + 0.5:.1f} +- 0.7 / " in line
    run("depth.py", "figure", "depth", "seed2", "--out", "depth.png")
    assert (recipe / "depth.png").stat().st_size > 10000
