"""run.sh itself: stopped by Ctrl-C and by kill, started twice, started in the middle; and a small kill campaign."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faults.artifacts_compared import leftovers
from fixtures import recipe as small

DEEP = Path("exp") / small.MODEL / "deep"


def start(recipe, **options):
    """run.sh's stage 0 in a process group of its own."""
    return subprocess.Popen(
        small.command(recipe, 0, 0, **options),
        cwd=recipe,
        env=small.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(process, path):
    """Until ``path`` is there; fails when the process ends before."""
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_a_run_that_is_stopped_goes_on_and_a_second_one_at_the_same_time_does_not(tmp_path):
    recipe = small.small_recipe(tmp_path / "räksmörgås och te")
    training = recipe / "exp" / small.MODEL / "train_deep" / "hyperparams.yaml"
    for number in (signal.SIGINT, signal.SIGTERM):
        training.unlink(missing_ok=True)
        first = start(recipe)
        wait_for(first, training)
        second = small.run(recipe, 3, 3)
        assert second.returncode == 1
        assert f"is in use by process {first.pid} on " in second.stderr
        os.killpg(first.pid, number)
        said = first.communicate()[0]
        assert first.returncode != 0 and "Traceback" not in said
        assert not (recipe / DEEP / "record.json").exists()
    checkpoint = training.with_name("save") / "CKPT+any"
    checkpoint.mkdir(parents=True)
    mixed = small.run(recipe, 0, 0, layerdrop=0.2)
    checkpoint.rmdir()
    assert mixed.returncode == 1 and "holds unfinished work" in mixed.stderr and "layerdrop: " in mixed.stderr
    done = small.run(recipe, 0, 0)
    assert done.returncode == 0, done.stderr
    assert (recipe / DEEP / "record.json").exists()
    assert leftovers(recipe) == []
    again = small.run(recipe, 0, 0)
    assert (again.returncode, "is up to date" in again.stdout) == (0, True)

    changed = small.run(recipe, 0, 0, layerdrop=0.1)
    assert changed.returncode == 1 and "made otherwise (" in changed.stderr and "--force" in changed.stderr

    early = small.run(recipe, 3, 3)
    assert early.returncode == 1 and "stage 2 (correlation) makes it" in early.stderr


@pytest.mark.parametrize(
    ("number", "status", "said"), [(signal.SIGINT, 130, "x: interrupted; run the same command again to go on\n"), (signal.SIGTERM, 143, "")]
)
def test_what_a_library_makes_of_an_interruption_is_no_error_of_ours(number, status, said):
    code = """if True:
        import contextlib, os, sys, time
        from comflp.cli.terminal import status_of
        def command():
            with contextlib.suppress(BaseException):
                os.kill(os.getpid(), int(sys.argv[1]))
                time.sleep(30)
            raise RuntimeError("initialization failed.")
        sys.exit(status_of(command, "x"))
    """
    done = subprocess.run([sys.executable, "-c", code, str(int(number))], env=small.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, said)


def test_kills_at_random_moments_lose_nothing(pytestconfig):
    """A kill a stage; the full campaign: --campaign, or tests/faults/kill_campaign.py by hand."""
    kills = 100 if pytestconfig.getoption("--campaign") else 8
    command = [sys.executable, str(Path(__file__).with_name("kill_campaign.py")), "--kills", str(kills)]
    done = subprocess.run(command, env=small.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 lost, " in done.stdout
