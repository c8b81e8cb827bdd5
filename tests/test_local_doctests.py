"""The examples in the docstrings of the stage scripts' helpers."""

import doctest
import importlib
from pathlib import Path

import pytest

LOCAL = Path(__file__).resolve().parents[1] / "local"
WITH_EXAMPLES = sorted(path.stem for path in LOCAL.glob("*.py") if ">>>" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, monkeypatch):
    monkeypatch.syspath_prepend(LOCAL)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed
