"""Each recipe's local/prepare.sh and download.sh as run.sh calls them, in a copy of the recipe; and killed on the way."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from comflp.data.data_dir import read_data_dir
from comflp.data.inventory import CACHE
from fixtures.corpora import ROOT, lay_out_aishell, lay_out_fsdd, lay_out_librispeech
from fixtures.recipe import environment
from fixtures.whisper_recipe import make_prompts
from test_download import make_archive


@pytest.fixture
def recipe(tmp_path):
    """``recipe("mini")``: a copy of that recipe that has made nothing yet, in a folder with a space in its name.

    ``recipe("mini/other")`` is a second one.
    """

    def copy(name):
        name, _, other = name.partition("/")
        folder = tmp_path / "my recipes" / f"{name}{other}"
        folder.mkdir(parents=True)
        shutil.copytree(ROOT / "recipes" / name / "local", folder / "local", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "recipes" / name / "path.sh", folder)
        (folder / "steps").symlink_to(ROOT / "local")
        (folder / "utils").symlink_to(ROOT / "utils")
        return folder

    return copy


def call(folder, name, *arguments, expect=0):
    """Run one of the recipe's scripts; returns what it said."""
    done = subprocess.run([f"local/{name}.sh", *map(str, arguments)], cwd=folder, env=environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == expect, done.stdout
    return done.stdout


def sizes(folder, monkeypatch, *names):
    monkeypatch.chdir(folder)
    return [len(read_data_dir(f"data/{name}")) for name in names]


def test_mini(recipe, monkeypatch):
    folder = recipe("mini")
    options = ["--num-train", 4, "--num-dev", 2, "--num-test", 2, "--processes", 1]
    assert "wrote data/{train,dev,test}" in call(folder, "prepare", *options)
    assert sizes(folder, monkeypatch, "train", "dev", "test") == [4, 2, 2]
    assert read_data_dir("data/train").utterances[0].wav.startswith("downloads/data_aishell/wav/train/S0001/")
    assert call(folder, "prepare", *options).count("up to date") == 2
    assert "seed: 1 before, 2 now" in call(folder, "prepare", *options, "--seed", 2, expect=1)
    before = read_data_dir("data/train").fingerprint()
    call(folder, "prepare", *options, "--seed", 2, "--force", "true")
    assert read_data_dir("data/train").fingerprint() != before


def test_fsdd(recipe, monkeypatch, tmp_path):
    folder = recipe("fsdd")
    corpus = lay_out_fsdd(tmp_path / "my corpus")
    call(folder, "prepare", "--corpus", corpus, "--num-train", 6, "--num-short", 2, "--num-dev", 3, "--num-test", 4)
    assert sizes(folder, monkeypatch, "train", "dev", "test") == [8, 3, 4]
    shutil.copytree(corpus, folder / "downloads" / "free-spoken-digit-dataset")
    assert "is there already" in call(folder, "prepare", "--num-train", 6, "--num-short", 2, "--num-dev", 3, "--num-test", 4)


def test_aishell1(recipe, monkeypatch, tmp_path):
    folder = recipe("aishell1")
    lay_out_aishell(tmp_path / "my corpus", sizes=(8, 4, 4))
    assert "AISHELL-1 as published has 120,098" in call(folder, "prepare", "--corpus", tmp_path / "my corpus")
    assert sizes(folder, monkeypatch, "train", "dev", "test") == [8, 4, 4]


def test_librispeech(recipe, monkeypatch, tmp_path):
    folder = recipe("librispeech")
    lay_out_librispeech(tmp_path / "my corpus", {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1, "test-other": 1})
    call(folder, "prepare", "--corpus", tmp_path / "my corpus", "--letter-case", "lower")
    assert sizes(folder, monkeypatch, "train", "dev", "test", "test_other") == [4, 4, 4, 4]
    assert read_data_dir("data/dev").utterances[0].text.islower()


def test_whisper(recipe, monkeypatch, tmp_path):
    """Prompts, of which no two sets have a text in common, and data directories that are there."""
    folder = recipe("whisper")
    make_prompts(tmp_path / "my corpus", number=12)
    options = ("--corpus", tmp_path / "my corpus", "--num-dev", 3, "--num-test", 4)
    assert "wrote data/{train,dev,test}" in call(folder, "prepare", *options)
    assert sizes(folder, monkeypatch, "train", "dev", "test") == [4, 4, 4], "prompts of one text, two each, are together"
    texts = [{utterance.text for utterance in read_data_dir(f"data/{name}")} for name in ("train", "dev", "test")]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 6
    assert "up to date" in call(folder, "prepare", *options)
    assert "12 prompts, too few" in call(folder, "prepare", "--corpus", tmp_path / "my corpus", "--force", "true", expect=1)
    other = recipe("whisper/other")
    call(other, "prepare", "--corpus", folder / "data")
    assert sizes(other, monkeypatch, "train", "dev", "test") == [4, 4, 4]
    shutil.rmtree(folder / "data" / "dev")
    assert "nor the data directories dev" in call(other, "prepare", "--corpus", folder / "data", expect=1)
    assert "there are prompts in it, es and en only, not in klingon" in call(other, "download", "--language", "klingon", expect=1)
    (other / "downloads" / "prompts_it").mkdir(parents=True)
    assert "is there already" in call(other, "download")


def test_aishell1s_download_unpacks_what_has_come_and_says_what_has_not(recipe):
    folder = recipe("aishell1")
    (folder / "downloads" / "resource_aishell").mkdir(parents=True)
    make_archive(folder / "downloads" / "data_aishell" / "wav" / "S0002.tar.gz", {"train/S0002/a.wav": b"a"})
    assert "1 archives unpacked" in call(folder, "download")
    assert (folder / "downloads" / "data_aishell" / "wav" / "train" / "S0002" / "a.wav").read_bytes() == b"a"
    shutil.rmtree(folder / "downloads" / "resource_aishell")
    said = call(folder, "download", "--mirror", "http://127.0.0.1:1/33", expect=1)
    assert "http://127.0.0.1:1/33/resource_aishell.tgz cannot be fetched" in said


def test_librispeechs_download_fetches_only_what_is_missing(recipe):
    folder = recipe("librispeech")
    (folder / "downloads" / "LibriSpeech" / "dev-clean").mkdir(parents=True)
    assert "has dev-clean" in call(folder, "download", "--parts", "dev-clean")
    said = call(folder, "download", "--parts", "dev-clean test-clean", "--mirror", "http://127.0.0.1:1", expect=1)
    assert "http://127.0.0.1:1/test-clean.tar.gz cannot be fetched" in said and "dev-clean.tar.gz" not in said


def count_wavs(folder):
    """Wav files below ``folder``, whose folders may be renamed meanwhile."""
    return sum(name.endswith(".wav") for _, _, names in os.walk(folder) for name in names)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith("record.json") and path.name != CACHE}


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("files", [1, 25, 45])
def test_killed_while_it_writes_and_run_again_it_gives_the_same(script, tmp_path, stop, files):
    corpus = lay_out_fsdd(tmp_path / "corpus", speakers=("anna",), takes=(0, 2, 5))
    name = "recipes/fsdd/local/make_strings.py"
    arguments = ["--corpus", str(corpus), "--num-train", "40", "--num-short", "0", "--num-dev", "10", "--num-test", "10", "--data"]
    for data in ("undisturbed", "killed"):
        (tmp_path / data).mkdir()
    script(name, *arguments, "data", cwd=tmp_path / "undisturbed")

    killed = tmp_path / "killed" / "data"
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "local")))}
    process = subprocess.Popen([sys.executable, ROOT / name, *arguments, "data"], cwd=tmp_path / "killed", env=environment(**paths),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and count_wavs(killed) < files:
        time.sleep(0.001)
    process.send_signal(stop)
    process.wait()
    for folder in ("train", "dev", "test"):
        if (killed / folder).exists():
            assert contents(killed / folder) == contents(tmp_path / "undisturbed" / "data" / folder)
    script(name, *arguments, "data", cwd=tmp_path / "killed")
    assert contents(killed) == contents(tmp_path / "undisturbed" / "data")
