"""The benchmarks of coarse search and of the measures run, on the smallest cases that they have."""

import json
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def benchmark(name, *options):
    done = subprocess.run([sys.executable, str(BENCHMARKS / name), *map(str, options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    from comflp.measures import correlation_matrix

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
