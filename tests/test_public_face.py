"""What users of the library see: the API pages build from the docstrings, and the types of the public face hold."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def tool(*arguments):
    """stdout and stderr of a Python tool in the repository; it has to end well."""
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(not (find_spec("mkdocs") and find_spec("mkdocstrings")), reason="mkdocs or mkdocstrings is not here: pip install -e '.[docs]'")
def test_the_pages_build(tmp_path):
    tool("mkdocs", "build", "--strict", "--site-dir", tmp_path / "site")
    page = (tmp_path / "site" / "api" / "pruning" / "index.html").read_text(encoding="utf-8")
    for text in ("comflp.pruning.prune", "max_increase", "A smaller model that does what", "comflp.pruned.Pruned"):
        assert text in page, text


@pytest.mark.skipif(not find_spec("mypy"), reason="mypy is not here: pip install -e '.[test]'")
def test_the_types_of_the_public_face(tmp_path):
    assert "no issues found" in tool("mypy", "--cache-dir", tmp_path)
