"""utils/lock.sh: one run at a time, and no lock outlives its holder."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.in_process import call
from fixtures.training import CONFIGURATION

from comflp.errors import ComflpError
from comflp.locks import locked, working

LOCK = Path(__file__).resolve().parents[1] / "utils" / "lock.sh"


@pytest.fixture
def start(tmp_path):
    """``start(commands)``: bash with lock.sh sourced, $FILE a lock file; everything it started ends with the test."""
    started = []

    def run(commands):
        process = subprocess.Popen(
            ["bash", "-c", f'set -euo pipefail; . "{LOCK}"; {commands}'],
            cwd=tmp_path,
            env={**os.environ, "FILE": str(tmp_path / "an exp" / ".lock"), "COMFLP_PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def holder(start, then="sleep 60"):
    """A process that holds the lock."""
    process = start(f'lock_or_stop "$FILE" 9 exp/one; echo taken; {then}')
    assert process.stdout.readline() == "taken\n"
    return process


def attempt(start):
    """A second run: its exit status and what it said."""
    process = start('lock_or_stop "$FILE" 9 exp/one; echo taken')
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_second_run_says_who_holds_the_lock_and_stops(start):
    first = holder(start)
    status, out, err = attempt(start)
    assert (status, out) == (1, "")
    assert f"exp/one is in use by process {first.pid} on " in err and " since 20" in err


def test_runs_that_share_a_lock_keep_others_away_and_others_keep_them_away(start):
    share = 'share_lock_or_stop "$FILE" 9 exp/one; echo taken'
    shares = [start(f"{share}; sleep 60") for _ in range(2)]
    assert [process.stdout.readline() for process in shares] == ["taken\n"] * 2
    assert attempt(start)[:2] == (1, "")
    for process in shares:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
    holder(start)
    second = start(share)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (1, "") and "exp/one is in use by process" in err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_no_lock(start, number):
    first = holder(start)
    os.killpg(first.pid, number)
    first.wait(timeout=60)
    assert attempt(start) == (0, "taken\n", "")


def test_a_stage_that_outlived_its_run_keeps_the_lock(start):
    first = holder(start, then="sleep 60 & echo $!; wait")
    stage = int(first.stdout.readline())
    os.kill(first.pid, signal.SIGKILL)
    first.wait(timeout=60)
    status, _, err = attempt(start)
    assert status == 1 and "or by a stage that it started and that still runs" in err
    os.kill(stage, signal.SIGKILL)
    first.stdout.read()  # ends when the stage has closed everything
    assert attempt(start)[0] == 0


def test_the_end_of_a_run_gives_the_lock_back(start):
    assert attempt(start)[0] == 0
    assert attempt(start)[0] == 0


def test_waiting_until_the_lock_is_given_back(start, tmp_path):
    os.mkfifo(tmp_path / "go")
    holder(start, then="read -r line <go; unlock 9; sleep 60")
    second = start('lock_and_wait "$FILE" 9 exp/one; echo taken')
    assert "waiting for it" in second.stderr.readline()
    (tmp_path / "go").write_text("go\n")
    assert second.stdout.readline() == "taken\n"


def test_a_place_that_cannot_be_written_is_named(start, tmp_path):
    (tmp_path / "an exp").write_text("a file where the directory should be")
    status, _, err = attempt(start)
    assert status == 1 and "cannot write" in err and "an exp/.lock" in err


def test_a_lock_can_be_shared_where_locks_are_those_of_posix(start, tmp_path):
    """As on NFS, where only a file that is open to be read can be locked for several."""
    (tmp_path / "sitecustomize.py").write_text("import fcntl\nfcntl.flock = lambda file, mode: fcntl.lockf(file, mode)\n")
    process = start(f'export PYTHONPATH="{tmp_path}"; share_lock_or_stop "$FILE" 9 it; lock_or_stop "$FILE.2" 8 it')
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (0, "")


def test_work_that_is_not_finished_is_of_one_process_and_stays_where_there_is_some(tmp_path):
    result = tmp_path / "scores"
    with working(result) as work:
        with pytest.raises(ComflpError, match=f"^{tmp_path}.scores is in use by process"):
            with working(result):
                pass
        assert work == tmp_path / ".scores.work" and work.is_dir()
    assert not list(tmp_path.iterdir()), "nothing is left of what was finished"
    with pytest.raises(ZeroDivisionError), working(result) as work:
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir()), "nor of what did not begin"
    with pytest.raises(ZeroDivisionError), working(result) as work:
        (work / "half").write_text("")
        raise ZeroDivisionError
    assert (tmp_path / ".scores.work" / "half").exists()


def test_a_deep_model_is_trained_by_one_run_at_a_time(make_data, tmp_path):
    make_data(4, name="data")
    (tmp_path / "deep.yaml").write_text(CONFIGURATION)
    with locked(tmp_path / "exp" / "train_deep"):
        second = call("local/train_deep.py", "deep.yaml --train data --dev data --out exp".split(), tmp_path)
    assert second.status == 1 and "exp/train_deep is in use by process" in second.said
