#!/usr/bin/env python3
"""Stage 5: remove a proposal's layers from the deep model and fine-tune what is left.

Usage as SpeechBrain's recipes: stage5_finetune.py [options] conf/finetune.yaml [--key value ...]

Models lie under the layers that they lack, so proposals of the same layers share them.
"""

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import hparams
import numpy as np
import option_types
from cli import parser, run, scoring_options
from training_log import EpochReport, left_out

import comflp.models
from comflp.artifacts import atomic_path, fingerprint_model, require, write_text
from comflp.data.data_dir import DataDir, read_data_dir, subset
from comflp.errors import ComflpError
from comflp.experiment import Layout, NamedFiles, Result, counts_of, read_proposal, snapshot, write_proposal
from comflp.inference.hidden_states import collect
from comflp.measures import correlation_matrix
from comflp.models.layered import LayeredModel
from comflp.models.verify import verify_saved
from comflp.processes import Ranks, processes, training_backend
from comflp.proposal import PruningProposal
from comflp.record import Stage
from comflp.result_names import FineTuned, ProposalName, Pruned, Scratch
from comflp.target import layer_counts
from comflp.train.distillation import KINDS, Distillation
from comflp.train.fit import FitResult, batch_limits, fit


def parse_options():
    """(options, the configuration that they name)"""
    arguments = parser(__doc__)
    arguments.add_argument("config", type=option_types.file, help="HyperPyYAML file; any of its keys may follow as --key value")
    arguments.add_argument("--exp", type=option_types.path, required=True, help="experiment directory of the deep model")
    arguments.add_argument("--num-prune", required=True, help="N, number of layers to remove")
    arguments.add_argument(
        "--proposal",
        type=option_types.some_name,
        required=True,
        help="a name under prune<N> (dc_fine, svcca_coarse, glp, top, ...), layers such as 1,3-4,7, scratch "
        "(same depth, all weights random) or scratch_frontend (random layers and head under the deep front end)",
    )
    arguments.add_argument("--train", type=option_types.path, default="data/train", help="data directory to train on")
    arguments.add_argument("--dev", type=option_types.path, default="data/dev", help="data directory that the best epochs are chosen by")
    arguments.add_argument("--probe", type=option_types.path, default="data/probe", help="data directory for correlation snapshots")
    scoring_options(arguments, "error rate on the dev set")
    arguments.add_argument("--distill", choices=KINDS, default="none", help="also learn from the deep model")
    arguments.add_argument("--tag", type=option_types.name, default="", help="appended to the directory's name, to keep several trainings")
    arguments.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    arguments.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    options, overrides = arguments.parse_known_args()
    return options, hparams.load(str(options.config), overrides)


def main():
    options, configuration = parse_options()
    with processes(training_backend()) as ranks:
        layout = Layout(options.exp)
        layout.refuse_earlier_versions()
        deep = comflp.models.load(require(layout.deep, "stage 0 (deep model)"), trust_hyperparams=options.trust_hyperparams)
        read = partial(read_data_dir, allow_pipes=options.allow_pipes)
        job = Job(
            chosen=choose(layout, options.num_prune, options.proposal, deep.num_layers),
            state=FineTuned(distill=options.distill, tag=options.tag),
            deep=deep,
            fingerprint=fingerprint_model(layout.deep),
            configuration=configuration,
            train=read(options.train),
            dev=read(options.dev),
            probe=read(options.probe),
            metric=options.metric,
            normaliser=options.normaliser,
            allow_pipes=options.allow_pipes,
            force=options.force,
            ranks=ranks,
        )
        job.prune()
        job.finetune()


@dataclass(frozen=True)
class Chosen:
    """What ``--proposal`` names. result: where it goes. named: the named proposal that points to it, None where none does."""

    text: str
    result: Result
    named: NamedFiles | None

    @property
    def description(self) -> str:
        """For model cards."""
        start = self.result.start
        return str(start) if isinstance(start, Scratch) else f"{self.text}, layers {start} removed" if self.named else f"layers {start} removed"


def choose(layout: Layout, num_prune: str, text: str, num_layers: int) -> Chosen:
    """What ``--proposal`` names: a proposal that stage 4 left, typed layers, or random weights."""
    counts, *more = layer_counts(num_prune, num_layers)
    if more:
        raise ComflpError(f"--num-prune {num_prune}: stage 5 prunes once; give one number of layers")
    if scratch := Scratch.parse(text, counts):
        return Chosen(text, layout.result(scratch), None)
    if re.fullmatch(r"[\d,-]+|.*=.*", text):
        proposal = PruningProposal.parse(text, num_layers=num_layers)
        if counts_of(proposal) != counts:
            raise ComflpError(f"--proposal {text} removes {proposal.num_removed} layers, --num-prune is {num_prune}")
        return Chosen(text, layout.result(proposal), None)
    named = layout.named(counts, ProposalName.parse(text))
    return Chosen(text, layout.result(read_proposal(require(named.proposal, "stage 4 (fine search)"))), named)


