"""How stages are started: `launch` of utils/common.sh under every kind of cmd, local/launch.py on one node and on two."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

SCRIPT = """
import os, sys
if sys.argv[1:] == ["fail"]:
    sys.exit(3)
ranks = [0]
if "WORLD_SIZE" in os.environ:
    import torch.distributed
    torch.distributed.init_process_group("gloo")
    ranks = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(ranks, torch.distributed.get_rank())
    torch.distributed.destroy_process_group()
if os.environ.get("RANK", "0") == "0":
    print(f"ranks {ranks} arguments {sys.argv[1:]}")
"""

# Kaldi's own reading of its command line: options, JOB=1:N or one job of no name, the log file, the command, whose words it quotes once more
RUN_PL = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift 2; done
job=no_job jobs=1 command=
if [[ $1 =~ ^([A-Za-z_]+)=1:([0-9]+)$ ]]; then job=${BASH_REMATCH[1]} jobs=${BASH_REMATCH[2]}; shift; fi
log=$1
shift
for word in "$@"; do
  if [[ $word =~ ^[^[:space:]]+$ ]]; then command+="$word "; elif [[ $word == *\\"* ]]; then command+="'$word' "; else command+="\\"$word\\" "; fi
done
mkdir -p "$(dirname "$log")"
for number in $(seq "$jobs"); do
  bash -c "${command//$job/$number}" >"${log//$job/$number}" 2>&1 || exit 1
done
"""


@pytest.fixture
def recipe(tmp_path):
    """A folder with what `launch` needs of a recipe, and a script to start."""
    folder = tmp_path / "a recipe"
    folder.mkdir()
    for name, target in (("steps", "local"), ("utils", "utils")):
        (folder / name).symlink_to(REPOSITORY / target)
    (folder / "script.py").write_text(SCRIPT)
    (folder / "run.pl").write_text(RUN_PL)
    (folder / "run.pl").chmod(0o755)
    return folder


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **more}


def in_bash(recipe, commands, cmd="", before="", **more):
    """``commands`` in a shell that has what run.sh has when a stage begins."""
    options = f"stage=1 stop_stage=1 num_nodes=1 node_rank=0 rdzv_endpoint= exp=exp/m cmd='{cmd}'"
    script = f'set -euo pipefail; {options}; . utils/common.sh; {before} in_stage 1 "a title"; {commands}'
    return subprocess.run(["bash", "-c", script], cwd=recipe, env=environment(**more), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, encoding="utf-8")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("processes, ranks", [(1, "[0]"), (2, "[0, 1]")])
def test_one_process_and_two_on_this_machine(recipe, processes, ranks):
    done = in_bash(recipe, f'launch {processes} script.py "two words" ""')
    assert (done.returncode, done.stdout) == (0, f"ranks {ranks} arguments ['two words', '']\n"), done.stderr


def test_cmd_is_put_before_it(recipe):
    done = in_bash(recipe, "launch 1 script.py x", cmd="env STARTED=yes RANK=5")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr  # its RANK is 5, so it does not print
    assert done.stderr.endswith(" stage 1: a title\n")


@pytest.mark.parametrize("processes, ranks", [(1, "[0]"), (2, "[0, 1]")])
def test_cmd_as_kaldi_calls_it(recipe, processes, ranks):
    commands = f'launch {processes} script.py "two words" ""; launch 1 script.py again'
    done = in_bash(recipe, commands, cmd="./run.pl --mem 4G")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (recipe / "exp/m/log/stage1.1.log").read_text().endswith(f"ranks {ranks} arguments ['two words', '']\n")
    assert (recipe / "exp/m/log/stage1.2.log").read_text() == "ranks [0] arguments ['again']\n"
    assert in_bash(recipe, "launch 1 script.py beside", cmd="./run.pl --mem 4G").returncode == 0
    logs = {path.name: path.read_text() for path in recipe.glob("exp/m/log/stage1.*.log")}
    assert len(logs) == 3 and logs["stage1.3.log"] == "ranks [0] arguments ['beside']\n", "another run leaves the logs of the first"


