#!/usr/bin/env python3
"""Kill a run of several processes, or a part of it, run it again at once and once more, and compare with an undisturbed run.

    python tests/faults/kill_processes.py --kills 60

Every case is run.sh's one stage with --nj 2 --train-nj 2. At a random moment SIGKILL ends one of

    group       run.sh and whatever is in its process group
    run.sh      run.sh alone
    launcher    the launch.py that started the stage's processes
    rank        one of the processes

Then the same command runs at once: it ends well, or says that the experiment is in use. Ten seconds after the kill nothing of
the killed run may be alive. Then the same command must end well, and what lies in data/ and exp/ must equal the undisturbed
run's, with nothing left behind. Linux only: it looks for processes in /proc.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from faults.artifacts_compared import differences  # noqa: E402
from faults.kill_campaign import copy  # noqa: E402
from fixtures import recipe as small  # noqa: E402

TARGETS = ("group", "run.sh", "launcher", "rank")
STAGES = (0, 1, 2, 4, 5, 6)
"""Stage 0 trains, 5 trains; stages 3 and 7 run one process's worth of seconds."""
WORK = {"nj": 2, "train_nj": 2, "measures": "skip_kl", "reverse_measures": "", "baselines": "top", "proposals": "skip_kl_fine", "decode_sets": "test"}
MARK = "COMFLP_KILLED_RUN"
"""An environment variable by which the processes of a run are found, whoever their parent is by then."""
PATIENCE = 10.0
"""Seconds in which nothing of a killed run may be left."""


def begin(recipe, stage, mark):
    """run.sh's stage in a process group of its own."""
    return subprocess.Popen(small.command(recipe, stage, stage, **WORK), cwd=recipe, env=small.environment(**{MARK: mark}),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def to_the_end(recipe, stage, mark="0"):
    """(exit status, what was said) of run.sh's stage."""
    process = begin(recipe, stage, mark)
    said = process.communicate()[0]
    return process.returncode, said


def processes_of(mark):
    """{process id: (words of its command, its environment)} of a run."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = dict(pair.split(b"=", 1) for pair in (folder / "environ").read_bytes().split(b"\0") if b"=" in pair)
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if environment.get(MARK.encode()) == mark.encode() and state != "Z":
                found[int(folder.name)] = words, environment
    return found


def victims(target, run, mark):
    """Process ids that may be killed for a target; none where there is no such process at the moment."""
    if target in ("group", "run.sh"):
        return [run.pid]
    found = processes_of(mark)
    if target == "launcher":
        return [pid for pid, (words, environment) in found.items() if any(word.endswith("launch.py") for word in words) and b"RANK" not in environment]
    return [pid for pid, (_, environment) in found.items() if b"RANK" in environment]


def kill(rng, run, target, mark):
    """Kill the target, waiting until there is one; False where the run ended before."""
    while run.poll() is None:
        pids = victims(target, run, mark)
        if pids:
            pid = pids[int(rng.integers(len(pids)))]
            try:
                (os.killpg if target == "group" else os.kill)(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            return True
        time.sleep(0.05)
    return False


def orphans(mark, deadline):
    """Processes of a run that are left at the deadline."""
    while left := processes_of(mark):
        if time.monotonic() > deadline:
            return [f"process {pid} is left: {' '.join(words)}" for pid, (words, _) in left.items()]
        time.sleep(0.1)
    return []


def case(rng, target, stage, seconds, before, after, work, number):
    """(whether the kill struck, "refused" or "ran" for the run at once, what is wrong as lines)."""
    copy(before, work)
    mark = f"{os.getpid()}-{number}"
    run = begin(work, stage, mark)
    time.sleep(float(rng.uniform(0.1, 0.95) * seconds))
    if not kill(rng, run, target, mark):
        run.communicate()
        return False, "", []
    deadline = time.monotonic() + PATIENCE
    status, said = to_the_end(work, stage)
    wrong = []
    refused = status == 1 and " is in use by process " in said
    if status != 0 and not refused:
        wrong += [f"the run at once ended with status {status}:", *said.splitlines()[-20:]]
    wrong += orphans(mark, max(deadline, time.monotonic()))
    run.communicate()
    again, said = to_the_end(work, stage)
    if again != 0:
        wrong += [f"the run after that ended with status {again}:", *said.splitlines()[-20:]]
    return True, "refused" if refused else "ran", wrong + differences(work, after)


def undisturbed(folder):
    """(the recipe before each stage and after the last, seconds of each stage)"""
    recipe = small.small_recipe(folder / "undisturbed")
    states, seconds = [copy(recipe, folder / "state0")], []
    for stage in range(max(STAGES) + 1):
        began = time.monotonic()
        status, said = to_the_end(recipe, stage)
        if status != 0:
            raise RuntimeError(f"the undisturbed run failed in stage {stage}:\n{said[-3000:]}")
        seconds.append(time.monotonic() - began)
        states.append(copy(recipe, folder / f"state{stage + 1}"))
    return states, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="kills that must strike, over all targets and stages in turn")
    parser.add_argument("--seed", type=int, default=1, help="seed for the random moments")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    struck, wrong, at_once = Counter(), Counter(), Counter()
    cases = [(target, stage) for stage in STAGES for target in TARGETS]
    rng.shuffle(cases)
    with tempfile.TemporaryDirectory(prefix="kill processes ") as folder:
        folder = Path(folder)
        states, seconds = undisturbed(folder)
        print("seconds of the stages undisturbed:", ", ".join(f"{stage}: {seconds[stage]:.0f}" for stage in STAGES), flush=True)
        number = 0
        while sum(struck.values()) < options.kills:
            target, stage = cases[number % len(cases)]
            target, stage = str(target), int(stage)
            number += 1
            hit, then, faults = case(rng, target, stage, seconds[stage], states[stage], states[stage + 1], folder / "work", number)
            struck[target] += hit
            at_once[then] += hit
            wrong[target] += bool(faults)
            print(f"{number}: {target}, stage {stage}: " + ("\n  ".join(["WRONG", *faults]) if faults else then or "ended before the kill"), flush=True)
    print("target     kills   wrong")
    for target in TARGETS:
        print(f"{target:8s} {struck[target]:7d} {wrong[target]:7d}")
    print(f"{sum(struck.values())} kills in {number} runs, {sum(wrong.values())} wrong; the run at once was refused {at_once['refused']} times")
    sys.exit(1 if sum(wrong.values()) else 0)


if __name__ == "__main__":
    main()
