"""What the tests of data share: running a script of the repository as a user does, and one wav file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(tmp_path):
    """``script("local/x.py", "--option", value)`` runs in tmp_path and returns the finished process, output as text."""

    def run_script(name, *arguments, cwd=tmp_path, check=True):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "local")))}
        command = [sys.executable] if name.endswith(".py") else ["bash"]
        done = subprocess.run([*command, str(ROOT / name), *map(str, arguments)], cwd=cwd, env=environment, text=True,
                              capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run_script


@pytest.fixture
def write_wav(tmp_path):
    """``write_wav("a.wav", seconds=1.0, rate=16000, channels=1)``: noise, written under tmp_path; returns the path."""

    def write(name="a.wav", seconds=1.0, rate=16000, channels=1, **options):
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, (int(seconds * rate), channels))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate, **options)
        return path

    return write
