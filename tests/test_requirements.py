"""setup.py and constraints.txt: whatever the tree imports is asked for, and whatever is asked for has a tested version."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("comflp", "local", "utils", "recipes", "benchmarks", "tests")
HIDDEN = {"torch.utils.tensorboard": "tensorboard"}  # modules of one package that need another


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for():
    """{distribution: extra or ""} of setup.py, as the installed comflp states it."""
    found = {}
    for line in requires("comflp"):
        extra = re.search(r'extra == "([a-z]+)"', line.replace("'", '"'))
        found.setdefault(normalised(re.match(r"[A-Za-z0-9._-]+", line)[0]), extra[1] if extra else "")
    return found


def imported(folder):
    """Every module that the Python files below a folder import by its full name."""
    for path in (REPOSITORY / folder).glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module


def test_what_is_imported_is_asked_for():
    own = {path.stem for folder in FOLDERS for path in (REPOSITORY / folder).glob("**/*.py")} | {"comflp", "fixtures", "faults"}
    distributions, asked = packages_distributions(), asked_for()
    missing = set()
    for folder in FOLDERS:
        for module in imported(folder):
            top = module.split(".")[0]
            if module in HIDDEN:
                needed = {HIDDEN[module]}
            elif top in sys.stdlib_module_names or (top in own and top not in distributions):
                continue
            else:
                needed = {normalised(name) for name in distributions.get(top, [top])} - {"comflp"}
                if not needed:
                    continue
            if not needed & asked.keys():
                missing.add(f"{folder} imports {module}")
    assert not missing


def test_what_is_asked_for_has_a_tested_version():
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalised(line.split("==")[0]) for line in lines if "==" in line}
    assert set(asked_for()) <= pinned
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]
