"""utils/parse_options.sh, sourced by a small script as run.sh sources it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

SCRIPT = """#!/usr/bin/env bash
# Makes nothing, prints its options.
#
#   ./script.sh --corpus DIR
set -euo pipefail
called_from=$PWD
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"

# options
stage=0            # first stage
stop_stage=7       # last stage
# the search
corpus=            # [path] where the speech is
measures="dc svcca"   # correlation measures
force=false        # make again; really
deep_opts=         # passed on
# end of options
. "$UTILS/parse_options.sh"

# a comment after the block
printf '%s|' "$stage" "$stop_stage" "$corpus" "$measures" "$force" "$deep_opts"
"""


@pytest.fixture
def script(tmp_path):
    """The script above, in a folder with a space and an accent in its name."""
    path = tmp_path / "my récipe" / "script.sh"
    path.parent.mkdir()
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def call(script, *arguments, cwd=None):
    """Runs the script from ``cwd`` (default: the folder above its own), by a relative path."""
    cwd = cwd or script.parent.parent
    return subprocess.run(
        ["bash", os.path.relpath(script, cwd), *arguments],
        cwd=cwd,
        env={**os.environ, "UTILS": str(REPOSITORY / "utils")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_defaults_and_given_values(script):
    assert call(script).stdout == "0|7||dc svcca|false||"
    done = call(script, "--stage", "3", "--stop-stage", "4", "--measures", "a $(date) 'b", "--force", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3|4||a $(date) 'b|true||", "")


@pytest.mark.parametrize("arguments", [["--force"], ["--force", "--stage", "0"], ["--stage", "0", "--force"]])
def test_a_switch_needs_no_value(script, arguments):
    assert call(script, *arguments).stdout == "0|7||dc svcca|true||"


CONFIGURATION = """# what I always want
--stage 2
stop_stage=5   # the searches
measures = "dc # two"
--deep-opts --lr 1e-3
 corpus=speech
