"""A full disk, a place that cannot be written, a directory that vanishes, lost records, a clock that goes backwards."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from comflp.artifacts import atomic_directory, atomic_path, write_json, write_text
from comflp.train.checkpoints import AtomicCheckpointer
from comflp.data.data_dir import write_data_dir
from comflp.errors import ComflpError
from comflp.inference.hidden_states import dump
from comflp.record import Stage

# Beyond so many blocks of 512 bytes (on Linux 1,024) the kernel refuses to let a file grow, as on a full disk.
FULL_DISK = "ulimit -f {blocks}; exec \"$@\""


def on_a_full_disk(blocks, *arguments):
    """Runs Python with ``arguments`` where no file can grow beyond ``blocks``; coverage could not write its own there."""
    command = ["bash", "-c", FULL_DISK.format(blocks=blocks), "bash", sys.executable, *map(str, arguments)]
    uncounted = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(command, env=uncounted, capture_output=True, text=True)


@pytest.mark.parametrize("old", [None, "the old result"])
def test_a_full_disk_leaves_the_old_file_or_none(tmp_path, old):
    path = tmp_path / "result.json"
    if old:
        path.write_text(old)
    code = "import sys; from comflp.artifacts import write_json; write_json(sys.argv[1], 'x' * 100_000)"
    done = on_a_full_disk(8, "-c", code, path)
    assert done.returncode == 1
    assert f"ComflpError: {path} cannot be written: File too large" in done.stderr
    assert (path.read_text() if old else list(tmp_path.iterdir())) == (old or [])
    assert len(list(tmp_path.iterdir())) == (1 if old else 0)


def test_a_full_disk_leaves_the_old_directory(tmp_path, make_data):
    data = make_data(3)
    before = {path.name: path.read_bytes() for path in data.path.iterdir()}
    code = (
        "import sys; from comflp.data.data_dir import Utterance, write_data_dir; "
        "write_data_dir(sys.argv[1], [Utterance(f'u{n:05d}', 'a.wav', 'text', 's', 1.0) for n in range(5000)])"
    )
    done = on_a_full_disk(8, "-c", code, data.path)
    assert done.returncode == 1 and f"{data.path} cannot be written" in done.stderr
    assert {path.name: path.read_bytes() for path in data.path.iterdir()} == before
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_stage_on_a_full_disk_ends_in_one_line_and_the_next_run_completes_it(tmp_path, make_model, make_data):
    make_model().save(tmp_path / "deep")
    data, out = make_data(), tmp_path / "hidden"
    stage = Path(__file__).resolve().parents[2] / "local" / "stage1_dump_hidden_states.py"
    command = [str(stage), "--model", str(tmp_path / "deep"), "--data", str(data.path), "--out", str(out)]
    done = on_a_full_disk(1, *command)
    assert done.returncode == 1, done.stderr
    assert "stage1_dump_hidden_states.py: error: " in done.stderr and "Traceback" not in done.stderr
    assert not (out / "hidden.ark").exists() and not (out / "record.json").exists()
    assert subprocess.run([sys.executable, *command], capture_output=True).returncode == 0
    dump(make_model(), data, tmp_path / "undisturbed")
    assert (out / "hidden.ark").read_bytes() == (tmp_path / "undisturbed" / "hidden.ark").read_bytes()
    assert not list(out.rglob(".tmp-*"))


def test_audio_on_a_full_disk_ends_in_one_line(tmp_path, make_data, monkeypatch):
    """libsndfile does not say that the disk is full."""
    data, out, root = make_data(1), tmp_path / "noisy", Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{root / 'local'}")
    done = on_a_full_disk(8, root / "utils" / "add_noise.py", "--data", data.path, "--snr", "10", "--out", out)
    assert done.returncode == 1 and f"error: {out}_audio cannot be written: System error; nothing half-written" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.glob("*noisy*"))


def test_a_place_that_cannot_be_written_is_named(tmp_path, make_data):
    (tmp_path / "exp").write_text("a file where a directory should be")
    for write in (lambda path: write_json(path, 1), lambda path: write_data_dir(path, make_data(2).utterances)):
        with pytest.raises(ComflpError, match="exp/.* cannot be written: "):
            write(tmp_path / "exp" / "result")


def test_the_output_directory_is_removed_while_a_file_is_written(tmp_path):
    directory = tmp_path / "exp"
    with pytest.raises(ComflpError, match="exp/result cannot be written"):
        with atomic_path(directory / "result") as temporary:
            temporary.write_text("x")
            shutil.rmtree(directory)
    assert not directory.exists()
    with pytest.raises(ComflpError, match="exp/result cannot be written"):
        with atomic_directory(directory / "result") as temporary:
            (temporary / "x").touch()
            shutil.rmtree(directory)


def test_an_error_of_another_file_is_not_taken_for_one_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError):
        with atomic_path(tmp_path / "out" / "result"):
            open(tmp_path / "input")


def test_a_failing_disk_is_named_whichever_file_it_is(tmp_path):
    with pytest.raises(ComflpError, match="result cannot be written: "):
        with atomic_path(tmp_path / "result"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def finished(tmp_path):
    """A stage that has made its output."""
    stage = Stage(tmp_path / "record.json", "stage", {"n": 1}, {"data": "abc"})
    write_text(tmp_path / "output", "result")
    stage.finish([tmp_path / "output"])
    return Stage(tmp_path / "record.json", "stage", {"n": 1}, {"data": "abc"})


def test_artifacts_without_their_record_are_made_again(tmp_path):
    stage = finished(tmp_path)
    assert stage.up_to_date()
    (tmp_path / "record.json").unlink()
    assert not stage.up_to_date()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("resulT"), lambda path: path.write_text("")])
def test_an_output_that_is_lost_or_damaged_is_made_again(tmp_path, damage):
    stage = finished(tmp_path)
    damage(tmp_path / "output")
    assert not stage.up_to_date()


def test_what_changed_within_an_option_is_named(tmp_path):
    search = {"decoder": "beam", "beam_size": 50, "lm": None}
    stage = Stage(tmp_path / "record.json", "stage", {"search": search, "kind": "a"}, {})
    stage.finish([])
    with pytest.raises(ComflpError, match=r"made otherwise .search.beam_size: 50 before, 10 now; search.lm: null before, \"lm.arpa\" now.;"):
        Stage(tmp_path / "record.json", "stage", {"search": {**search, "beam_size": 10, "lm": "lm.arpa"}, "kind": "a"}, {}).up_to_date()
    with pytest.raises(ComflpError, match=r"made otherwise .search: {\"decoder.* before, null now.;"):
        Stage(tmp_path / "record.json", "stage", {"search": None, "kind": "a"}, {}).up_to_date()


def test_unfinished_work_is_gone_on_with_by_the_same_stage_only(tmp_path):
    """Or a checkpoint of one proposal would become the start of another."""
    for _ in range(2):
        Stage(tmp_path / "record.json", "stage", {"n": 1}, {"data": "abc"}).begin(tmp_path / "work")
    for options, inputs, message in (({"n": 2}, {"data": "abc"}, "n: 1 before, 2 now"), ({"n": 1}, {"data": "x"}, "data: ")):
        with pytest.raises(ComflpError, match=f"work holds unfinished work of stage made otherwise .{message}"):
            Stage(tmp_path / "record.json", "stage", options, inputs).begin(tmp_path / "work")


def test_a_full_disk_inside_another_library_is_one_error_and_leaves_no_checkpoint(tmp_path):
    code = ("import sys, torch; from comflp.train.checkpoints import AtomicCheckpointer; "
            "AtomicCheckpointer(sys.argv[1], {'model': torch.nn.Linear(300, 300)}).save_checkpoint({'epoch': 1, 'step': 3})")
    done = on_a_full_disk(40, "-c", code, tmp_path / "save")
    assert done.returncode == 1 and f"ComflpError: {tmp_path}/save/epoch0001 cannot be written: " in done.stderr
    assert list((tmp_path / "save").iterdir()) == []


def test_clocks_decide_nothing(tmp_path):
    """Files from the future, and a record from the past: what counts is content."""
    stage = finished(tmp_path)
    os.utime(tmp_path / "output", (4e9, 4e9))
    record = json.loads((tmp_path / "record.json").read_text())
    record.update(finished="1970-01-01T00:00:00+00:00", seconds=-5.0)
    (tmp_path / "record.json").write_text(json.dumps(record))
    os.utime(tmp_path / "record.json", (0, 0))
    assert stage.up_to_date()


def test_a_clock_that_goes_backwards_does_not_change_a_result(tmp_path, make_model, make_data, monkeypatch):
    data = make_data(6)
    dump(make_model(), data, tmp_path / "forwards")
    ticks = iter(np.arange(1e9, 0, -1e5))
    monkeypatch.setattr("time.time", lambda: next(ticks))
    dump(make_model(), data, tmp_path / "backwards")
    for name in ("hidden.ark", "frame_cosine.npy"):
        assert (tmp_path / "forwards" / name).read_bytes() == (tmp_path / "backwards" / name).read_bytes()


def test_training_removes_what_a_killed_save_left(tmp_path):
    """Also when the kill came after the last checkpoint's rename, so that nothing is saved any more."""
    model = torch.nn.Linear(2, 2)
    AtomicCheckpointer(tmp_path, {"model": model}).save_checkpoint({"epoch": 1, "step": 3}, verbosity=logging.DEBUG)
    (tmp_path / ".tmp-saving" / "CKPT+epoch0002").mkdir(parents=True)
    recovered = AtomicCheckpointer(tmp_path, {"model": model}).recover_latest("cpu")
    assert recovered.meta["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [recovered.path.name]


def test_a_forced_run_that_was_killed_goes_on(tmp_path):
    """A job with a time limit is started again by the same command, and has to come to an end."""
    finished(tmp_path)
    work = tmp_path / "work"

    def begin(force=True, n=1):
        Stage(tmp_path / "record.json", "stage", {"n": n}, {"data": "abc"}, force=force).begin(work)
        kept = (work / "checkpoint").exists()
        (work / "checkpoint").touch()
        return kept

    assert not begin(n=2) and begin(n=2) and begin(n=2, force=False), "the first one begins anew, and the next ones go on"
    assert not begin(n=3), "other options are another work"
    stage = Stage(tmp_path / "record.json", "stage", {"n": 3}, {"data": "abc"}, force=True)
    stage.finish([tmp_path / "output"])
    assert not begin(n=3), "what is finished is made again"


def test_an_unfinished_run_begins_anew_with_force(tmp_path):
    Stage(tmp_path / "record.json", "stage", {}, {}).begin(tmp_path / "work")
    (tmp_path / "work" / "checkpoint").touch()
    Stage(tmp_path / "record.json", "stage", {}, {}, force=True).begin(tmp_path / "work")
    assert not (tmp_path / "work" / "checkpoint").exists()
