"""Faults that are no bugs end in one line and exit status 1, leave nothing temporary behind, and do not hang."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comflp.artifacts import read_json
from comflp.data.tables import read_table
from comflp.errors import ComflpError
from comflp.names import name_fault
from comflp.processes import processes

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "recipes" / "mini" / "local"
SEARCHED = os.pathsep.join(map(str, (ROOT, ROOT / "local", MINI)))


def program(code, *arguments, **options):
    """A Python program with the helpers of the scripts."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": SEARCHED}, **options)


def ended(code, *arguments, **options):
    """(exit status, stderr) of such a program."""
    process = program(code, *arguments, **options)
    return process.communicate()[1], process.returncode


def test_what_is_printed_cannot_be_written():
    with open("/dev/full", "w") as full:
        said, status = ended("import cli; cli.run(lambda: print('done'))", stdout=full)
    assert (status, said) == (1, "-c: error: what is printed, or a file, cannot be written: No space left on device\n")


def test_who_reads_what_is_printed_is_gone():
    """As with any program of Unix, such as before ``| head``: nothing is said, and the status is that of SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    said, status = ended("import cli; cli.run(lambda: print('done'))", stdout=writing)
    os.close(writing)
    assert (status, said) == (141, "")


def test_stdout_is_closed():
    code = "import sys, cli; sys.stdout = None; cli.run(lambda: print('done'))"
    assert ended(code, stdout=subprocess.DEVNULL) == ("", 0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("MemoryError()", "memory has run out"),
        ("RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory: you tried')", "memory has run out"),
        ("RuntimeError('CUDA out of memory. Tried to allocate')", "memory has run out"),
        ("RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed.\\nmore')", "a process that read data has ended: DataLoader worker"),
        ("FileNotFoundError(2, 'No such file or directory', 'a.wav')", "a.wav: No such file or directory"),
        ("ComflpError('u\\x1b[2J\\nb')", "u\\x1b[2J\\nb"),
    ],
)
def test_it_is_one_line(error, expected):
    code = f"import cli\nfrom comflp.errors import ComflpError\ndef main(): raise {error}\ncli.run(main)"
    said, status = ended(code)
    assert status == 1 and said.count("\n") == 1 and said.startswith(f"-c: error: {expected}")


def test_a_bug_keeps_its_traceback():
    said, status = ended("import cli\ndef main(): [][0]\ncli.run(main)")
    assert status == 1 and "Traceback" in said and "IndexError" in said


def test_a_stage_that_is_ended_leaves_nothing_temporary(tmp_path):
    code = ("import sys, time, cli\nfrom comflp.artifacts import atomic_directory\ndef main():\n"
            "    with atomic_directory(sys.argv[1]) as new:\n        (new / 'begun').touch()\n        time.sleep(60)\ncli.run(main)")
    process = program(code, tmp_path / "result")
    while process.poll() is None and not list(tmp_path.glob(".tmp-result/begun")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "two", "-1", "0", "²", "1.5", "9" * 5000])
def test_an_environment_variable_that_is_no_number(monkeypatch, value):
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(ComflpError, match="the environment variable WORLD_SIZE is .* has to be a whole number from 1"), processes():
        pass


def test_a_synthesising_process_that_is_killed_is_no_hang(tmp_path):
    code = ("import os, signal\nfrom types import SimpleNamespace\nimport cli, make_corpus\n"
            "def work(speaker):\n    if speaker.name == 'S0002': os.kill(os.getpid(), signal.SIGKILL)\n"
            "cli.run(lambda: make_corpus.run_each(work, [SimpleNamespace(name=f'S000{i}') for i in range(1, 5)], 2))")
    said, status = ended(code)
    assert (status, said) == (1, "-c: error: speaker S0002 cannot be synthesised: its process was killed\n")


def test_a_named_pipe_for_a_file_is_no_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ComflpError, match="fifo cannot be read: it is a folder, a device or a named pipe"):
        read_json(tmp_path / "fifo")
    faults = []
    assert read_table(tmp_path / "fifo", faults) == {} and "named pipe" in faults[0].message


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "[" * 100_000, "9" * 5000, "", "{", '{"a": }'])
def test_json_of_another_shape(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ComflpError, match="a.json"):
        read_json(tmp_path / "a.json")


def test_a_key_that_is_not_there(tmp_path):
    (tmp_path / "a.json").write_text('{"inner": {}}')
    for keys in (("outer",), ("inner", "x")):
        with pytest.raises(ComflpError, match=f"a.json has no key '{keys[-1]}'"):
            value = read_json(tmp_path / "a.json")
            for key in keys:
                value = value[key]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "-x", "a b", "a\nb", "a\x1bb", "x" * 200])
def test_what_is_no_name(name):
    assert name_fault(name)


@pytest.mark.parametrize("name", ["e2", "dc_fine", "1,3-4", "encoder=1+decoder=2", "ü", "._"])
def test_what_is_a_name(name):
    assert name_fault(name) is None
