"""Every shell script: shellcheck clean, strict where it is run, and plain bash."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ["utils/*.sh", "local/*.sh", "recipes/*/*.sh", "recipes/*/local/*.sh", "tests/**/*.sh", ".ci/run"]
SCRIPTS = sorted({str(path.relative_to(REPOSITORY)) for pattern in FOLDERS for path in REPOSITORY.glob(pattern)})
# bash 4 and GNU only: associative arrays, mapfile, ${x,,}, &>>, in-place sed, readlink -f, date -d, grep -P, sort -V
NOT_PORTABLE = re.compile(
    r"declare -A|mapfile|readarray|\$\{\w+(,,|\^\^)|&>>|\bsed -i\b|readlink -f|\bdate -d\b|grep -\w*P\b|sort -\w*V\b|\bstat -c\b"
)


def test_there_are_scripts():
    assert "utils/setup_env.sh" in SCRIPTS and ".ci/run" in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script):
    parts = Path(script).parts  # a recipe's scripts run in the recipe's folder, and source from there
    folder = Path(*parts[:2]) if parts[0] == "recipes" else Path()
    command = ["shellcheck", "-x", "-s", "bash", str(Path(script).relative_to(folder))]
    done = subprocess.run(command, cwd=REPOSITORY / folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_3_and_bsd_tools_are_enough(script):
    found = NOT_PORTABLE.search((REPOSITORY / script).read_text(encoding="utf-8"))
    assert found is None, f"{script} uses {found.group()}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_is_run_is_strict(script):
    text = (REPOSITORY / script).read_text(encoding="utf-8")
    sourced = Path(script).name in ("path.sh", "setup_env.sh", "parse_options.sh", "common.sh", "lock.sh", "cmd.sh", "pipeline.sh")
    assert sourced or "\nset -euo pipefail\n" in text
