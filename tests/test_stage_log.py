"""local/stage_log.py: the log file has what was on the screen, progress bars left out; launch and its log file under `cmd`."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

SCRIPT = """
import sys, time
from cli import run
from tqdm import tqdm
from comflp.errors import ComflpError

def main():
    print("wrote this")
    for _ in tqdm(range(3), mininterval=0):
        tqdm.write("in the loop", file=sys.stderr)
    print("naïve", end=" ")
    print("half")
    raise ComflpError("that went wrong")

run(main)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def call(script, log=None):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "local"), str(REPOSITORY)]), "PYTHONUTF8": "1"}
    environment.pop("COMFLP_LOG", None)
    if log:
        environment["COMFLP_LOG"] = str(log)
    return subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, encoding="utf-8")


def test_the_log_has_what_was_shown_without_bars(script, tmp_path):
    log = tmp_path / "stage1.log"
    log.write_text("an earlier run\n")
    shown = call(script, log)
    assert "100%|" in shown.stderr and shown.returncode == 1
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "an earlier run"
    assert sorted(lines[1:]) == sorted(
        ["wrote this", *["in the loop"] * 3, "naïve half", "script.py: error: that went wrong"]
    )


def test_the_screen_is_the_same_with_and_without_a_log(script, tmp_path):
    def told(shown):
        return shown.returncode, shown.stdout, shown.stderr.splitlines()[-1]

    assert told(call(script)) == told(call(script, tmp_path / "log"))


def test_the_copy_is_a_stream_like_the_one_copied():
    sys.path.insert(0, str(REPOSITORY / "local"))
    from stage_log import CopiedStream

    reading, writing = os.pipe()
    inner = io.StringIO()
    stream = CopiedStream(inner, writing)
    assert stream.write("no end") == 6 and stream.isatty() is False
    stream.write(" yet\n\r 10%|#  | 1/10\r 20%|## | 2/10")
    os.close(writing)
    with os.fdopen(reading) as log:
        assert log.read() == "no end yet\n"
    assert inner.getvalue() == "no end yet\n\r 10%|#  | 1/10\r 20%|## | 2/10"


def test_without_a_terminal_long_work_says_a_line_now_and_then(tmp_path):
    """Every minute in truth; the test does not wait for that."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom cli import progress, run\n"
        "def main():\n    for _ in progress(range(4), desc='decode', mininterval=0, delay=0.01): time.sleep(0.05)\nrun(main)\n"
    )
    log = tmp_path / "log"
    shown = call(script, log).stderr.splitlines()
    assert shown[0].startswith("decode: ") and " of 4 done, " in shown[0] and shown[-1].startswith("decode: ")
    assert log.read_text().splitlines() == shown


def test_a_warning_is_said_once_in_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import warnings\nfrom cli import run\n"
        "def main():\n    for text in ('at 8 kHz', 'two\\nlines', 'at 8 kHz'): warnings.warn(text)\n"
        "    warnings.warn('at 8 kHz')\nrun(main)\n"
    )
    assert call(script).stderr.splitlines() == ["script.py: warning: at 8 kHz", "script.py: warning: two lines"]