--force
"""


def test_options_from_a_file(script, tmp_path):
    folder = tmp_path / "my conf"
    folder.mkdir()
    (folder / "mine.conf").write_text(CONFIGURATION, encoding="utf-8")
    done = call(script, "--config", "my conf/mine.conf")
    assert (done.stdout, done.stderr) == (f"2|5|{folder}/speech|dc # two|true|--lr 1e-3|", "")
    done = call(script, "--stage", "3", "--config", "my conf/mine.conf", "--force", "false")
    assert (done.stdout, done.stderr) == (f"3|5|{folder}/speech|dc # two|false|--lr 1e-3|", "")


def test_a_file_of_options_is_read_and_never_run(script, tmp_path):
    (tmp_path / "c").write_text("measures=$(touch made) `touch made`; touch made\n")
    assert call(script, "--config", "c").stdout.split("|")[3] == "$(touch made) `touch made`; touch made"
    assert not list(tmp_path.glob("**/made"))


@pytest.mark.parametrize(
    "line, message",
    [
        ("bogus=1", "c:2: no option --bogus"),
        ("dc svcca", "c:2: what is 'dc svcca'"),
        ("config=other", "c:2: no option --config"),
        ("--corpus", "c:2: --corpus needs a value"),
        ("force=yes", "c:2: --force is true or false, not 'yes'"),
        ("set -x", "c:2: what is 'set -x'? Options are written as name=value or --name value"),
    ],
)
def test_a_wrong_line_of_a_file_is_named(script, tmp_path, line, message):
    (tmp_path / "c").write_text(f"stage=1\n{line}\n")
    done = call(script, "--config", "c")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_options_to_pass_on_are_one_value(script):
    assert call(script, "--deep-opts", "--lr 1e-3 --epochs 2").stdout.endswith("|--lr 1e-3 --epochs 2|")


def test_a_script_may_change_to_another_folder_than_its_own(script):
    moved = script.parent / "local" / script.name
    moved.parent.mkdir()
    moved.write_text(SCRIPT.replace('[0]}")"', '[0]}")/.."'), encoding="utf-8")
    assert call(moved, "--stage", "3").stdout == "3|7||dc svcca|false||"
    assert call(moved.resolve(), "--help", cwd=script.parent).stdout.startswith("Makes nothing, prints its options.")


def test_paths_start_where_the_script_was_called_from(script, tmp_path):
    assert call(script, "--corpus", "some where").stdout.split("|")[2] == f"{tmp_path}/some where"
    assert call(script, "--corpus", "/else/where").stdout.split("|")[2] == "/else/where"
    assert call(script, "--corpus", "").stdout.split("|")[2] == ""
    assert call(script, "--corpus", "x", cwd=script.parent).stdout.split("|")[2] == f"{script.parent}/x"


def test_help_lists_every_option_with_its_own_default(script):
    done = call(script, "--stage", "5", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Makes nothing, prints its options.\n\n  ./script.sh --corpus DIR\n")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert "--stage first stage [0]".split() in lines
    assert "--stop-stage last stage [7]".split() in lines
    assert "--corpus where the speech is []".split() in lines
    assert "--measures correlation measures [dc svcca]".split() in lines
    assert "--force make again; really [false]".split() in lines
    assert ["the", "search"] in lines
    assert "after the block" not in done.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--bogus", "1"], "no option --bogus"),
        (["--sta", "1"], "no option --sta"),
        (["--STAGE", "1"], "no option --STAGE"),
        (["--", "1"], "no option --"),
        (["--$(touch x)", "1"], "no option --$(touch x)"),
        (["--.*", "1"], "no option --.*"),
        (["--stage=1"], "no option --stage=1: write the value after a space, --stage 1"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpus", "--stage", "1"], "--corpus needs a value, and --stage follows it"),
        (["data"], "what is 'data'?"),
        (["--stage", "1", "2"], "what is '2'?"),
        (["--stage", "8"], "--stage is 8, and the stages are 0 to 7"),
        (["--stage", "-1"], "--stage is -1"),
        (["--stop-stage", "two"], "--stop-stage is two"),
        (["--stage", ""], "--stage is ,"),
        (["--stage", "4", "--stop-stage", "3"], "--stage 4 comes after --stop-stage 3"),
        (["--force", "yes"], "--force is true or false, not 'yes'"),
        (["--force", ""], "--force is true or false, not ''"),
        (["--force", "--bogus", "1"], "no option --bogus"),
        (["--config"], "--config needs a value"),
        (["--config", "nowhere.conf"], "--config nowhere.conf is not a file that can be read"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_runs(script, arguments, message):
    done = call(script, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("script.sh: ") and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["audit.sh", "setup_env.sh"])
def test_help_of_a_script_without_options_says_what_it_is_for_and_begins_nothing(name, tmp_path):
    shutil.copytree(REPOSITORY / "utils", tmp_path / "utils")  # what began here would install, and finds no Python to do it with
    done = subprocess.run(["bash", f"utils/{name}", "--help"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "COMFLP_PYTHON": "/nowhere"},
                          capture_output=True, text=True)
    text = (REPOSITORY / "utils" / name).read_text(encoding="utf-8")
    first = next(line for line in text.splitlines()[1:] if line.startswith("# "))
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(first[2:] + "\n") and "Options:" not in done.stdout


@pytest.mark.parametrize("recipe", sorted(path.parent.name for path in REPOSITORY.glob("recipes/*/run.sh")))
def test_every_recipe_has_stages_and_help(recipe):
    done = subprocess.run(
        ["bash", f"recipes/{recipe}/run.sh", "--help"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--stage " in done.stdout and "--stop-stage " in done.stdout
    block = (REPOSITORY / "recipes" / recipe / "run.sh").read_text(encoding="utf-8").split("# options\n")[1].split("# end of options")[0]
    options = [line.split("=")[0].replace("_", "-") for line in block.splitlines() if line and not line.startswith("#")]
    for option in options:
        assert f"--{option} " in done.stdout


NAMES = """
# options
name=              # names that the functions of parse_options.sh might have for something else
value=1            # one
line=              # two
folder=            # [path] three
default=a          # four
num_nodes=1        # nodes
node_rank=0        # this one
# end of options
unset CDPATH
. "$UTILS/parse_options.sh"
printf '%s|' "$name" "$value" "$line" "$default"
changed_options
"""


def test_an_option_may_have_any_name(script):
    script.write_text(f"#!/usr/bin/env bash\n# Names.\nset -euo pipefail\ncalled_from=$PWD\n{NAMES}")
    assert call(script, "--name", "abc", "--value", "9", "--default", "b").stdout == "abc|9||b| --name abc --value 9 --default b"
    (script.parent / "my.conf").write_text("\ufeffvalue=3  # three\nline=4\n", encoding="utf-8")
    done = call(script, "--config", str(script.parent / "my.conf"))
    assert done.stdout == "|3|4|a| --value 3 --line 4", done.stderr
    assert "[name]" not in call(script, "--help").stdout


@pytest.mark.parametrize("words", [("--num-nodes", "two"), ("--node-rank", "1"), ("--num-nodes", "2", "--node-rank", "x"),
                                   ("--num-nodes", "2", "--node-rank", "2"), ("--num-nodes", "0")])
def test_nodes_are_numbers(script, words):
    script.write_text(f"#!/usr/bin/env bash\n# Names.\nset -euo pipefail\ncalled_from=$PWD\n{NAMES}")
    done = call(script, *words)
    assert done.returncode == 2 and "node" in done.stderr and "integer expression" not in done.stderr


def test_cdpath_leads_nowhere_else(script, monkeypatch):
    monkeypatch.setenv("CDPATH", ".:/tmp")
    done = call(script, "--corpus", "x")
    assert done.stdout.startswith("0|7|") and done.returncode == 0, done.stderr


FILLED = """
# options
padded_mean=       # a switch that the configuration knows
measures=          # a text that may be empty
# end of options
cd "$RECIPE"
. "$UTILS/parse_options.sh"
. "$UTILS/common.sh"
python() { printf 'padded_mean\\tfalse\\nmeasures\\tdc svcca\\n'; }
fill_in_options conf
printf '%s|' "$padded_mean" "$measures"
changed_options
"""


def test_what_was_given_is_not_filled_in(script, monkeypatch):
    monkeypatch.setenv("RECIPE", str(REPOSITORY / "recipes" / "aishell1"))
    script.write_text(f"#!/usr/bin/env bash\n# Fills in.\nset -euo pipefail\ncalled_from=$PWD\n{FILLED}")
    assert call(script).stdout == "false|dc svcca|"
    assert call(script, "--measures", "").stdout == "false||"
    assert call(script, "--padded-mean", "true").stdout == "true|dc svcca| --padded-mean true"
    done = call(script, "--padded-mean", "yes")
    assert done.returncode == 2 and "--padded-mean is true or false, not 'yes'" in done.stderr
