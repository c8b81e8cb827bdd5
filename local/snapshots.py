"""The correlation matrices of a model in training, after the epochs that snapshot_epochs names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from comflp.artifacts import atomic_path
from comflp.data.data_dir import DataDir, subset
from comflp.errors import ComflpError
from comflp.experiment import snapshot
from comflp.measures import correlation_matrix

if TYPE_CHECKING:
    from comflp.models.layered import LayeredModel


def snapshots_of(
    training: Path, probe: DataDir, settings: Mapping[str, Any], num_stacks: int, allow_pipes: bool
) -> Callable[[LayeredModel, int], None]:
    """What takes a snapshot of a model after an epoch, on utterances of ``probe``, into ``training``/snapshots.

    Raises ComflpError where snapshots are wanted of a model of several stacks.
    """
    if num_stacks > 1 and settings["snapshot_epochs"]:
        raise ComflpError(f"snapshot_epochs {settings['snapshot_epochs']}: snapshots are of models of one stack, this has {num_stacks}; write []")

    def take(model: LayeredModel, epoch: int) -> None:
        from comflp.inference.hidden_states import collect

        pictured = subset(probe, min(settings["snapshot_utterances"], len(probe)), settings["seed"])
        matrix = correlation_matrix(collect(model, pictured, allow_pipes=allow_pipes), measure=settings["snapshot_measure"], seed=settings["seed"])
        with atomic_path(snapshot(training, settings["snapshot_measure"], epoch)) as temporary, open(temporary, "wb") as file:
            np.save(file, matrix)

    return take
