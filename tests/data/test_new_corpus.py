"""docs/new_corpus.md, followed to the letter: every block of commands in it is run, in order, in one shell."""

import csv
import json
import os
import re
import shutil
import subprocess

import pytest

from fixtures.corpora import ROOT, lay_out_librispeech
from fixtures.recipe import environment


def commands_of(page):
    """The ```bash blocks of a Markdown page, joined."""
    return "\n".join(re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL))


def lay_out_phrases(folder):
    """The corpus that the page speaks of: clips, and a table for each set."""
    parts = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
    source = lay_out_librispeech(folder / "source", {"train-clean-100": 5, "dev-clean": 2, "test-clean": 2})
    (folder / "clips").mkdir()
    for name, part in parts.items():
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["wav", "text", "speaker"])
            for transcript in sorted((source / part).rglob("*.trans.txt")):
                for line in transcript.read_text().splitlines():
                    utt_id, text = line.split(" ", 1)
                    shutil.copy(transcript.with_name(f"{utt_id}.flac"), folder / "clips")
                    table.writerow([f"clips/{utt_id}.flac", text.lower(), utt_id.split("-")[0]])
    shutil.rmtree(folder / "source")


@pytest.fixture
def clone(tmp_path):
    """What somebody who has cloned the repository has, beside a corpus."""
    home = tmp_path / "hus på landet"
    (home / "phrases").mkdir(parents=True)
    lay_out_phrases(home / "phrases")
    clone = home / "comflp"
    made = shutil.ignore_patterns("data", "exp", "downloads", "__pycache__", ".tmp-*")
    for name in ("comflp", "local", "utils"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "recipes" / "mini", clone / "recipes" / "mini", symlinks=True, ignore=made)
    for name in ("setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, clone / name)
    return clone


def test_the_page_makes_a_recipe_that_runs(clone):
    commands = commands_of(ROOT / "docs" / "new_corpus.md")
    assert "cp -R recipes/mini recipes/phrases" in commands and "./run.sh --model tryout" in commands
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=clone, env=environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout
    assert "folder that holds train.csv, dev.csv and test.csv [../../../phrases]" in done.stdout

    recipe = clone / "recipes" / "phrases"
    assert (recipe / "run.sh").read_text().startswith("#!/usr/bin/env bash\n# Layer pruning on the phrases corpus.\n")
    assert sorted(os.listdir(recipe / "local")) == ["prepare.sh"]
    report = (recipe / "exp" / "tryout" / "report" / "RESULTS.md").read_text()
    assert "Layer pruning on phrases" in report and "WER" in report and "ynthetic" not in report
    ranked = json.loads((recipe / "exp" / "tryout" / "prune6" / "dc" / "ranked.json").read_text())
    assert ranked["metric"] == "wer" and ranked["num_utterances"] == 8
    assert not list((clone / "recipes" / "mini").glob("exp"))


def test_the_page_names_what_exists():
    page = (ROOT / "docs" / "new_corpus.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:utils|recipes|tests)/[\w./]+)`", page):
        assert (ROOT / path).exists(), path
    options = (ROOT / "recipes" / "mini" / "run.sh").read_text(encoding="utf-8")
    for variable in ("num_train", "metric", "num_valid", "num_probe", "model"):
        assert re.search(rf"(?m)^{variable}=", options), variable
