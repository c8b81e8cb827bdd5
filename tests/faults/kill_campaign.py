#!/usr/bin/env python3
"""Kill each stage of a small run at random moments, run it again, and compare with the undisturbed run.

    python tests/faults/kill_campaign.py --kills 100

The stages' commands are those of recipes/fsdd/run.sh, recorded while it runs undisturbed. A moment is one of

    write   just before the n-th write, rename or removal below data/ and exp/ (n drawn from all that the stage makes)
    time    a time drawn from the stage's duration, by SIGKILL, SIGTERM or SIGINT

and one kill in three is followed by a second one, in the run that follows. After each kill every file under its final name
must be as it was before or as it will be in the end. Then the stage's commands run to their end, and what lies in data/
and exp/ must equal the undisturbed run's, with nothing left behind.

Processes are forked from this one, which has imported what they import, so that kills hit work and not imports.
"""

import argparse
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(REPOSITORY), str(REPOSITORY / "local")]

from faults.artifacts_compared import differences, half_written  # noqa: E402
from fixtures import recipe as small  # noqa: E402

STAGES = range(8)
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree", "os.link", "os.symlink"}
RECORDER = """#!/usr/bin/env bash
case $1 in
  - | -c) ;;
  *) "$REAL_PYTHON" -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@" >>"$COMMANDS" ;;
esac
exec "$REAL_PYTHON" "$@"
"""


@dataclass(frozen=True)
class Command:
    """One Python command of a stage: its words, how many writes it makes and how long it takes."""

    words: list
    writes: int
    seconds: float


@dataclass(frozen=True)
class Kill:
    """Where to kill: before write number ``write``, or (None) ``seconds`` after the start, by ``signal``."""

    write: int | None
    seconds: float
    signal: int


def is_write(event, arguments):
    """Whether a Python audit event changes a file below data/ or exp/ (the working directory is the recipe)."""
    if event == "open":
        path, _, flags = arguments
        changes = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    else:
        path, changes = arguments[0] if arguments else None, event in WRITES
    if not changes or not isinstance(path, (str, bytes, os.PathLike)):
        return False
    return Path(os.path.relpath(os.fsdecode(path))).parts[:1] in (("data",), ("exp",))


def child(words, log, kill, counter):
    """In a forked process: run a Python command as the shell would, counting its writes into ``counter``."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if is_write(event, arguments):
            if kill is not None and seen == kill.write:
                os.killpg(0, signal.SIGKILL)
            seen += 1

    sys.addaudithook(hook)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    status = 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(counter, str(seen).encode())
    os._exit(status)


def start(words, recipe, log, kill=None):
    """Fork a command; returns (exit status, negative for a signal; writes; seconds)."""
    reading, counter = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.chdir(recipe)
        child(words, log, kill, counter)
    os.close(counter)
    if kill is not None and kill.write is None:
        time.sleep(kill.seconds)
        try:
            os.killpg(pid, kill.signal)
        except ProcessLookupError:  # it has not made its process group yet
            os.kill(pid, kill.signal)
    _, status = os.waitpid(pid, 0)
    writes = os.read(reading, 20)
    os.close(reading)
    return os.waitstatus_to_exitcode(status), int(writes or 0), time.monotonic() - began


def must_succeed(words, recipe, log):
    status, writes, seconds = start(words, recipe, log)
    if status != 0:
        raise RuntimeError(f"{' '.join(words)} ended with status {status}:\n{Path(log).read_text(errors='replace')[-3000:]}")
    return Command(words, writes, seconds)


def undisturbed_run(folder, log):
    """Run the small recipe stage by stage through run.sh. Returns (state before each stage and at the end, words of each stage)."""
    recipe = small.small_recipe(folder / "undisturbed")
    shim = folder / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(RECORDER)
    shim.chmod(0o755)
    states, commands = [copy(recipe, folder / "state0")], []
    for stage in STAGES:
        recorded = folder / f"stage{stage}.commands"
        path = os.pathsep.join([str(shim.parent), os.environ["PATH"]])
        env = small.environment(PATH=path, REAL_PYTHON=sys.executable, COMMANDS=str(recorded))
        done = small.run(recipe, stage, stage, env=env)
        log.write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            raise RuntimeError(f"the undisturbed run failed in stage {stage}:\n{done.stderr[-3000:]}")
        commands.append([launched(json.loads(line)) for line in recorded.read_text().splitlines()])
        states.append(copy(recipe, folder / f"state{stage + 1}"))
    return states, commands


def launched(words):
    """The command that launch.py becomes where it starts one process; it would leave this process and what counts its writes."""
    if Path(words[0]).name != "launch.py":
        return words
    if words[1:3] != ["--nproc-per-node", "1"]:
        raise RuntimeError(f"one process was to be launched: {' '.join(words)}")
    return words[3:]


def copy(recipe, target):
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(recipe, target, symlinks=True)


def measured(states, commands, work, log):
    """Each stage's commands run once more, forked: their writes and seconds, and whether forking changes anything."""
    stages = []
    for stage in STAGES:
        copy(states[stage], work)
        stages.append([must_succeed(words, work, log) for words in commands[stage]])
        if not sum(command.writes for command in stages[-1]):
            raise RuntimeError(f"no write of stage {stage} was seen, so that no kill can meet one")
        wrong = differences(work, states[stage + 1])
        if wrong:
            raise RuntimeError(f"stage {stage} is not reproducible:\n  " + "\n  ".join(wrong))
    return stages


