"""The house rules that a program can check: each floor imports only those below it, files stay short, the linter is content."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("comflp", "local", "utils", "recipes", "benchmarks", "tests")
LONGEST = 320

FLOORS = (
    ("errors", "names"), ("artifacts", "locks", "replacing"), ("proposal", "target", "stacks", "text", "costs", "budget"),
    ("processes", "heartbeat"), ("record",), ("experiment", "origins", "result_names"),
    ("data", "scoring"), ("models",), ("inference",), ("measures",), ("search",), ("repair",), ("train",), ("deploy", "pruned", "pruning"),
    ("report",), ("cli", "transcribe"),
)  # fmt: skip
"""What lies in comflp/, from the bottom up. local/ stands on top of all of it."""


def files(*folders):
    return sorted(path for folder in folders for path in (REPOSITORY / folder).glob("**/*.py") if "__pycache__" not in path.parts)


def floor_of(module):
    """The number of the floor that ``comflp.<floor>...`` is on; None for comflp itself."""
    parts = module.split(".")
    if parts[0] != "comflp" or len(parts) == 1:
        return None
    numbers = [number for number, floor in enumerate(FLOORS) if parts[1] in floor]
    assert numbers, f"{module} is on no floor: say which in tests/test_house.py"
    return numbers[0]


def imported(path):
    """(line, module) of every import in a file, those within functions too, but not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {id(node) for branch in ast.walk(tree) if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
                 for node in ast.walk(branch)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            below = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "comflp" else [node.module]
            yield from ((node.lineno, name) for name in below if not name.startswith("comflp.__"))


def test_each_floor_imports_only_those_below_it():
    upward = []
    for path in files("comflp"):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        if module in ("comflp.__init__", "comflp.__main__") or module.startswith("comflp.cli"):
            continue
        own = floor_of(module)
        for line, name in imported(path):
            other = floor_of(name)
            if other is not None and other > own:
                upward.append(f"{path.relative_to(REPOSITORY)}:{line} imports {name}, which is above it")
    assert not upward, "\n".join(upward)


def test_the_library_knows_nothing_of_the_scripts():
    scripts = {path.stem for path in files("local")}
    found = [f"{path.relative_to(REPOSITORY)}:{line} imports {name}" for path in files("comflp") for line, name in imported(path)
             if name.split(".")[0] in scripts]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_are_short(folder):
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines()) for path in files(folder)}
    long = {name: lines for name, lines in lengths.items() if lines > LONGEST}
    assert not long, f"more than {LONGEST} lines: {long}"


def test_the_linter_is_content():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", *FOLDERS, "setup.py"],
                          cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
