"""The deep model of an experiment: its layers as its record says them, and the model, which is loaded when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from comflp.artifacts import fingerprint_model, read_json, require
from comflp.stacks import Stacks, depths_of, from_json

if TYPE_CHECKING:  # torch takes seconds to import, and a stage that is done runs no model
    from comflp.models.layered import LayeredModel


def load(path: Path, trust_hyperparams: bool) -> LayeredModel:
    """The model of a directory, in evaluation mode."""
    import comflp.models

    return comflp.models.load(path, trust_hyperparams=trust_hyperparams)


class DeepModel:
    """directory: the model's directory. load: gives the model of a directory. device: where that runs, as ``--device`` says it."""

    def __init__(self, directory: Path, load: Callable[[Path], LayeredModel], device: str | None):
        self.directory, self._load, self.device = require(directory, "stage 0 (deep model)"), load, device

    @cached_property
    def fingerprint(self) -> str:
        """Of the model's files, for records."""
        return fingerprint_model(self.directory)

    @cached_property
    def model(self) -> LayeredModel:
        """The model itself."""
        return self._load(self.directory)

    @cached_property
    def stacks(self) -> Stacks:
        """The layers of each stack; those of the model itself where no record speaks of the files that are there."""
        record = self.directory / "record.json"
        known = read_json(record) if record.exists() else {}
        if "stacks" in known and known["outputs"]["."]["sha256"] == self.fingerprint:
            return from_json(known["stacks"])
        return self.model.stacks

    @property
    def num_layers(self) -> dict[str, int]:
        """Name of a stack -> L."""
        return depths_of(self.stacks)