def draw(rng, commands):
    """Which command of a stage to kill, and when."""
    if rng.random() < 0.6 and any(command.writes for command in commands):
        weights = np.array([command.writes for command in commands], dtype=float)
        index = int(rng.choice(len(commands), p=weights / weights.sum()))
        return index, Kill(int(rng.integers(commands[index].writes)), 0.0, signal.SIGKILL)
    weights = np.array([command.seconds for command in commands])
    index = int(rng.choice(len(commands), p=weights / weights.sum()))
    number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[int(rng.integers(3))]
    return index, Kill(None, float(rng.uniform(0, commands[index].seconds)), number)


def killed_run(rng, stage_commands, before, after, work, log):
    """One case. Returns (kills that struck, what is wrong afterwards as lines)."""
    copy(before, work)
    log.unlink(missing_ok=True)
    struck = 0
    for _ in range(2 if rng.random() < 1 / 3 else 1):
        index, kill = draw(rng, stage_commands)
        for command in stage_commands[:index]:
            must_succeed(command.words, work, log)
        status, _, _ = start(stage_commands[index].words, work, log, kill)
        struck += status != 0
        wrong = half_written(work, before, after)
        if wrong:
            return struck, wrong
    try:
        for command in stage_commands:
            must_succeed(command.words, work, log)
    except RuntimeError as error:
        return struck, str(error).splitlines()
    return struck, differences(work, after)


def import_what_stages_import():
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", MPLBACKEND="Agg")
    import comflp.deploy.export
    import comflp.train.fit
    import comflp.inference.hidden_states
    import comflp.models.transformers.loading
    import comflp.report
    import comflp.search.fine.ranking  # noqa: F401
    import cli  # noqa: F401
    import hparams  # noqa: F401
    import training_log  # noqa: F401


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="kills that must strike, over all stages in turn")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options = parser.parse_args()
    import_what_stages_import()
    rng = np.random.default_rng(options.seed)
    struck, lost = np.zeros(len(STAGES), int), np.zeros(len(STAGES), int)
    with tempfile.TemporaryDirectory(prefix="kill campaign ") as folder:
        folder = Path(folder)
        log, work = folder / "log", folder / "work"
        states, commands = undisturbed_run(folder, log)
        stages = measured(states, commands, work, log)
        began, case = time.monotonic(), 0
        while struck.sum() < options.kills:
            stage = case % len(STAGES)
            case += 1
            hits, wrong = killed_run(rng, stages[stage], states[stage], states[stage + 1], work, log)
            struck[stage] += hits
            if wrong:
                lost[stage] += 1
                print(f"case {case}, stage {stage}: LOST\n  " + "\n  ".join(wrong[-40:]), flush=True)
            print(f"{struck.sum()} kills in {case} runs, {lost.sum()} lost", end="\r", file=sys.stderr, flush=True)
    print("stage   kills   lost   places to kill (writes)   seconds undisturbed")
    for stage, stage_commands in enumerate(stages):
        writes, seconds = sum(c.writes for c in stage_commands), sum(c.seconds for c in stage_commands)
        print(f"{stage:5d} {struck[stage]:7d} {lost[stage]:6d} {writes:25d} {seconds:21.1f}")
    print(f"{struck.sum()} kills in {case} runs, {lost.sum()} lost, {time.monotonic() - began:.0f} s")
    sys.exit(1 if lost.any() else 0)


if __name__ == "__main__":
    main()
