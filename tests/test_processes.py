"""What several processes decide together: one of them looks, all know, and an error is said once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comflp.errors import ComflpError
from comflp.processes import ALONE

LOCAL = Path(__file__).resolve().parents[1] / "local"

SCRIPT = f"""
import sys
sys.path.insert(0, {str(LOCAL)!r})
from cli import run
from comflp.errors import ComflpError
from comflp.processes import processes


def refuse():
    raise ComflpError("the data are missing")


def main():
    with processes() as ranks:
        looked = []
        told = ranks.decide(lambda: looked.append(ranks.rank) or {{"pending": [3, 4]}})
        print(f"{{ranks.rank}} looked {{len(looked)}} times and knows {{told}}", flush=True)
        ranks.barrier()
        ranks.decide(refuse)
        print("nobody gets here")


run(main)
"""


def test_the_main_process_looks_and_tells_and_an_error_is_said_once(tmp_path):
    script = tmp_path / "decide.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(LOCAL / "launch.py"), "--standalone", "--nproc-per-node", "2", str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )
    assert done.returncode == 1
    assert sorted(line for line in done.stdout.splitlines() if "looked" in line) == [
        "0 looked 1 times and knows {'pending': [3, 4]}", "1 looked 0 times and knows {'pending': [3, 4]}",
    ]
    assert "nobody" not in done.stdout and "Traceback" not in done.stderr
    assert done.stderr.count("error: the data are missing") == 1


def test_alone_an_error_is_the_error():
    def refuse():
        raise ComflpError("no")

    with pytest.raises(ComflpError, match="no"):
        ALONE.decide(refuse)
