"""A training that is killed, whose checkpoint is damaged or cannot be written, or that another run has taken over."""

import functools
import os
import shutil
from pathlib import Path

import pytest
import torch

from comflp.errors import ComflpError
from comflp.record import Stage
from comflp.train.checkpoints import AtomicCheckpointer
from comflp.train.fit import fit
from fixtures.training import DiesAtCall, hparams, losses, train


@pytest.mark.parametrize("call, share", [(1, 1.0), (6, 1.0), (9, 1.0), (12, 1.0), (6, 0.2)])
def test_interrupted_training_goes_on_as_if_it_had_not_been(make_model, make_data, tmp_path, call, share):
    data = make_data()
    every_step = {"ckpt_interval_steps": 1}
    whole = train(make_model(), data, tmp_path / "whole", every_step, augmentation=DiesAtCall(0, share))
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), data, tmp_path / "killed", every_step, augmentation=DiesAtCall(call, share))
    resumed = train(make_model(seed=99), data, tmp_path / "killed", every_step, augmentation=DiesAtCall(0, share))
    if call == 1:  # killed before anything was saved: starts over, from the weights that it is given
        assert len(resumed.log) == len(whole.log)
        return
    assert losses(resumed) == losses(whole)
    assert all(row["too_short"] > 0 for row in whole.log) == (share < 1)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("moment", ["in an epoch", "before a checkpoint"])
def test_training_ends_where_another_process_has_begun_its_work(make_model, make_data, tmp_path, moment):
    """A process that outlived its run leaves nothing among the work of the run that came after it."""
    data, work = make_data(), tmp_path / "train"
    outlived, second = (Stage(tmp_path / "record.json", "stage5_finetune", {"lr": lr}, {}) for lr in (1, 2))
    outlived.begin(work)

    def begin_second(*given):
        shutil.rmtree(work, ignore_errors=True)
        second.begin(work)
        return given

    how = {"augmentation": begin_second} if moment == "in an epoch" else {}
    with pytest.raises(ComflpError, match=f"no longer the work of this process: process {os.getpid()} on .* has begun it since"):
        fit(make_model(), data, data, work, hparams(**how), run_opts={"noprogressbar": True},
            report=begin_second, check_own=functools.partial(outlived.check_own, work))
    assert [file.name for file in work.rglob("*") if file.is_file()] == ["started.json"]
    second.check_own(work)


def test_accumulated_gradients_resume_at_a_whole_step(make_model, make_data, tmp_path):
    data = make_data()
    options = {"grad_accumulation_factor": 2, "ckpt_interval_steps": 1}
    changes = {"grad_accumulation_factor": 2}
    whole = train(make_model(), data, tmp_path / "whole", options, augmentation=DiesAtCall(0), **changes)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), data, tmp_path / "killed", options, augmentation=DiesAtCall(8), **changes)
    resumed = train(make_model(seed=5), data, tmp_path / "killed", options, augmentation=DiesAtCall(0), **changes)
    assert losses(resumed) == losses(whole)


def test_a_failed_save_leaves_the_previous_checkpoint(make_model, tmp_path):
    class Full:
        def __deepcopy__(self, memo):
            return self

    def no_space(obj, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    saver = AtomicCheckpointer(tmp_path, {"model": make_model(1)})
    saver.save_checkpoint(meta={"epoch": 1, "step": 1, "error_rate": 1.0})
    saver.add_recoverable("full", Full(), custom_save_hook=no_space, custom_load_hook=lambda *a: None)
    with pytest.raises(ComflpError, match="epoch0002 cannot be written: No space left on device; nothing half-written is left"):
        saver.save_checkpoint(meta={"epoch": 2, "step": 2, "error_rate": 1.0})
    assert [checkpoint.meta["epoch"] for checkpoint in saver.list_checkpoints()] == [1]


@pytest.mark.parametrize("name", ["CKPT.yaml", "model.ckpt", "optimizer.ckpt"])
def test_a_damaged_checkpoint_is_removed_and_the_next_run_goes_on_from_the_one_before(make_model, make_data, tmp_path, name):
    data = make_data(4)
    whole = train(make_model(), data, tmp_path / "out", average=2)
    path = tmp_path / "out" / "save" / "CKPT+epoch0003" / name
    path.write_bytes(path.read_bytes()[:20] + b"\0[")
    with pytest.raises(ComflpError, match="epoch0003 was damaged and has been removed; run the same command again"):
        train(make_model(), data, tmp_path / "out", average=2)
    again = train(make_model(seed=5), data, tmp_path / "out", average=2)
    assert losses(again) == losses(whole)


def test_what_a_checkpoint_says_of_itself_is_cut_off_anywhere(make_model, tmp_path):
    saver = AtomicCheckpointer(tmp_path, {"model": make_model(1)})
    meta = saver.save_checkpoint(meta={"epoch": 12, "step": 345, "error_rate": 1.0, "log": ["one"]}).path / "CKPT.yaml"
    content = meta.read_bytes()
    assert len(saver.list_checkpoints()) == 1
    for length in range(len(content)):
        meta.parent.mkdir(exist_ok=True)
        meta.write_bytes(content[:length])
        with pytest.raises(ComflpError, match="epoch0012 was damaged and has been removed"):
            saver.list_checkpoints()
