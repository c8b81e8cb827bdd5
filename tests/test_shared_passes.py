"""Two processes that share the utterances give the bytes of one: dump, skip costs, refinement, fine search and decoding."""

import os
import subprocess
import sys
from pathlib import Path

LOCAL = Path(__file__).resolve().parents[1] / "local"

SCRIPT = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(LOCAL)!r})
from cli import run
from comflp.data.data_dir import read_data_dir
from comflp.inference.decode import decode
from comflp.inference.hidden_states import dump
from comflp.measures import Speech, skip_matrix
from comflp.models import load
from comflp.processes import processes
from comflp.proposal import PruningProposal
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.refine import Refinement
from comflp.search.fine.evaluate import evaluate


def main():
    model, data, out = load("deep"), read_data_dir("data"), Path(sys.argv[1])
    proposals = [PruningProposal.parse(text, num_layers=4) for text in ("1", "2", "3", "1-2", "2,4")]
    with processes() as ranks:
        how = {{"max_seconds": 2.0, "ranks": ranks}}
        dump(model, data, out, **how)
        speech = Speech(model, data, **how, work=out / "work")
        costs = skip_matrix(speech, num_utterances=8)
        refined = Refinement(3, 16, seed=0).search(speech, BlockMatrix(costs, is_cost=True), [1], 3)[1].candidates
        found = evaluate(model, proposals, data, race=[proposals], work=out / "work", **how)
        texts = decode(model, data, work=out / "work", **how)
        (out / f"result.{{ranks.rank}}.json").write_text(json.dumps([
            ranks.size, costs.tolist(), [(str(c.proposal), c.quality) for c in refined],
            {{str(p): (found.texts[p], found.counts[p].tolist()) for p in proposals}}, found.layer_runs, texts,
        ]))


run(main)
"""


def test_two_processes_give_the_bytes_of_one(make_model, make_data, tmp_path):
    make_model().save(tmp_path / "deep")
    make_data(16)
    (tmp_path / "passes.py").write_text(SCRIPT)
    for size in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(LOCAL / "launch.py"), "--nproc-per-node", size, str(tmp_path / "passes.py"), f"out{size}"],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
    alone, first, second = (
        (tmp_path / name).read_text() for name in ("out1/result.0.json", "out2/result.0.json", "out2/result.1.json")
    )
    assert alone.startswith("[1,") and first.startswith("[2,")
    assert alone[2:] == first[2:] == second[2:], "every process has all results"
    for name in ("hidden.ark", "frame_cosine.npy"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()
    journals = list((tmp_path / "out2" / "work").glob("*.1.jsonl"))
    assert len(journals) == 4, "the second process had a share of every pass"
