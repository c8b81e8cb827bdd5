"""What the stages that train have in common: their data, how a training begins, goes on, and tells of itself."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hparams
import option_types
from cli import scoring_options

from comflp.artifacts import write_text
from comflp.data.data_dir import DataDir
from comflp.locks import locked
from comflp.processes import Ranks
from comflp.record import STARTED, Stage
from comflp.replacing import MODEL, check_replaceable

if TYPE_CHECKING:  # what trains imports torch and SpeechBrain, which take seconds; a model that is there needs neither
    from comflp.models.layered import LayeredModel
    from comflp.train.fit import FitResult


def training_options(arguments, train=None, dev=None) -> None:
    """The configuration, the data and what is scored. train, dev: data directories where none is given; None: one has to be."""
    arguments.add_argument("config", type=option_types.file, help="HyperPyYAML file; any of its keys may follow as --key value")
    arguments.add_argument("--train", type=option_types.path, default=train, required=train is None, help="data directory to train on")
    arguments.add_argument("--dev", type=option_types.path, default=dev, required=dev is None, help="data directory that the best epochs are chosen by")
    scoring_options(arguments, "error rate on the dev set")
    arguments.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")


@dataclass(frozen=True)
class Training:
    """A training by a configuration. stage: its record lies in the directory of the trained model. directory: where the checkpoints lie,
    whose lock ``held`` gets."""

    stage: Stage
    directory: Path
    configuration: hparams.Configuration
    metric: str
    normaliser: str
    allow_pipes: bool
    ranks: Ranks
    held: contextlib.ExitStack

    def begin(self) -> int | None:
        """How many epochs a finished training has that this one adds to; None where the model is there already.

        What a training left that ended before its first checkpoint is removed, whatever it was asked to be: nothing goes on from it.
        """
        self.held.enter_context(locked(self.directory))
        model = self.stage.record.parent
        extended = self.stage.record_to_extend("number_of_epochs")
        if extended is None and self.stage.up_to_date():
            print(f"{model} is up to date")
            return None
        check_replaceable(model, MODEL, self.stage.force)
        self.configuration.check()
        if extended is None and (self.directory / STARTED).exists() and not any(self.directory.glob("save/CKPT+*")):
            shutil.rmtree(self.directory)
        self.stage.begin(self.directory, extended)
        write_text(self.directory / "hyperparams.yaml", self.configuration.resolved)
        return len(extended["epochs"]) if extended else 0

    def fit(self, model: LayeredModel, train: DataDir, dev: DataDir, extends: int, **more) -> FitResult:
        """Train, and say what happens. extends: what :meth:`begin` found. more: arguments of :func:`comflp.train.fit.fit`."""
        from training_log import EpochReport

        from comflp.train.fit import batch_limits, fit

        values, report = self.configuration.values, EpochReport(self.directory / "tensorboard", self.metric)
        check_own = partial(self.stage.check_own, self.directory)
        if self.ranks.is_main:
            report.says_step(batch_limits(values), self.ranks.size, values["grad_accumulation_factor"])
        fitted = fit(
            model, train, dev, self.directory, values, self.metric, self.normaliser,
            run_opts=self.configuration.run_opts,
            report=report,
            goes_on=report.goes_on,
            check_own=check_own,
            allow_pipes=self.allow_pipes,
            extends=extends,
            **more,
        )
        if self.ranks.is_main:
            check_own()
        return fitted
