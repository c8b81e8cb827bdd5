"""docs/quickstart.md, followed to the letter; and the wheel, which holds all that this takes."""

import doctest
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "quickstart.md"


@pytest.fixture
def place(make_model, make_data, tmp_path):
    """A directory with ``model``, ``recordings`` and ``table.csv``, as the page takes them."""
    place = tmp_path / "place"
    data = make_data(24)
    make_model(4).save(place / "model")
    shutil.copytree(tmp_path / "data-wav", place / "recordings")
    (place / "table.csv").write_text("wav,text\n" + "".join(f"recordings/{u.utt_id}.wav,{u.text}\n" for u in data))
    return place


def test_the_python_of_the_page(place, monkeypatch):
    monkeypatch.chdir(place)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried == 13 and not failed


def test_the_wheel_does_what_the_page_says(place, tmp_path):
    """Built, installed without its dependencies into a new environment that sees those of this one, and used there."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "comflp", source / "comflp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)], tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"comflp/py.typed", "comflp/cli/prune.py", "comflp/report/page.css"} <= set(names) and not any("tests/" in n for n in names)

    venv = tmp_path / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], tmp_path)
    python = venv / "bin" / "python"
    (site,) = venv.glob("lib/python3*/site-packages")
    run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], tmp_path)
    paths = [path for path in sys.path if path.endswith("-packages")]
    (site / "packages_at_hand.pth").write_text("\n".join(paths) + "\n")  # after its own, so that its comflp comes first
    environment = {**os.environ, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    where = run([str(python), "-c", "import comflp; print(comflp.__file__)"], place, environment)
    assert where.startswith(str(venv))

    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    shown = run(["bash", "-euo", "pipefail", "-c", "".join(blocks)], place, environment)
    assert "removing half of the encoder's layers" in shown and "(2 of 4)" in shown and "WER" in shown
    assert (place / "smaller" / "pruning.json").exists() and (place / "scores" / "score.json").exists()


def run(command, cwd, environment=None):
    """stdout of a command that has to end well."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
