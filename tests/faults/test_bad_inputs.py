"""Bad values of every option of every script, and every file that is read, damaged: no traceback, no hang, one line.

What is taken although it was tried as bad stands below with its reason (docs/reliability.md has the summary). The commands
run in this process, in a small recipe where everything is made already.
"""

import os
import re
import shutil
import sys
from fnmatch import fnmatch

import pytest

from faults import bad_inputs
from faults.bad_inputs import COMMANDS, base, options_of
from faults.files_read import FILES, NOT_READ
from fixtures.in_process import ROOT, call

VALUES = ["", "-1", "²", "9" * 5000, "nan", "a\nb", "../../nowhere", "1000000001"]
"""What is tried for every option, whatever it takes."""

FREE = "free text: it is shown, or compared with what is in a file"
PLACE = "a place that is made, two folders up or by an odd name"
NOT_USED = "this command has no use for it: nothing is read from there"
NONE = "an empty text: there is to be none"
NAME = "a name may be of digits, and of other letters than ours"
NUMBER = "a number within the bounds"

TAKEN_VALUES = [
    ("*", "--seed", "1000000001", NUMBER),
    ("*", "--tag", "|²|nan|1000000001", NAME),
    ("*", "--title", r"[\s\S]*", FREE),
    ("*", "--note", r"[\s\S]*", FREE),
    ("*", "--run", r"[\s\S]*", FREE),
    ("*", "--out", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*", "--target", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*/prepare_*", "--data", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*/make_strings.py", "--data", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*/stage[23]*", "--data", ".*", NOT_USED),
    ("*/stage[23]*", "--model", ".*", NOT_USED),
    ("*/stage4*", "--(train|probe)", ".*", NOT_USED),
    ("*/export.py", "--calibration", ".*", NOT_USED),
    ("*/prepare_sets.py", "--language", "²|nan|1000000001", NAME),
    ("*/fetch_model.py", "--language", "|²|nan|1000000001", NAME),
    ("*/add_noise.py", "--snr", "-1", NUMBER),
    ("*/stage3*", "--keep", "", NONE),
    ("*/make_strings.py", "--unseen-speakers", "", NONE),
    ("*/stage[14]*", "--(measures|reverse-measures|baselines)", "", NONE),
    ("*/stage6*", "--models", "", NONE),
    ("*/fetch_model.py", "--model", "²|nan|1000000001", "a name that a model of the hub may have"),
    ("*/launch.py", "", r"[\s\S]*", "it starts what it is told; that says what is wrong"),
    ("*/launch.py", "--rdzv-endpoint", r"[\s\S]*", NOT_USED),
]
"""(script, option, values, reason)"""

MEMORY = "a memory of what files held: without it they are opened again"
OPTIONAL = "the file may be missing"
AGAIN = "results without their record, or whose files are damaged, are made again"
LEFT_OUT = "a report leaves out what is not there yet"
NOT_READ_NOW = "this command does not read what is in it"

TAKEN_FILES = [
    ("*", r".*\.audio\.json", ".*", MEMORY),
    ("*", r".*\.comflp\.json", ".*", "only who replaces the directory reads it"),
    ("*", "data/.*/(utt2spk|spk2utt|utt2dur|segments)", "missing", OPTIONAL),
    ("*/stage1*", "data/.*/text", "missing", OPTIONAL),
    ("*", r".*(record|subset|subsets)\.json", "missing", AGAIN),
    ("*/hf_to_data_dir.py", "hf/state.json", "missing", "older folders have none: all data-*.arrow, whose names tell how many there are"),
    ("*/stage1*.py", r"exp/hidden/.*\.(ark|scp|npy)", ".*", AGAIN),
    ("*/stage2*.py", r"exp/correlation/dc\.npy", ".*", AGAIN),
    ("*/stage3*.py", r".*/candidates\.json", ".*", AGAIN),
    ("*/stage4*.py", r".*/dc_fine/proposal\.json", ".*", AGAIN),
    ("*/stage6*.py", r".*/score\.json", ".*", AGAIN),
    ("*/table_of_seeds.py", ".*", "missing", LEFT_OUT),
    ("*/stage7*", "exp/.*", "missing", LEFT_OUT),
    ("*/select_subsets.py", "data/valid/.*", ".*", AGAIN),
    ("*/prepare_librispeech.py *", r".*\.flac", "half", "only decoding shows where FLAC was cut off: whoever reads the audio says it"),
    ("*/train_deep.py", r".*started\.json", ".*", NOT_READ_NOW),
    ("*/stage4* --force", r"exp/costs\.record\.json", ".*", AGAIN),
    ("*/stage7*.py", r"exp/report/record\.json", ".*", AGAIN),
    ("*/stage4* --force", r"exp/correlation/dc\.npy", "missing", "the qualities of baselines are not known then"),
    ("*/stage5* --number_of_epochs=2", r".*/train/started\.json", "missing", "the record of the finished training says how it was started"),
    ("*/stage6* --force", r".*layers_3/proposal\.json", "missing", "a folder without it is no finished result"),
]
"""(script with the options that are added to its command, file, damage, reason)"""


