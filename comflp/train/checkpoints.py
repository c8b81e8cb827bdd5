"""Training checkpoints that appear whole, in the order of training and not of the clock; and their average."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

import torch
from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer, average_checkpoints
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from comflp.artifacts import check_file, disk_faults_of
from comflp.errors import ComflpError

_TEMPORARY = ".tmp-saving"


def training_order(checkpoint: Checkpoint) -> tuple[int, int]:
    """Sort key: (epoch, step) of a checkpoint; the end of an epoch counts as its last step."""
    meta = checkpoint.meta
    return meta["epoch"], (1 << 62) if meta["end-of-epoch"] else meta["step"]


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, saving beside and renaming.

    SpeechBrain writes a checkpoint's meta file before its parameters and takes
    the meta file for a sign of wholeness; here a killed save leaves only a
    directory that is never listed, and the previous checkpoint.
    ``meta`` of every save must hold ``epoch`` and ``step``.

    check_own: called in the main process before a save begins and before it gets its name; what it raises ends the save.
    """

    def __init__(self, directory: Path, recoverables: Mapping[str, Any], check_own: Callable[[], None] = lambda: None):
        super().__init__(directory, recoverables)
        self.check_own = check_own

    def save_checkpoint(self, meta={}, end_of_epoch=True, name=None, verbosity=logging.INFO):
        """Save all recoverables; returns the Checkpoint at its final place (None off the main process)."""
        final_directory = self.checkpoints_dir
        temporary = final_directory / _TEMPORARY
        if if_main_process():
            self.check_own()
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        name = name or f"epoch{meta['epoch']:04d}" + ("" if end_of_epoch else f"-step{meta['step']:06d}")
        self.checkpoints_dir = temporary
        try:
            with disk_faults_of(final_directory / name):
                saved = super().save_checkpoint(meta, end_of_epoch, name, verbosity)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        finally:
            self.checkpoints_dir = final_directory
        renamed = self._rename(saved, final_directory) if saved is not None else None
        ddp_barrier()  # all processes find the same checkpoints from here on, whoever comes first
        return renamed

    def _rename(self, saved: Checkpoint, final_directory: Path) -> Checkpoint:
        for file in saved.path.iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        self.check_own()
        target = final_directory / saved.path.name
        shutil.rmtree(target, ignore_errors=True)
        os.replace(saved.path, target)
        saved.path.parent.rmdir()
        return Checkpoint(target, saved.meta, {key: target / path.name for key, path in saved.paramfiles.items()})

    def recover_latest(self, device) -> Checkpoint | None:
        """Load the checkpoint furthest in training, if there is any, and remove what a killed save left.

        A checkpoint that is damaged is removed; the ComflpError says so, and the next run goes on from the one before.
        """
        if if_main_process():
            shutil.rmtree(self.checkpoints_dir / _TEMPORARY, ignore_errors=True)
        latest = self.find_checkpoint(importance_key=training_order)
        try:
            if latest is not None:
                self.load_checkpoint(latest)
        except Exception as error:  # torch and the recoverables raise anything
            raise _removed(latest.path, error) from error
        return latest

    @staticmethod
    def _construct_checkpoint_objects(checkpoint_dirs: Iterable[Path]) -> list[Checkpoint]:
        """SpeechBrain's, which reads what each checkpoint says of itself."""
        found = []
        for directory in checkpoint_dirs:
            try:
                for path in directory.iterdir():
                    check_file(path)
                if not (directory / METAFNAME).read_bytes().endswith(b"\n"):
                    raise EOFError(f"{METAFNAME} ends within a line")
                (checkpoint,) = Checkpointer._construct_checkpoint_objects([directory])
                training_order(checkpoint)
                checkpoint.meta["unixtime"]  # SpeechBrain's, and the last key: where it is there, so are all others
            except Exception as error:  # the YAML reader raises anything
                raise _removed(directory, error) from error
            found.append(checkpoint)
        return found


def _removed(directory: Path, error: Exception) -> ComflpError:
    if if_main_process():
        shutil.rmtree(directory, ignore_errors=True)
    return ComflpError(
        f"the checkpoint {directory} was damaged and has been removed; run the same command again to go on without it "
        f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    )


def average_best(checkpointer: Checkpointer, count: int) -> tuple[dict, list[Checkpoint]]:
    """Uniform mean of the weights of the ``count`` end-of-epoch checkpoints of lowest error rate, the later of equal ones first.

    Returns the averaged state dict of the recoverable ``model`` and the checkpoints that entered, best first.
    """
    best = checkpointer.find_checkpoints(
        importance_key=lambda checkpoint: (-checkpoint.meta["error_rate"], checkpoint.meta["epoch"]),
        max_num_checkpoints=count,
        ckpt_predicate=lambda checkpoint: checkpoint.meta["end-of-epoch"],
    )
    return average_checkpoints(best, "model", parameter_loader=_load_weights, averager=_mean), best


def _mean(state_dicts: Iterable[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each tensor of floats; any other is the first's.

    Nothing is added in place: a weight that a model uses twice is one tensor in a checkpoint, and would be added to twice.
    """
    total: dict[str, torch.Tensor] = {}
    number = 0
    for weights in state_dicts:
        total = {name: total[name] + value if total and value.is_floating_point() else total.get(name, value) for name, value in weights.items()}
        number += 1
    return {name: value / number if value.is_floating_point() else value for name, value in total.items()}


def _load_weights(path, map_location):
    return torch.load(path, map_location=map_location, weights_only=True)
