"""docs/new_corpus.md, followed to the letter: the blocks of commands of each of its paths are run, in order, in one shell."""

import csv
import json
import os
import re
import shutil
import subprocess

import pytest

from fixtures.corpora import ROOT, WORDS, lay_out_librispeech
from fixtures.models import make_model
from fixtures.recipe import environment


PAGE = (ROOT / "docs" / "new_corpus.md").read_text(encoding="utf-8")
BLOCKS = {"A": (0, 2, 3, 5), "B": (1, 2, 4, 6)}
"""Which blocks of commands belong to each path."""


def commands_of(path):
    """The ```bash blocks of a path of the page, joined."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 7
    return "\n".join(blocks[number] for number in BLOCKS[path])


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
    for name in ("mini", "librispeech"):
        shutil.copytree(ROOT / "recipes" / name, clone / "recipes" / name, symlinks=True, ignore=made)
    for name in ("setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, clone / name)
    return clone


def follow(clone, path):
    """Run a path's commands; returns the new recipe and what they said."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands_of(path)], cwd=clone, env=environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout
    assert "folder that holds train.csv, dev.csv and test.csv [../../../phrases]" in done.stdout
    recipe = clone / "recipes" / "phrases"
    assert (recipe / "run.sh").read_text().startswith("#!/usr/bin/env bash\n# Layer pruning on the phrases corpus.\n")
    assert sorted(os.listdir(recipe / "local")) == ["prepare.sh"]
    report = (recipe / "exp" / "tryout" / "report" / "RESULTS.md").read_text()
    assert "Layer pruning on phrases" in report and "WER" in report
    assert not re.search("ynthetic|LibriSpeech|train-clean", report)
    for made in ("mini", "librispeech"):
        assert not list((clone / "recipes" / made).glob("exp"))
    return recipe, done.stdout


def test_a_copy_of_mini_trains_a_model_of_its_own(clone):
    recipe, _ = follow(clone, "A")
    ranked = json.loads((recipe / "exp" / "tryout" / "prune6" / "dc" / "ranked.json").read_text())
    assert ranked["metric"] == "wer" and ranked["num_utterances"] == 8


def test_a_copy_of_librispeech_prunes_a_model_that_is_there(clone):
    make_model(clone.parent / "model", "hubert", "".join(sorted({" ", *"".join(WORDS).lower()})))
    recipe, said = follow(clone, "B")
    assert "train-parts" not in said and "letter-case" not in said
    assert (recipe / "exp" / "tryout" / "report" / "report.html").exists()
    scores = sorted({path.parent.name for path in (recipe / "exp" / "tryout").glob("**/decode_*/score.json")})
    assert scores == ["decode_dev", "decode_test"]


def test_the_page_names_what_exists():
    for path in re.findall(r"`((?:utils|recipes|tests)/[\w./]+)`", PAGE):
        assert (ROOT / path).exists(), path
    for recipe, variables in (
        ("mini", ("num_train", "metric", "num_valid", "num_probe", "model", "decode_sets")),
        ("librispeech", ("train_parts", "letter_case", "metric", "num_valid", "num_probe", "model", "decode_sets")),
    ):
        options = (ROOT / "recipes" / recipe / "run.sh").read_text(encoding="utf-8")
        for variable in variables:
            assert re.search(rf"(?m)^{variable}=", options), (recipe, variable)
            assert f"`{variable}`" in PAGE


@pytest.mark.parametrize("recipe, rate", [("mini", 16000), ("fsdd", 8000)])
def test_one_sampling_rate_in_the_configuration(recipe, rate):
    configuration = (ROOT / "recipes" / recipe / "conf" / "deep.yaml").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^ *(?:\w+_)?(?:rate|freq): *(\S.*)$", configuration) == [str(rate), "!ref <sample_rate>", "!ref <sample_rate>"]
