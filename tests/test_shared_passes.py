"""Several processes give what one gives: dump, skip costs, refinement, fine search, decoding, training; on one machine and on two.

Two machines are two network namespaces with a cable (veth) between them; where the rights for that are missing, those tests
are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from comflp.data.data_dir import Utterance, write_data_dir

LAUNCH = Path(__file__).resolve().parents[1] / "local" / "launch.py"
PASSES = Path(__file__).parent / "fixtures" / "passes.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def recipe(make_model, make_data, tmp_path):
    """A folder with a model and data, and the results of one process in ``alone``."""
    make_model().save(tmp_path / "deep")
    make_data(16)
    rng = np.random.default_rng(0)
    for number in range(16):
        soundfile.write(tmp_path / f"{number:02d}.wav", 0.1 * rng.standard_normal(4000), 8000)
    equal = [Utterance(f"u{number:02d}", f"{number:02d}.wav", "abcde"[number % 4 :], "s", 0.5) for number in range(16)]
    write_data_dir(tmp_path / "train", equal)
    done = subprocess.run([sys.executable, str(PASSES), "alone"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tmp_path


def check(recipe, out):
    """Two processes that wrote to ``out`` have, both of them, the results of the one process."""
    alone, first, second = (json.loads((recipe / name).read_text())
                            for name in ("alone/result.0.json", f"{out}/result.0.json", f"{out}/result.1.json"))
    assert (alone["processes"], first["processes"], second["processes"]) == (1, 2, 2)
    assert alone["same to the byte"] == first["same to the byte"] == second["same to the byte"]
    assert first["losses"] == second["losses"] == pytest.approx(alone["losses"], rel=2e-3)
    for name in ("hidden.ark", "frame_cosine.npy"):
        assert (recipe / "alone" / name).read_bytes() == (recipe / out / name).read_bytes()
    assert len(list((recipe / out / "work").glob("*.1.jsonl"))) >= 4, "the second process had a share of every pass"


def test_two_processes_of_one_machine(recipe):
    command = [sys.executable, str(LAUNCH), "--nproc-per-node", "2", str(PASSES), "two"]
    done = subprocess.run(command, cwd=recipe, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(recipe, "two")


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def machines():
    """Names of two network namespaces, 10.77.0.1 and 10.77.0.2, each with its end ``cable`` of a cable to the other."""
    if shutil.which("ip") is None:
        pytest.skip("two machines need iproute2's command ip")
    names = [f"comflp{os.getpid()}-{number}" for number in (0, 1)]
    try:
        for name in names:
            made = ip("netns", "add", name)
            if made.returncode != 0:
                pytest.skip(f"two machines need the right to make network namespaces: {made.stderr.strip()}")
        made = ip("-n", names[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", names[1])
        if made.returncode != 0:
            pytest.skip(f"two machines need the right to make a veth: {made.stderr.strip()}")
        for number, name in enumerate(names, start=1):
            for words in (["address", "add", f"10.77.0.{number}/24", "dev", "cable"], ["link", "set", "cable", "up"], ["link", "set", "lo", "up"]):
                assert ip("-n", name, *words).returncode == 0
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def on_both(machines, recipe, *arguments):
    """The passes, one process on each machine."""
    where = ["--nnodes", "2", "--rdzv-endpoint", "10.77.0.1:29500"]
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, str(LAUNCH), *where, "--node-rank", str(rank), str(PASSES), *arguments],
            cwd=recipe, env={**ENVIRONMENT, "GLOO_SOCKET_IFNAME": "cable"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank, name in enumerate(machines)
    ]


def wait_for_work(started, folder):
    """Until the main process has kept results of a pass."""
    while not any(path.stat().st_size for path in folder.glob("*.0.jsonl")):
        assert all(process.poll() is None for process in started), [process.communicate() for process in started]
        time.sleep(0.05)


def ends(started):
    """(exit status, stderr) of processes that end by themselves, in at most a line each and without a traceback."""
    outcomes = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert all("Traceback" not in said and len(said.strip().splitlines()) <= 1 for said, _ in outcomes), outcomes
    return [(status, said) for said, status in outcomes]


def test_two_machines_whose_cable_is_pulled_and_of_which_one_is_killed(machines, recipe):
    """Each time the others say so and end, and the same command goes on; in the end there are the results of one process."""
    started = on_both(machines, recipe, "out", "0.3")
    wait_for_work(started, recipe / "out" / "work")
    assert ip("-n", machines[0], "link", "set", "cable", "down").returncode == 0
    (first, said), (second, also_said) = ends(started)
    assert (first, second) == (1, 1)
    assert "process 1 of 2 (0 to 1), process id" in said and "did not answer for 6 seconds" in said
    assert "beside process 0, did not answer for 6 seconds" in also_said
    assert ip("-n", machines[0], "link", "set", "cable", "up").returncode == 0

    kept = {path.name for path in (recipe / "out" / "work").iterdir()}
    started = on_both(machines, recipe, "out", "0.3")
    while {path.name for path in (recipe / "out" / "work").iterdir()} == kept:
        assert all(process.poll() is None for process in started)
        time.sleep(0.05)
    started[1].kill()
    started[1].communicate()
    (status, said), = ends(started[:1])
    assert status == 1 and ("another process of this run ended" in said or "process 1 of 2 (0 to 1), process id" in said)

    for process in (started := on_both(machines, recipe, "out")):
        said = process.communicate()[1]
        assert process.returncode == 0, said
    check(recipe, "out")