def test_a_log_that_cannot_be_written_ends_the_run(recipe):
    """Inside ``if in_stage`` bash goes on after a failure: the stage would be left out without a word."""
    (recipe / "exp/m").mkdir(parents=True)
    (recipe / "exp/m/log").write_text("no folder")
    done = in_bash(recipe, "true", before="if in_stage 1 first; then echo ran; fi; echo went on;")
    assert done.returncode == 1 and done.stdout == "", done.stdout
    [said] = done.stderr.splitlines()
    assert said.startswith("run.sh: error: the log file ") and said.endswith("exp/m/log/stage1.log cannot be written (Not a directory); the run ends here")


@pytest.mark.parametrize("cmd", ["", "./run.pl"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_stage_that_fails_ends_the_run_without_a_traceback(recipe, cmd, processes):
    done = in_bash(recipe, f"launch {processes} script.py fail; echo went on", cmd=cmd)
    assert done.returncode != 0 and "went on" not in done.stdout and "Traceback" not in done.stderr


def two_nodes(recipe, commands):
    """The outcome of two launch.py started side by side, each with its own arguments and environment."""
    started = [
        subprocess.Popen([sys.executable, "steps/launch.py", *words, "script.py", "x"], cwd=recipe, env=environment(**more),
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words, more in commands
    ]
    return [(process.communicate(), process.returncode) for process in started]


def test_two_nodes_with_torchruns_words(recipe):
    where = ["--nnodes", "2", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--nproc-per-node", "2"]
    first, second = two_nodes(recipe, [([*where, "--node-rank", str(rank)], {}) for rank in (0, 1)])
    assert (first[0][0], first[1]) == ("ranks [0, 1, 2, 3] arguments ['x']\n", 0), first
    assert (second[0][0], second[1]) == ("", 0), second


def test_two_tasks_of_a_job_step_of_slurm(recipe):
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "3"}
    first, second = two_nodes(recipe, [([], {**step, "SLURM_PROCID": str(rank)}) for rank in (0, 1)])
    assert (first[0][0], first[1]) == ("ranks [0, 1] arguments ['x']\n", 0), first
    assert (second[0][0], second[1]) == ("", 0), second


def test_one_node_alone_within_a_job_step_of_slurm(recipe):
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "3", "SLURM_PROCID": "1"}
    done = subprocess.run([sys.executable, "steps/launch.py", "--standalone", "script.py", "x"], cwd=recipe, env=environment(**step),
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ranks [0] arguments ['x']\n"), done.stderr


def test_what_is_done_once_is_done_on_the_first_node(recipe):
    for variables, said in (("", "here\n"), ("num_nodes=2 node_rank=0;", "here\n"), ("num_nodes=2 node_rank=1;", "")):
        assert in_bash(recipe, f"{variables} on_first_node echo here").stdout == said
    for rank, said in (("0", "here\n"), ("1", "")):
        done = in_bash(recipe, "on_first_node echo here", SLURM_STEP_NUM_TASKS="2", SLURM_PROCID=rank)
        assert done.stdout == said


@pytest.mark.parametrize("words, message", [
    (["--nnodes", "2", "--node-rank", "2", "--rdzv-endpoint", "a:1"], "--node-rank 2 is not one of 0 to 1"),
    (["--nnodes", "2", "--node-rank", "1"], "--rdzv-endpoint '' is not HOST:PORT"),
])  # fmt: skip
def test_nodes_that_cannot_meet_are_told_so(recipe, words, message):
    done = subprocess.run([sys.executable, "steps/launch.py", *words, "script.py"], cwd=recipe, env=environment(),
                          capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr


def test_the_log_file_tells_how_a_run_ended(recipe):
    done = in_bash(recipe, "trap 'log_failure $?' EXIT; launch 1 script.py fail")
    assert done.returncode == 3
    lines = (recipe / "exp/m/log/stage1.log").read_text().splitlines()
    assert lines[1].endswith("stage 1: a title") and lines[-1].endswith("the run ended here with exit status 3")


def test_a_scheduler_that_passes_nothing_on_but_path(recipe):
    """As Kaldi's slurm.pl and queue.pl do: the stage holds its lock and writes its log all the same."""
    (recipe / "slurm.pl").write_text('#!/usr/bin/env bash\nshift\nenv -i PATH="$PATH" PYTHONPATH="$PYTHONPATH" "$@"\n')
    (recipe / "slurm.pl").chmod(0o755)
    (recipe / "script.py").write_text('import os\nprint(os.environ["COMFLP_LOCK"], os.environ["COMFLP_LOG"])\n')
    done = in_bash(recipe, "launch 1 script.py", cmd="./slurm.pl", COMFLP_LOCK="/a lock")
    assert done.stdout == f"/a lock {recipe}/exp/m/log/stage1.log\n", done.stderr


COUNTS = """
searched_proposals() { echo "${chosen:-scratch dc_fine}"; }
measures="dc svcca" baselines="top random" repair=256 repair_candidates=false stop_stage=7
. <(sed -n "/^each_count/,/^}/p;/^refuse/,/^}/p" utils/../local/pipeline.sh)
"""


@pytest.mark.parametrize("text, counts", [("4,6 8:10", "4 6 8 9 10"), ("6", "6"), ("x", "x"), ("8:6", "8:6"),
                                          ("encoder=1+decoder=0,2 decoder=1", "encoder=1+decoder=0,2 decoder=1")])
def test_numbers_of_layers_are_taken_one_by_one(recipe, text, counts):
    assert in_bash(recipe, f'{COUNTS} each_count "{text}"').stdout.split() == counts.split()


@pytest.mark.parametrize("made, searched, said", [
    ("12", "1:8", "give it to --num-prune"), ("4,6", "4,6,8", ""), ("6", "1:8", ""), ("decoder=1", "encoder=0:1+decoder=1", ""),
    ("8", "8:4", "smaller number first"), ("encoder=0:1+decoder=1", "encoder=0:1+decoder=1", "give them one by one"),
])
def test_what_is_not_searched_is_refused_before_anything_is_made(recipe, made, searched, said):
    done = in_bash(recipe, f'{COUNTS} finetune_prune="{made}" num_prune="{searched}"; refuse_unsearched')
    assert (done.returncode, said in done.stderr, "run.sh:" in done.stderr) == (2 if said else 0, True, bool(said))


@pytest.mark.parametrize("options, said", [
    ('chosen="svcca_coarse top scratch deep 1,3-4"', ""), ('chosen="glp"', "nothing is called glp"), ('chosen="dcfine"', "nothing is called dcfine"),
    ('chosen="found_coarse"', ""), ("repair_candidates=true", ""), ("repair_candidates=true repair=0", "--repair, which is 0"),
])
def test_a_proposal_that_no_stage_makes_is_refused_before_anything_is_made(recipe, options, said):
    (recipe / "exp" / "m" / "prune4" / "found_coarse").mkdir(parents=True)
    done = in_bash(recipe, f"{COUNTS} finetune_prune=4 num_prune=4 {options}; refuse_unsearched")
    assert (done.returncode, said in done.stderr, "run.sh:" in done.stderr) == (2 if said else 0, True, bool(said))


def test_a_folder_is_named_by_its_path_and_a_model_of_the_hub_by_its_name(recipe):
    (recipe / "models" / "mine").mkdir(parents=True)
    said = in_bash(recipe, 'called_from=$PWD/models/mine; for name in . ../mine/ openai/whisper-base; do to_folder name; echo "$name"; done').stdout.split("\n")
    mine = str(recipe / "models" / "mine")
    assert said == [mine, mine, "openai/whisper-base", ""]
