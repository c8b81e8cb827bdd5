"""Fixtures that tests of several subjects share: a small model with random weights, and noise to decode."""

import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # as many test processes as cores, so one thread each; read when torch is imported
os.environ["HF_HUB_OFFLINE"] = "1"  # no test needs a network
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # run.sh: this environment

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what it puts into the background; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.utils.importutils import LazyModule

from comflp.data.data_dir import Utterance, read_data_dir, write_data_dir

SAMPLE_RATE = 8000

LazyModule.__file__ = None  # hypothesis asks every loaded module for its file; these would import k2 and others to tell

LONGEST = (
    "test_run_interrupted.py", "test_recipes_published.py", "test_recipe_run.py", "test_new_corpus.py", "test_bad_inputs.py", "test_recipe_whisper.py",
    "test_shared_passes.py", "test_export.py", "test_stages_inference.py", "test_launch.py", "test_quickstart.py",
)  # a minute each or more, the longest first


def pytest_addoption(parser):
    parser.addoption("--campaign", action="store_true", help="the kill campaign with 100 kills instead of 8")


def pytest_collection_modifyitems(items):
    """The longest files first, so that two processes end at the same time; the others, and the tests of a file, in random order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """One thread, whatever the test before has called: on small matrices more only wait for one another, and they sum otherwise."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory):
    """What other programs put into the system's temporary directory, torchrun above all, goes where pytest cleans up."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(tmp_path_factory.getbasetemp())


@pytest.fixture
def written(tmp_path):
    """``written(content, name="audio")``: the path of a file of these bytes."""

    def write(content, name="audio"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.fixture
def make_model():
    """``make_model(num_layers=4, seed=0, norm_first=True)``: a TransformerCTC of random weights whose layers all change its output."""
    from comflp.models.own.tokenizer import SentencePieceTokenizer
    from comflp.models.own.transformer_ctc import Architecture, TransformerCTC

    def make(num_layers=4, seed=0, norm_first=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            architecture = Architecture(
                sample_rate=SAMPLE_RATE, n_mels=20, d_model=16, nhead=2, d_ffn=32, num_layers=num_layers, norm_first=norm_first
            )
            model = TransformerCTC(SentencePieceTokenizer.train(["abc de"]), architecture)
            for layer in model.stacks["encoder"].layers:
                layer.linear2.weight.data.mul_(3)
        return model.eval()

    return make


@pytest.fixture
def make_data(tmp_path):
    """``make_data(num_utterances=12, seed=0)``: a data directory of noise and tones, 0.3 to 1 s, texts of a to e."""

    def make(num_utterances=12, seed=0, name="data"):
        rng = np.random.default_rng(seed)
        directory = tmp_path / name
        utterances = []
        for number in range(num_utterances):
            seconds = float(np.round(rng.uniform(0.3, 1.0), 3))
            time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
            tone = np.sin(2 * np.pi * rng.uniform(200, 2000) * time * (1 + time))
            wav = tmp_path / f"{name}-wav" / f"u{number:03d}.wav"
            wav.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(wav, 0.3 * tone + 0.1 * rng.standard_normal(len(time)), SAMPLE_RATE)
            text = "".join(rng.choice(list("abcde"), size=rng.integers(2, 6)))
            utterances.append(Utterance(f"u{number:03d}", str(wav), text, f"s{number % 3}", len(time) / SAMPLE_RATE))
        write_data_dir(directory, utterances)
        return read_data_dir(directory)

    return make


@pytest.fixture(scope="session")
def noise_data(tmp_path_factory):
    """Ten utterances of 0.6 or 0.9 s of noise at 16 kHz, which the models of libraries take."""
    directory, generator, utterances = tmp_path_factory.mktemp("noise"), np.random.default_rng(0), []
    for number in range(10):
        seconds = 0.6 if number % 2 else 0.9
        wav = directory / f"u{number}.wav"
        soundfile.write(wav, 0.1 * generator.standard_normal(int(seconds * 16000)), 16000)
        utterances.append(Utterance(f"u{number}", str(wav), "a", "s", seconds))
    write_data_dir(directory / "data", utterances)
    return read_data_dir(directory / "data")
