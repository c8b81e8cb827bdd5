"""docs/targets.md: its example runs, and its table is what benchmarks/ceilings.py prints."""

import doctest
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "targets.md"


def test_the_example_runs():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried == 7 and not failed


def test_the_table_is_what_the_command_prints():
    done = subprocess.run([sys.executable, "benchmarks/ceilings.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout and done.stdout in PAGE.read_text(encoding="utf-8")
