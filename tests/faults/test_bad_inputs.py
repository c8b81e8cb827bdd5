"""Bad values of every option of every script, and every file that is read, damaged: no traceback, no hang, and a reason for what is taken.

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
from faults.bad_inputs import COMMANDS, ROOT, base, call, options_of

VALUES = ["", "-1", "²", "9" * 5000, "nan", "a\nb", "../../nowhere", "1000000001"]
"""What is tried for every option, whatever it takes."""

FREE = "free text: it is shown, or compared with what is in a file"
PLACE = "a place that is made, two folders up or by the name of a number"
NOT_USED = "the command has no use for it: nothing is read from there"
NONE = "an empty text: there is to be none"
NAME = "a name is a name, also one of digits"
NUMBER = "a number within the bounds"

TAKEN = [
    ("*", "--seed", r"1000000001", NUMBER),
    ("*", "--tag", r"|²|nan|1000000001", NAME),
    ("*", "--title", r".*", FREE),
    ("*", "--note", r".*", FREE),
    ("*/stage[1-4]*", "--data", r".*", NOT_USED),
    ("*/stage[1-4]*", "--model", r".*", NOT_USED),
    ("*/stage[1-4]*", "--hidden", r".*", NOT_USED),
    ("*/stage4*", "--train", r".*", NOT_USED),
    ("*", "--out", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*", "--target", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*/prepare_*", "--data", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*/make_strings.py", "--data", r"-1|²|nan|\.\./\.\./nowhere|1000000001", PLACE),
    ("*/stage4*", "--measures", r"", NONE),
    ("*/stage4*", "--reverse-measures", r"", NONE),
    ("*/stage4*", "--baselines", r"", NONE),
    ("*/stage3*", "--keep", r"", NONE),
    ("*/stage6*", "--models", r"", NONE),
]
"""(script, option, values, reason): what is accepted."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The folder of a small recipe with everything made; two levels down, for values that point upwards."""
    here = tmp_path_factory.mktemp("bad") / "in" / "it"
    here.mkdir(parents=True)
    execv, os.execv = os.execv, lambda *_: sys.exit(0)  # launch.py becomes the script that it starts
    try:
        bad_inputs.make_recipe(here)
        yield here
    finally:
        os.execv = execv


def reason(table, *what):
    """Why it may be taken, or None."""
    return next((row[-1] for row in table if all(matches(*pair) for pair in zip(row, what))), None)


def matches(pattern, text):
    return fnmatch(text, pattern) if pattern.startswith("*") else pattern == text if pattern.startswith("-") else re.fullmatch(pattern, text) is not None


def test_every_script_with_options_is_tried():
    scripts = {path.relative_to(ROOT).as_posix() for folder in ("local", "utils", "recipes") for path in (ROOT / folder).rglob("*.py")
               if "add_argument(" in path.read_text(encoding="utf-8") and "__main__" in (text := path.read_text(encoding="utf-8")) or
               path.name.startswith("stage") and "add_argument(" in path.read_text(encoding="utf-8")}
    assert {name for name in scripts if "/steps/" not in name and "/utils/" not in name[6:]} <= {*COMMANDS}


@pytest.mark.parametrize("script", COMMANDS)
def test_values_of_options(recipe, script):
    wrong = []
    for option in options_of(script, recipe):
        for value in VALUES:
            words = base(script, recipe)
            if option:
                words.append(f"{option}={value}")
            else:
                words[0] = value
            outcome = call(script, words, recipe)
            if outcome.fault is not None:
                wrong.append(f"{option} {value[:20]!r}: {outcome.fault}")
            elif outcome.is_accepted and reason(TAKEN, script, option, value) is None:
                wrong.append(f"{option} {value[:20]!r} is taken: {outcome.said}")
            elif not outcome.is_accepted and len(outcome.said.strip().splitlines()) > 1:
                wrong.append(f"{option} {value[:20]!r} is not one line: {outcome.said}")
    assert not wrong, "\n".join(wrong)
