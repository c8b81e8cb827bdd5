"""What the tests of data share: running a script of the repository as a user does, and one wav file."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]


def run_in_this_process(path, arguments, cwd):
    """Run a Python script as its own ``__main__``, which saves the imports of a new process."""
    before = sys.argv, list(sys.path), os.getcwd()
    stdout, stderr = io.StringIO(), io.StringIO()
    status = 0
    try:
        sys.argv = [str(path), *arguments]
        sys.path[:0] = [str(path.parent), str(ROOT / "local")]
        os.chdir(cwd)
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as stop:
        status = stop.code or 0
    finally:
        sys.argv, sys.path[:] = before[0], before[1]
        os.chdir(before[2])
    return subprocess.CompletedProcess(arguments, status, stdout.getvalue(), stderr.getvalue())


def run_in_a_process(path, arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "local")))}
    interpreter = sys.executable if path.suffix == ".py" else "bash"
    return subprocess.run([interpreter, str(path), *arguments], cwd=cwd, env=environment, text=True, capture_output=True, check=False)


@pytest.fixture
def script(tmp_path):
    """``script("local/x.py", "--option", value)`` runs in tmp_path and returns status and output of the finished script.

    Shell scripts, and what ``own_process`` asks for (multiprocessing needs it), get a process; Python scripts run in this one.
    """

    def run_script(name, *arguments, cwd=tmp_path, check=True, own_process=False):
        run = run_in_a_process if own_process or not name.endswith(".py") else run_in_this_process
        done = run(ROOT / name, list(map(str, arguments)), cwd)
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
