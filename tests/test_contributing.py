"""CONTRIBUTING.md, followed: the measure and the baseline that it adds work."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python([^\n]*)\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def clone(tmp_path):
    """A copy of the library and of its tests of measures, to be changed."""
    for name in ("comflp", "tests"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def run(clone, *words):
    done = subprocess.run([sys.executable, *words], cwd=clone, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PYTHONPATH": str(clone)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_measure(clone):
    (place, code), _ = BLOCKS
    (clone / place.strip()).write_text(code, encoding="utf-8")
    table = clone / "comflp" / "measures" / "table.py"
    text = table.read_text(encoding="utf-8")
    line = re.search(r"`(_of_hidden_states\(euclid\),)`", PAGE)[1]
    text = text.replace("from comflp.measures.pwcca", "from comflp.measures.euclid import euclid\nfrom comflp.measures.pwcca", 1)
    table.write_text(text.replace("        _of_hidden_states(dc),\n", f"        _of_hidden_states(dc),\n        {line}\n", 1), encoding="utf-8")
    said = run(clone, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/measures/test_correlation_matrix.py", "-k", "euclid")
    assert int(re.search(r"(\d+) passed", said)[1]) >= 5


def test_a_baseline(clone):
    _, (_, code) = BLOCKS
    fixed = clone / "comflp" / "search" / "baselines" / "fixed.py"
    text = fixed.read_text(encoding="utf-8")
    assert text.count('"top": top') == 1
    fixed.write_text(text.replace("\nFIXED", f"\n{code}\n\nFIXED").replace('"top": top', '"top": top, "ends": ends'), encoding="utf-8")
    said = run(clone, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", str(fixed), "-k", "ends")
    assert "1 passed" in said
    assert "ends" in run(clone, "-c", "from comflp.search.baselines.baseline import NAMES; print(NAMES)")


def test_the_page_names_what_exists():
    paths = re.findall(r"`((?:utils|local|recipes|tests|comflp|docs)/[\w./]+\w)`", PAGE) + re.findall(r"\bdocs/\w+\.md", PAGE)
    missing = [path for path in paths if not (REPOSITORY / path).exists() and "euclid" not in path]
    assert not missing
    assert importlib.util.find_spec("comflp.search.baselines.baseline")
