"""Several processes: what they decide together, and what happens where one is missing, stopped, killed or left alone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comflp.errors import ComflpError
from comflp.processes import ALONE

LOCAL = Path(__file__).resolve().parents[1] / "local"

SCRIPT = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(LOCAL)!r})
from cli import run
from comflp.errors import ComflpError
from comflp.processes import processes


def refuse():
    raise ComflpError("the data are missing")


def main():
    with processes() as ranks:
        looked = []
        told = ranks.decide(lambda: looked.append(ranks.rank) or {{"pending": [3, 4]}})
        Path(sys.argv[1], str(ranks.rank)).write_text(f"looked {{len(looked)}} times and knows {{told}}")
        ranks.barrier()
        ranks.decide(refuse)
        print("nobody gets here")


run(main)
"""


def test_the_main_process_looks_and_tells_and_an_error_is_said_once(tmp_path):
    script = tmp_path / "decide.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(LOCAL / "launch.py"), "--nproc-per-node", "2", str(script), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )
    assert done.returncode == 1
    assert (tmp_path / "0").read_text() == "looked 1 times and knows {'pending': [3, 4]}"
    assert (tmp_path / "1").read_text() == "looked 0 times and knows {'pending': [3, 4]}"
    assert "nobody" not in done.stdout and "Traceback" not in done.stderr
    assert done.stderr.count("error: the data are missing") == 1


# What a process does is its argument's word: with rank 1, or 0, it stops, is killed, or lives on.
FAULTY = f"""
import os, signal, sys, time
sys.path.insert(0, {str(LOCAL)!r})
from cli import run
from comflp.processes import processes


def main():
    with processes(join_seconds=float(os.environ["JOIN"]), silent_seconds=6) as ranks:
        ranks.barrier()
        os.write(1, f"{{os.getpid()}}\\n".encode())  # a line at once: the other process writes to the same pipe
        if sys.argv[1:] == ["wait"]:
            time.sleep(300)
        if sys.argv[2:] == [str(ranks.rank)]:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        ranks.barrier()


run(main)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a child with its parent on Linux alone")


@pytest.fixture
def faulty(tmp_path):
    """``faulty(ranks, size, *arguments, join=60)``: FAULTY in processes of these ranks, without a launcher; all end with the test."""
    script, started = tmp_path / "faulty.py", []
    script.write_text(FAULTY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start(ranks, size, *arguments, join=60):
        for rank in ranks:
            place = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "JOIN": join}
            started.append(subprocess.Popen(
                [sys.executable, str(script), *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "FATAL", **{key: str(value) for key, value in place.items()}},
            ))
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    """Exit status and stderr of a process that ends by itself."""
    _, errors = process.communicate(timeout=200)
    assert "Traceback" not in errors and len(errors.strip().splitlines()) <= 1, errors
    return process.returncode, errors


def test_a_process_that_does_not_come_is_named(faulty):
    first, second = faulty([0, 1], 3, join=20)
    status, errors = said(first)
    assert status == 1 and "error: of 3 processes (0 to 2), 2 did not come to 127.0.0.1:" in errors
    assert said(second)[0] == 1


def test_a_first_process_that_does_not_come_is_named(faulty):
    status, errors = said(faulty([1], 2, join=2)[0])
    assert status == 1 and "error: process 1 of 2 cannot reach process 0 at 127.0.0.1:" in errors


def test_a_process_that_stops_is_named_and_the_others_end(faulty):
    first, stopped, third = faulty([0, 1, 2], 3, "SIGSTOP", 1)
    status, errors = said(first)
    assert status == 1
    assert f"error: process 1 of 3 (0 to 2), process id {stopped.pid} on {socket.gethostname()}, did not answer for 6 seconds" in errors
    assert said(third) == (1, "")


def test_where_the_first_process_stops_the_others_end_too(faulty):
    _, second = faulty([0, 1], 2, "SIGSTOP", 0)
    status, errors = said(second)
    assert status == 1 and "beside process 0, did not answer" in errors


def launch(folder, *arguments):
    (folder / "faulty.py").write_text(FAULTY)
    return subprocess.Popen(
        [sys.executable, str(LOCAL / "launch.py"), "--nproc-per-node", "2", str(folder / "faulty.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "JOIN": "60"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def test_a_killed_process_is_named_in_one_line(tmp_path):
    status, errors = said(launch(tmp_path, "SIGKILL", "1"))
    assert status == 1 and "faulty.py: error: process 1 was ended by SIGKILL" in errors and "to go on" in errors


@linux
def test_processes_end_with_their_launcher(tmp_path):
    launcher = launch(tmp_path, "wait")
    ranks = [int(launcher.stdout.readline()) for _ in range(2)]
    launcher.kill()
    launcher.wait()
    assert gone(ranks)


@linux
def test_processes_end_with_their_run_and_hold_its_lock_until_then(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    lock = f'set -eu; . "{LOCAL.parent}/utils/lock.sh"; lock_or_stop "{tmp_path}/.lock" 9 exp/one; '
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "JOIN": "60", "COMFLP_PYTHON": sys.executable}
    run = subprocess.Popen(
        ["bash", "-c", f'{lock} export COMFLP_LOCK="{tmp_path}/.lock"; '
                       f'"{sys.executable}" "{LOCAL}/launch.py" --nproc-per-node 2 "{tmp_path}/faulty.py" wait; echo end'],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    ranks = [int(run.stdout.readline()) for _ in range(2)]
    os.kill(ranks[1], signal.SIGSTOP)
    second = ["bash", "-c", f"{lock} echo taken"]
    refused = subprocess.run(second, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1 and "exp/one is in use" in refused.stderr
    run.kill()
    run.wait()
    assert gone(ranks)
    assert subprocess.run(second, env=environment, capture_output=True, text=True).stdout == "taken\n"


def gone(pids):
    """Whether processes are no more, after at most ten seconds."""
    deadline = time.monotonic() + 10
    while alive := [pid for pid in pids if (Path("/proc") / str(pid)).exists()]:
        if time.monotonic() > deadline:
            return f"still there: {alive}" == ""
        time.sleep(0.1)
    return True


def test_alone_an_error_is_the_error():
    def refuse():
        raise ComflpError("no")

    with pytest.raises(ComflpError, match="no"):
        ALONE.decide(refuse)