@dataclass(frozen=True)
class Job:
    """One proposal, pruned and fine-tuned."""

    chosen: Chosen
    state: FineTuned
    deep: LayeredModel
    fingerprint: str
    configuration: hparams.Configuration
    train: DataDir
    dev: DataDir
    probe: DataDir
    metric: str
    normaliser: str
    allow_pipes: bool
    force: bool
    ranks: Ranks

    @property
    def proposal(self) -> PruningProposal:
        """The layers that the student lacks; of random weights the last ones stand for any."""
        start = self.chosen.result.start
        if isinstance(start, Scratch):
            num_layers = self.deep.num_layers
            return PruningProposal.from_layers(range(num_layers - start.counts.total + 1, num_layers + 1), num_layers)
        return start

    @cached_property
    def student(self) -> LayeredModel:
        """The model that is trained, as it is before."""
        model, start = self.deep.prune(self.proposal), self.chosen.result.start
        if isinstance(start, Scratch):
            model.reinitialize(self.configuration.values["seed"], keep_frontend=start.keep_frontend)
        return model

    def stage(self, record: Path, name: str, options: dict, inputs: dict) -> Stage:
        """A stage of this job, after a look whether the search that chose the layers had the same deep model."""
        stage = Stage(record, name, options, {"model": self.fingerprint, **inputs}, force=self.force)
        stage.agree([self.chosen.named.record] if self.chosen.named else [])
        return stage

    def link(self, *directories: Path) -> None:
        """Let the proposal's name point to what is there of its layers."""
        for directory in directories if self.chosen.named else ():
            self.chosen.named.link(directory)

    def prune(self) -> None:
        """The pruned model's directory. Of random weights there is none: nothing was pruned."""
        result = self.chosen.result
        if isinstance(result.start, Scratch):
            return
        out = result.model(Pruned())
        stage = self.stage(out / "record.json", "stage5_prune", {"proposal": str(result.start)}, {})

        def make() -> None:
            if not stage.up_to_date():
                self.student.save(out)
                verify_saved(self.student, out)
                write_proposal(result.proposal, result.start)
                stage.finish([out])
            self.link(out)

        self.ranks.decide(make)

    def finetune(self) -> None:
        """The fine-tuned model's directory."""
        result, values = self.chosen.result, self.configuration.values
        out, training = result.model(self.state), result.training(self.state)
        stage = self.stage(
            out / "record.json",
            "stage5_finetune",
            {
                **self.configuration.options(),
                "start": str(result.start),
                "distill": self.state.distill,
                "metric": self.metric,
                "normaliser": self.normaliser,
                "processes": self.ranks.size,
            },
            {"training data": self.train.fingerprint(), "dev data": self.dev.fingerprint()},
        )

        def begin() -> bool:
            """Whether the model is there already."""
            done = stage.up_to_date()
            if done:
                print(f"{out} is up to date")
            else:
                if self.force:
                    shutil.rmtree(training, ignore_errors=True)
                stage.begin(training)
                write_text(training / "hyperparams.yaml", self.configuration.resolved)
            self.link(training, *([out] if done else []))
            return done

        if self.ranks.decide(begin):
            return
        report = EpochReport(training / "tensorboard", self.metric)
        if self.ranks.is_main:
            report.says_step(batch_limits(values), self.ranks.size, values["grad_accumulation_factor"])
        fitted = fit(
            self.student,
            self.train,
            self.dev,
            training,
            values,
            self.metric,
            self.normaliser,
            distillation=Distillation.of_kind(
                self.state.distill,
                self.deep,
                self.proposal.kept,
                ctc_weight=values["distill_ctc_weight"],
                hidden_weight=values["distill_hidden_weight"],
                temperature=values["distill_temperature"],
            ),
            take_snapshot=partial(self.take_snapshot, training),
            run_opts=self.configuration.run_opts,
            report=report,
            goes_on=report.goes_on,
            allow_pipes=self.allow_pipes,
        )
        if self.ranks.is_main:
            self.save(fitted, out, stage)
            self.link(out)

    def take_snapshot(self, training: Path, model: LayeredModel, epoch: int) -> None:
        """The correlation matrix of the model in training, on utterances of the probe set."""
        values = self.configuration.values
        pictured = subset(self.probe, min(values["snapshot_utterances"], len(self.probe)), values["seed"])
        hidden = collect(model, pictured, allow_pipes=self.allow_pipes)
        matrix = correlation_matrix(hidden, measure=values["snapshot_measure"], seed=values["seed"])
        with atomic_path(snapshot(training, values["snapshot_measure"], epoch)) as temporary, open(temporary, "wb") as file:
            np.save(file, matrix)

    def save(self, fitted: FitResult, out: Path, stage: Stage) -> None:
        """The fine-tuned model, with what its card tells, and the record."""
        facts = {
            "metric": self.metric,
            "normaliser": self.normaliser,
            "error_rate_before": fitted.error_rate_before,
            "error_rate": fitted.error_rate,
            "data": f"trained on {self.train.path} ({len(self.train):,} utterances), error rates on {self.dev.path}",
            "distillation": None if self.state.distill == "none" else self.state.distill,
            "seed": self.configuration.values["seed"],
        }
        model, command = fitted.model, f"python {shlex.join(sys.argv)}"
        model.origin = {**model.origin, "training": {"start": self.chosen.description, **facts, "command": command}}
        model.save(out)
        verify_saved(model, out)
        stage.finish(
            [out], facts=facts, epochs=fitted.log, averaged_epochs=fitted.averaged_epochs, skipped_utterances=fitted.skipped
        )
        print(f"wrote {out}: {model.num_layers} of {self.deep.num_layers} layers ({self.chosen.description}), "
              f"dev {self.metric.upper()} {fitted.error_rate_before:.2f}% before and {fitted.error_rate:.2f}% after, "
              f"epochs averaged: {fitted.averaged_epochs}{left_out(fitted.skipped, len(self.train))}")


run(main)
