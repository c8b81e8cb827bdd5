"""docs/transformers_trainer.md, followed to the letter for two steps on a small random model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.models import make_model as make_library_model
from transformers.utils.import_utils import is_accelerate_available

import comflp.models
from comflp.artifacts import read_json
from comflp.proposal import PruningProposal

PAGE = Path(__file__).resolve().parents[1] / "docs" / "transformers_trainer.md"


@pytest.mark.skipif(not is_accelerate_available(), reason="transformers' Trainer needs accelerate: pip install accelerate")
def test_the_page(make_data, tmp_path):
    deep = comflp.models.load(make_library_model(tmp_path / "deep", "wav2vec2", "abcde '"))
    proposal = PruningProposal.parse("2", num_layers=deep.num_layers)
    pruned = deep.prune(proposal)
    pruned.origin["training"] = {"metric": "cer", "error_rate": 43.21}
    pruned.save(tmp_path / "repaired")
    for name in ("train", "dev"):
        make_data(8, name=name)
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "data" / name)
    text = PAGE.read_text(encoding="utf-8")
    (script,), (commands,) = (re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) for language in ("python", "bash"))
    (tmp_path / "finetune_with_trainer.py").write_text(script)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands.replace("finetuned 2000", "finetuned 2")], cwd=tmp_path,
                          env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "eval_loss" in done.stdout and 0 < read_json(tmp_path / "finetuned" / "scores" / "score.json")["cer"]
    trained = comflp.models.load(tmp_path / "finetuned")
    assert trained.num_layers == deep.num_layers - 1 and trained.origin["pruning"][-1]["removed"] == str(proposal)
    card = (tmp_path / "finetuned" / "README.md").read_text()
    assert "| 1 | 4 | 2 |" in card and "43.21" not in card + (tmp_path / "finetuned" / "config.json").read_text()
