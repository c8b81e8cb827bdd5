"""benchmarks/fine_search.py runs, and what it compares agrees."""

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "fine_search.py"


def test_both_ways_give_the_same_hypotheses_and_sharing_runs_fewer_layers():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "mini", "--num-utterances", "3", "--glp-utterances", "1", "--mean-seconds", "0.6"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "hypotheses that differ: 0 of 30" in done.stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line.startswith("|")]
    runs_a_batch = {row[0]: float(row[5]) for row in rows if row[1].replace(".", "").isdigit()}
    assert runs_a_batch["10 candidates, one by one"] == 60 > runs_a_batch["10 candidates, fine search"]
    assert runs_a_batch["GLP 12 to 6, one by one"] == 502 >= 2 * runs_a_batch["GLP 12 to 6, shared"]
