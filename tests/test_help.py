"""What --help says of options: defaults where there are any, paragraphs as they were written, no option that does nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from comflp.cli.terminal import parser

LOCAL = Path(__file__).resolve().parents[1] / "local"


def help_of(script):
    return subprocess.run([sys.executable, str(LOCAL / script), "--help"], capture_output=True, text=True, check=True).stdout


def test_a_default_is_shown_where_there_is_one():
    options = parser("Do 50% of it.\n\nSay so:\n\n    do.py --here\n\nThe end.\n")
    options.add_argument("--data", required=True, help="speech")
    options.add_argument("--device", help="the GPU if there is one")
    options.add_argument("--note", default="", help="words")
    options.add_argument("--force", action="store_true", help="again")
    options.add_argument("--count", type=int, default=0, help="0%% of all")
    options.add_argument("--to", nargs="+", default=["onnx", "torch"], help="runtimes")
    options.add_argument("--compare", default=True, help="true or false")
    options.add_argument("--target", default="50%", help="a share")
    shown = options.format_help()
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in ("-h, --help show this help message and exit", "--data DATA speech", "--device DEVICE the GPU if there is one", "--note NOTE words",
                 "--force again", "--count COUNT 0% of all (default: 0)", "--compare COMPARE true or false (default: true)",
                 "--target TARGET a share (default: 50%)"):
        assert line in lines
    assert "runtimes (default: onnx torch)" in shown
    assert "Do 50% of it.\n\nSay so:\n\n    do.py --here\n\nThe end.\n" in shown


@pytest.mark.parametrize("script, trains", [("stage5_finetune.py", True), ("stage7_report.py", False)])
def test_force_speaks_of_trainings_where_something_is_trained(script, trains):
    shown = " ".join(help_of(script).split())
    assert "--force make the results again even if others are there" in shown and ("and killed goes on" in shown) == trains
    assert "default: None" not in shown and "default: )" not in shown and "default: False" not in shown


def test_the_table_of_seeds_replaces_nothing_and_has_no_force():
    shown = help_of("table_of_seeds.py")
    assert "--force" not in shown and '\n\n    python steps/table_of_seeds.py --exp "exp/transformer12 exp/seed2 exp/seed3" --num-prune 6 --tag e2\n\n' in shown