def reason(table, script, *what):
    """Why it may be taken, or None."""
    for pattern, *patterns, why in table:
        if fnmatch(script, pattern) and all(re.fullmatch(one, text) for one, text in zip(patterns, what)):
            return why
    return None


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The folder of a small recipe with everything made; two levels down, for values that point upwards."""
    here = tmp_path_factory.mktemp("bad") / "in" / "it"
    here.mkdir(parents=True)
    execv, os.execv = os.execv, lambda *_: sys.exit(0)  # launch.py would become the script that it starts
    try:
        bad_inputs.make_recipe(here)
        yield here
    finally:
        os.execv = execv


@pytest.fixture(scope="module")
def saved(recipe, tmp_path_factory):
    """A copy of that folder, from which it is put back: no test finds what the one before it left, whatever their order."""
    return shutil.copytree(recipe, tmp_path_factory.mktemp("saved") / "it", symlinks=True)


def test_every_script_with_options_is_tried():
    scripts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
               for pattern in ("local/*.py", "utils/*.py", "recipes/*/local/*.py") for path in ROOT.glob(pattern)}
    with_options = {name for name, text in scripts.items() if ".parse_args()" in text or ".parse_known_args()" in text}
    assert with_options == {*COMMANDS}


def verdict(table, script, outcome, *what):
    """What is wrong with an outcome, or None. A value that makes another setting is taken; a file that does so is noticed."""
    if outcome.fault is not None:
        return outcome.fault
    if outcome.is_accepted or (table is TAKEN_VALUES and outcome.is_another_setting):
        return None if reason(table, script, *what) else f"is taken: {outcome.said}"
    said = outcome.said.strip()
    if table is TAKEN_FILES:  # a file may be read late: before the error stands what was done
        said = said.rpartition(": error: ")[2]
    lines = said.splitlines()
    if not all(line.startswith(" ") for line in lines[1:]) and "faults" not in lines[-1]:
        return f"is not one line: {outcome.said}"
    return None


def restore(here, saved):
    """Put the folder of a recipe back as it was, and remove what was made one and two levels above it."""
    shutil.rmtree(here)
    for folder in (here.parent, here.parents[1]):
        for path in {*folder.iterdir()} - {here, here.parent}:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(saved, here, symlinks=True)


@pytest.mark.parametrize("script", COMMANDS)
def test_values_of_options(recipe, script, saved):
    wrong = []
    for option in options_of(script, recipe):
        for value in VALUES:
            words = base(script, recipe)
            if script == "local/launch.py":  # whose own options come before the script
                words = [f"{option}={value}", *words] if option else [value]
            else:
                words = [*words, f"{option}={value}"] if option else [value, *words[1:]]
            outcome = call(script, words, recipe)
            found = verdict(TAKEN_VALUES, script, outcome, option, value)
            if found is not None:
                wrong.append(f"{option} {value[:20]!r} {found}")
            if outcome.is_accepted:
                restore(recipe, saved)
    assert not wrong, "\n".join(wrong)


SHAPES = {"list": b"[]", "null": b"null", "number": b"3", "object": b"{}", "deep": b"[" * 100_000, "long number": b"9" * 5000}
"""What may stand where another JSON object, or YAML, is to be."""
OTHERS = ("utils/", "local/prepare_aishell.py", "local/recipe_options.py")
"""Scripts that read other people's files, which may be anything."""


def damages(path, every_shape):
    """Name -> function that puts the damage in the place of a file. every_shape: also of a file that is neither JSON nor YAML."""
    content = path.read_bytes()
    bad = {"empty": b"", "half": content[: len(content) // 2], "zeros": b"\0" * 64, "not UTF-8": b"\xff\xfe\n" * 3}
    bad |= SHAPES if every_shape or path.suffix in (".json", ".yaml") else {}
    made = {name: (lambda new=new: path.write_bytes(new)) for name, new in bad.items()}
    return {**made, "missing": lambda: None, "folder": path.mkdir, "fifo": lambda: os.mkfifo(path)}


def test_the_files_of_every_script_are_damaged():
    assert {script for script, _, _ in FILES} | NOT_READ == {*COMMANDS}


@pytest.mark.parametrize("script, more, patterns", FILES, ids=[f"{script} {more}".strip() for script, more, _ in FILES])
def test_damaged_files(recipe, script, more, patterns, saved):
    groups = [[path for path in recipe.glob(pattern) if path.is_file()] for pattern in patterns.split()]
    assert all(groups)
    paths = sorted({path for group in groups for path in group if not path.name.startswith(".")})
    number = 0
    wrong = []
    for path in paths:
        name = path.relative_to(recipe).as_posix()
        for damage, make in damages(path, script.startswith(OTHERS)).items():
            path.unlink()
            make()
            outcome = call(script, [*base(script, recipe), *more.split()], recipe)
            found = verdict(TAKEN_FILES, f"{script} {more}".strip(), outcome, name, damage)
            number += 1
            if found is not None:
                wrong.append(f"{name}, {damage}: {found}")
            if outcome.is_accepted or not path.parent.is_dir():  # work in progress that is damaged is removed
                restore(recipe, saved)
            else:
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
                shutil.copy2(saved / name, path)
    print(f"{script} {more}: {number} runs")
    assert not wrong, "\n".join(wrong)
