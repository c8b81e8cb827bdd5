"""The benchmarks of coarse search and of the measures run, on the smallest cases that they have."""

import csv
import json
import sys

import kaldiio
import numpy as np
import pytest
from fixtures.benchmarks import BENCHMARKS, benchmark

from comflp.data.data_dir import read_data_dir
from comflp.inference.hidden_states import collect
from comflp.inference.output_change import output_changes
from comflp.measures import Speech, correlation_matrix
from comflp.proposal import PruningProposal


def test_coarse_search(tmp_path):
    said = benchmark("coarse_search.py", "--deepest", 12, "--out", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["depths"]) == {"6", "12"}
    assert "| 12 | 6 |" in said and (tmp_path / "figures.png").exists()


def test_correlation(tmp_path):
    case = "dc 25 x 1024, 10 x B=4"
    assert case in benchmark("correlation.py", "--cases", case, "--out", tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text())["matrices"][case]["seconds"] > 0


def test_pair_by_pair_is_the_measure():
    """What the benchmark compares with computes the same number."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from correlation import hidden_states, pair_svcca
    finally:
        sys.path.remove(str(BENCHMARKS))
    for decay in (0, 1):
        hidden = hidden_states(300, 3, 20, decay)
        assert abs(correlation_matrix(hidden, "svcca")[0, 2] - pair_svcca(hidden[:, 0], hidden[:, 2])) < 1e-6


def test_measure_stability(tmp_path):
    values = np.random.default_rng(0).normal(size=(128, 7, 4)).cumsum(axis=1).astype(np.float32)
    with open(tmp_path / "hidden.ark", "wb") as ark, open(tmp_path / "hidden.scp", "w") as scp:
        for number, matrix in enumerate(values):
            name = f"utt{number:03d}"
            scp.write(f"{name} {tmp_path}/hidden.ark:{ark.tell() + len(name) + 1}\n")
            kaldiio.save_ark(ark, {name: matrix})
    said = benchmark("measure_stability.py", "--hidden", tmp_path, "--probe-size", 64, "--num-prune", 3, "--out", tmp_path / "figures.json")
    results = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert {result["measure"] for result in results} >= {"dc", "svcca", "cka", "angular"}
    assert "2 disjoint probe sets of 64 utterances" in said


def test_measures(tmp_path, make_model, make_data):
    """Every method's figures on a small model; the methods that decode nothing run the layers that they say."""
    model, exp = make_model(num_layers=5), tmp_path / "exp"
    model.save(exp / "deep")
    for name, number in (("probe", 24), ("valid", 6), ("test", 6)):
        make_data(number, name=f"data/{name}")
    hidden = collect(model, read_data_dir(tmp_path / "data" / "probe"))
    for measure in ("dc", "svcca"):
        (exp / "correlation").mkdir(exist_ok=True)
        np.save(exp / "correlation" / f"{measure}.npy", correlation_matrix(hidden, measure))
        (exp / "correlation" / f"{measure}.json").write_text('{"num_utterances": 24}')
    out = tmp_path / "figures.json"
    benchmark("measures.py", "run", "--exp", exp, "--data", tmp_path / "data", "--num-prune", 2, 3, "--random", 6, "--refine", 6,
              "--num-utterances", 4, "--out", out)
    case = json.loads(out.read_text())["by_num_prune"]["2"]
    assert len(case["random"]) == 6 and all(-1 <= value <= 1 for value in case["spearman"].values())
    assert case["methods"]["skip_kl"]["coarse_runs"] == 4 * (5 + 5 * (25 - 1) // 6)
    assert case["methods"]["skip_kl, refined by kl"]["coarse_runs"] > case["methods"]["skip_kl"]["coarse_runs"]
    said = benchmark("measures.py", "table", out, out)
    assert "| skip_kl, refined by kl |" in said and "+- 0.00" in said and "N=3" in said
    benchmark("measures.py", "figure", out, "--out", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10000


def test_weak_models(tmp_path, make_model, make_data):
    """All criteria from one pass, a pool that grows, and a run that goes on from what it kept."""
    model = make_model(num_layers=5)
    model.save(tmp_path / "deep")
    for number, name in ((40, "probe"), (6, "valid"), (6, "test")):
        make_data(number, name=f"data/{name}")
    options = ("weak_models.py", "--model", tmp_path / "deep", "--data", tmp_path / "data", "--out", tmp_path / "out",
               "--num-prune", 2, "--random", 5, "--pool", 4, "--most", 8, "--utterances", 4)
    benchmark(*options)
    scores = json.loads((tmp_path / "out" / "scores2.json").read_text())
    true = output_changes(Speech(model, read_data_dir(tmp_path / "data" / "probe")).drawn(4, 0),
                          [PruningProposal.parse(name, 5) for name in scores["scores"]], "kl")
    for proposal, cost in true.items():
        total, frames = scores["scores"][str(proposal)]["kl"]
        assert total / frames == pytest.approx(cost, rel=1e-4)
    assert len(scores["pool"]) in (4, 8) and len(scores["random"]) == 5
    (tmp_path / "out" / "summary.json").unlink()
    benchmark(*options)
    said = benchmark("weak_tables.py", "table", tmp_path / "out")
    deep, two = json.loads((tmp_path / "out" / "summary.json").read_text()).values()
    row = next(line for line in said.splitlines() if line.startswith("| kl + sampled |")).split(" | ")
    assert "1 deep models" in said and float(row[5]) == pytest.approx(two["methods"]["kl + sampled"]["ten"], abs=0.05)
    benchmark("weak_tables.py", "csv", tmp_path / "out", "--out", tmp_path / "points.csv")
    with open(tmp_path / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == list(two["methods"])
    assert all(float(row["deep, test"]) == pytest.approx(deep["test"], rel=1e-3) for row in rows)
    assert benchmark("weak_tables.py", "table", tmp_path / "points.csv").splitlines()[:2] == said.splitlines()[:2]
    in_bands = benchmark("weak_tables.py", "bands", tmp_path / "points.csv").splitlines()
    assert len(in_bands) == 5 and float(in_bands[-1].split(" | ")[4]) == pytest.approx(two["methods"]["near+text"]["ten"], abs=0.05)
    benchmark("weak_tables.py", "csv", tmp_path / "points.csv", "--out", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "points.csv").read_bytes()
    benchmark("weak_tables.py", "figure", tmp_path / "out", "--out", tmp_path / "points.png")
    assert (tmp_path / "points.png").stat().st_size > 10000


@pytest.mark.parametrize(("model", "passes"), [("mini", ["dump", "skip_kl", "fine", "decode"]), ("wav2vec2", ["decode"])])
def test_throughput(model, passes):
    said = benchmark("throughput.py", model, "--num-utterances", 2, "--mean-seconds", 1, "--passes", *passes)
    assert [line.split(" | ")[0] for line in said.splitlines()[-len(passes):]] == [f"| {name}" for name in passes]
