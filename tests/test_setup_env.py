"""utils/setup_env.sh: which environment it takes, and what it does about an old, a half-made and a finished one.

pip is stood in for here, since it needs a network; the real installation is what .ci/run begins with.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# python3 whose `-m venv DIR` makes a DIR/bin/python that only writes down how it was called, and fails while `fail` exists
PYTHON = """#!/usr/bin/env bash
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin"
  printf '%s\\n' '#!/usr/bin/env bash' 'printf "%s\\\\n" "$*" >>"$LOG"' \\
    'case $* in *"index versions"*) for v in $VERSIONS; do case $v in "$5=="*) echo "Available versions: 9, ${v#*==}, 8" ;; esac; done ;; esac' \\
    'sleep "${PIP_SECONDS:-0}"' '[ ! -e "$FAIL" ]' >"$3/bin/python"
  chmod +x "$3/bin/python"
else
  exec "$REAL_PYTHON" "$@"
fi
"""


def executable(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def repository(tmp_path):
    """A clone with what setup_env.sh needs, in a folder with a space, and no active environment with comflp."""
    root = tmp_path / "a clone"
    (root / "utils").mkdir(parents=True)
    for name in ("setup_env.sh", "lock.sh"):
        shutil.copy(REPOSITORY / "utils" / name, root / "utils" / name)
    (root / "setup.py").write_text("first\n")
    (root / "constraints.txt").write_text("torch==2\n")
    executable(tmp_path / "bin" / "python", "#!/bin/sh\nexit 1\n")
    executable(tmp_path / "bin" / "python3", PYTHON)
    return root


def environment(repository, **more):
    parent = repository.parent
    return {
        **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV" and not name.startswith("COMFLP_")},
        "PATH": os.pathsep.join([str(parent / "bin"), "/usr/bin", "/bin"]),
        "REAL_PYTHON": sys.executable,
        "LOG": str(parent / "pip.log"),
        "FAIL": str(parent / "fail"),
        "VERSIONS": "",
        **more,
    }


COMMAND = 'set -euo pipefail; . utils/setup_env.sh; command -v python; echo "$COMFLP_ROOT"'


def source(repository, **more):
    return subprocess.run(
        ["bash", "-c", COMMAND],
        cwd=repository,
        env=environment(repository, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def installations(repository):
    log = repository.parent / "pip.log"
    return [line for line in log.read_text().splitlines() if " install " in line] if log.exists() else []


def test_the_environment_is_made_once_and_recognised(repository):
    done = source(repository)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{repository}/.venv/bin/python", str(repository)]
    assert "installing comflp" in done.stderr
    (command,) = installations(repository)
    assert f"--constraint {repository}/constraints.txt" in command
    assert command.endswith(f"--editable {repository}[synthetic,export]")
    assert "6.2 GB" in done.stderr and "COMFLP_TORCH=cpu makes it 1.7 GB" in done.stderr
    again = source(repository)
    assert (again.returncode, again.stderr, len(installations(repository))) == (0, "", 1)


def test_what_only_tests_need_is_added_when_it_is_asked_for(repository):
    source(repository)
    assert source(repository, COMFLP_EXTRAS="test").returncode == 0
    assert [command.split("[")[1] for command in installations(repository)] == ["synthetic,export]", "synthetic,export,test]"]
    for extras in ("test", ""):
        assert source(repository, COMFLP_EXTRAS=extras).returncode == 0
    assert len(installations(repository)) == 2


PINNED = "torch==2.14.1\ntorchaudio==2.11.0 ; python_version >= '3.11'\nnumpy==2\n"


@pytest.mark.parametrize(
    "versions, torch, audio",
    [
        ("torch==2.15.0+cpu torch==2.14.1+cpu torchaudio==2.11.0+cpu", "torch==2.14.1+cpu", "torchaudio==2.11.0+cpu"),
        ("torch==2.13.0+cpu torch==2.14.1", "torch==2.13.0+cpu", "torchaudio==2.11.0 ; python_version >= '3.11'"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has CUDA on Linux only")
def test_pytorch_for_the_cpu(repository, versions, torch, audio):
    (repository / "constraints.txt").write_text(PINNED)
    compiled = repository / ".venv" / "lib" / "python3.11" / "site-packages" / "torchaudio" / "lib" / "_torchaudio.abi3.so"
    compiled.parent.mkdir(parents=True)
    compiled.touch()
    done = source(repository, COMFLP_TORCH="cpu", VERSIONS=versions)
    assert done.returncode == 0, done.stderr
    assert "1.7 GB" in done.stderr and "6.2 GB" not in done.stderr
    assert sorted((repository / ".venv" / "constraints.txt").read_text().splitlines()) == sorted(["numpy==2", torch, audio])
    first, second = installations(repository)
    assert first.endswith(" torch torchaudio") and second.endswith("[synthetic,export]")
    assert all(f"--constraint {repository}/.venv/constraints.txt" in command for command in (first, second))
    assert compiled.exists() == ("+cpu" in audio), "a torchaudio for CUDA cannot load its compiled part"
    for kind in ("cpu", None):  # it stays what it is until something else is asked for
        more = {"COMFLP_TORCH": kind} if kind else {}
        assert source(repository, **more).stderr == ""
    again = source(repository, COMFLP_TORCH="default")
    assert again.returncode == 0 and "PyTorch for another processor" in again.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has CUDA on Linux only")
def test_where_there_is_no_pytorch_for_the_cpu_that_is_said(repository):
    done = source(repository, COMFLP_TORCH="cpu", VERSIONS="torch==2.14.1")
    assert done.returncode == 1 and not installations(repository)
    assert "no index that pip knows has wheels of torch for the CPU" in done.stderr and "PIP_EXTRA_INDEX_URL" in done.stderr
    assert "can be cpu or default" in source(repository, COMFLP_TORCH="gpu").stderr


@pytest.mark.parametrize("name", ["setup.py", "constraints.txt"])
def test_changed_requirements_are_installed(repository, name):
    source(repository)
    (repository / name).write_text("second\n")
    assert source(repository).returncode == 0
    assert len(installations(repository)) == 2


def test_an_installation_that_failed_is_said_and_completed_by_the_next_run(repository):
    (repository.parent / "fail").touch()
    done = source(repository)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Run the same command again" in done.stderr
    assert not (repository / ".venv" / "stamp").exists()
    (repository.parent / "fail").unlink()
    assert source(repository).returncode == 0


def test_a_package_whose_unpacking_was_cut_off_is_installed_again(repository):
    packages = repository / ".venv" / "lib" / "python3.11" / "site-packages"
    for name, installer in (("whole-1.dist-info", True), ("half-1.dist-info", False)):
        (packages / name).mkdir(parents=True)
        (packages / name / "METADATA").touch()
        if installer:
            (packages / name / "INSTALLER").touch()
    done = source(repository)
    assert done.returncode == 0 and "removing the half-installed half-1.dist-info" in done.stderr
    assert sorted(os.listdir(packages)) == ["whole-1.dist-info"]


def test_a_moved_clone_makes_its_environment_anew(repository):
    source(repository)
    (repository / ".venv" / "left-over").touch()
    moved = repository.parent / "moved"
    repository.rename(moved)
    done = source(moved)
    assert done.returncode == 0 and "for another Python or another place" in done.stderr
    assert not (moved / ".venv" / "left-over").exists()


def test_two_runs_at_once_install_once(repository):
    runs = [
        subprocess.Popen(
            ["bash", "-c", COMMAND],
            cwd=repository,
            env=environment(repository, PIP_SECONDS="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert len(installations(repository)) == 1


def test_an_active_environment_with_comflp_is_used_as_it_is(repository):
    site = repository.parent / "active" / "site"
    (site / "comflp-0.1.0.dist-info").mkdir(parents=True)
    (site / "comflp-0.1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: comflp\nVersion: 0.1.0\n")
    shell = f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.path.insert(0, \'{site}\'); exec(sys.argv[1])" "$2"\n'
    active = executable(repository.parent / "active" / "python", shell)
    done = source(repository, PATH=f"{active.parent}:/usr/bin:/bin")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == str(active)
    assert not (repository / ".venv").exists()


@pytest.mark.parametrize(
    "python, message",
    [
        ('#!/bin/sh\ncase $1 in -V) echo Python 3.8.18 ;; *) exit 1 ;; esac\n', "is Python 3.8.18, and Python 3.10 or newer is needed"),
        ('#!/bin/sh\ncase $2 in *venv*) exit 1 ;; *) exit 0 ;; esac\n', "has no venv module"),
        (None, "found: install Python 3.10 or newer"),
    ],
)
def test_a_python_that_will_not_do_is_named_with_what_to_do(repository, python, message):
    path = repository.parent / "other-python"
    if python is not None:
        executable(path, python)
    done = source(repository, COMFLP_PYTHON=str(path))
    assert done.returncode == 1
    assert str(path) in done.stderr and message in done.stderr and "COMFLP_PYTHON=" in done.stderr
    assert not (repository / ".venv").exists()
