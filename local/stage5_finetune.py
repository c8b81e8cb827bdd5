#!/usr/bin/env python3
"""Stage 5: remove a proposal's layers from the deep model, repair what is left, and fine-tune it, for no epochs or several.

Usage as SpeechBrain's recipes: stage5_finetune.py [options] conf/finetune.yaml [--key value ...]

Models lie under the layers that they lack, so proposals of the same layers share them.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import hparams
import option_types
from chosen_proposal import ANEW, DEEP, Chosen, choose
from cli import parser, progress, run
from deep_model import DeepModel, load
from inference_options import on_own_hypotheses
from snapshots import snapshots_of
from training import Training, training_options
from wanted import wanted_counts, wanted_options

from comflp.artifacts import fingerprint_model
from comflp.data.data_dir import DataDir, read_data_dir
from comflp.errors import ComflpError
from comflp.experiment import Layout, write_proposal
from comflp.inference.speech import Speech
from comflp.locks import locked
from comflp.processes import Ranks, processes
from comflp.proposal import Proposal
from comflp.record import Stage
from comflp.result_names import FineTuned, Pruned, Repaired, Scratch
from comflp.search.baselines.baseline import fixed
from comflp.train import DISTILLATIONS

if TYPE_CHECKING:  # what makes models imports torch, which takes seconds, and is imported where something is to be made
    from comflp.models.layered import LayeredModel
    from comflp.train.fit import FitResult


def parse_options():
    """(options, the configuration that they name)"""
    arguments = parser(__doc__, trains=True)
    training_options(arguments, "data/train", "data/dev")
    arguments.add_argument("--exp", type=option_types.path, required=True, help="experiment directory of the deep model")
    wanted_options(arguments)
    arguments.add_argument(
        "--proposal", type=option_types.some_name, required=True,
        help="a name under prune<N> (dc_fine, svcca_coarse, glp, top, ...), layers such as 1,3-4,7, scratch (same depth, all weights "
        "random), scratch_frontend (random layers and head under the deep front end) or deep (all layers, to compare with)",
    )
    arguments.add_argument("--probe", type=option_types.path, default="data/probe", help="data directory for repair and snapshots")
    arguments.add_argument("--repair", type=option_types.count, default=0, metavar="N",
                           help="utterances of --probe that the pruned model is repaired with before training; 0: it is not")
    arguments.add_argument("--distill", choices=DISTILLATIONS, default="none", help="also learn from the deep model; only: from it alone, without texts")
    arguments.add_argument("--tag", type=option_types.name, default="", help="appended to the directory's name, to keep several trainings")
    arguments.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    options, overrides = arguments.parse_known_args()
    as_repaired = options.repair > 0 and options.proposal not in ANEW  # the deep model is trained as the others are
    configuration = hparams.load(str(options.config), overrides, variant="after_repair" if as_repaired else None)
    if options.distill == "only" and not configuration.settings["distill_ctc_weight"]:
        raise ComflpError("--distill only learns from the deep model's posteriors alone, whose weight is 0; make distill_ctc_weight larger")
    return options, configuration


def load_on(device: str | None, path: Path, trust_hyperparams: bool) -> LayeredModel:
    """The model of a directory on the device that trains, which repairs and recognises too."""
    from comflp.inference.device import placed

    return placed(load(path, trust_hyperparams), device)


def repairs(options) -> bool:
    """Whether the model is repaired before training; there is nothing to repair in random weights or in the deep model."""
    return options.repair > 0 and options.proposal not in (*ANEW, DEEP)


def main():
    options, configuration = parse_options()
    with processes(training=True) as ranks, contextlib.ExitStack() as held:
        layout = Layout(options.exp)
        layout.refuse_copies()
        device = configuration.run_opts.get("device")
        deep = DeepModel(layout.deep, partial(load_on, device, trust_hyperparams=options.trust_hyperparams), device)
        read = partial(read_data_dir, allow_pipes=options.allow_pipes)
        trains = configuration.settings["number_of_epochs"] > 0
        wanted = wanted_counts(options, deep.num_layers, lambda: deep, ranks)
        if options.target is None and len(wanted) > 1:
            raise ComflpError(f"--num-prune {options.num_prune} is {len(wanted)} numbers of layers ({', '.join(map(str, wanted))}); give one at a time")
        job = Job(
            chosen=choose(layout, wanted, options.proposal, deep.num_layers),
            state=FineTuned(repaired=repairs(options), distill=options.distill, tag=options.tag),
            deep=deep,
            configuration=configuration,
            train=read(options.train, require_text=trains and options.distill != "only"),
            dev=read(options.dev, require_text=trains),
            probe=read(options.probe, require_text=False),
            repair_utterances=options.repair,
            metric=options.metric,
            normaliser=options.normaliser,
            allow_pipes=options.allow_pipes,
            force=options.force,
            ranks=ranks, held=held,
        )
        job.prune()
        job.repair()
        job.finetune()


@dataclass(frozen=True)
class Job:
    """One proposal, pruned, repaired and fine-tuned. ``held`` gets the lock of the training."""

    chosen: Chosen
    state: FineTuned
    deep: DeepModel
    configuration: hparams.Configuration
    train: DataDir
    dev: DataDir
    probe: DataDir
    repair_utterances: int
    metric: str
    normaliser: str
    allow_pipes: bool
    force: bool
    ranks: Ranks
    held: contextlib.ExitStack

    @property
    def proposal(self) -> Proposal:
        """The layers that the student lacks; of random weights the last ones stand for any."""
        start = self.chosen.result.start
        if isinstance(start, Scratch):
            (last,) = fixed("top", self.deep.stacks).propose(start.counts)
            return last
        return start

    @cached_property
    def pruned(self) -> LayeredModel:
        """The deep model without the layers; of random weights, as many layers of them."""
        model, start = self.deep.model.prune(self.proposal), self.chosen.result.start
        if isinstance(start, Scratch):
            model.reinitialize(self.configuration.settings["seed"], keep_frontend=start.keep_frontend)
        return model

    @property
    def student(self) -> LayeredModel:
        """The model that is trained, as it is before: the repaired one as it lies on the disk, or the pruned one."""
        if not self.state.repaired:
            return self.pruned
        return load(self.chosen.result.model(Repaired()), trust_hyperparams=True).to(self.deep.model.device)

    def stage(self, record: Path, name: str, options: dict, inputs: dict, **more: str) -> Stage:
        """A stage of this job, after a look whether the search that chose the layers had the same deep model."""
        stage = Stage(record, name, options, {"model": self.deep.fingerprint, **inputs}, force=self.force, **more)
        stage.agree([self.chosen.record] if self.chosen.record else [])
        return stage

    def link(self, *directories: Path) -> None:
        """Let the proposal's name point to what is there of its layers."""
        for directory in directories if self.chosen.named else ():
            self.chosen.named.link(directory)

    def alone(self, make: Callable[[], None]) -> None:
        """Make what all trainings start from, while no other run does."""
        self.ranks.decide(locked(self.chosen.result.directory, wait=True)(make))

    def prune(self) -> None:
        """The pruned model's directory. There is none where nothing was pruned: of random weights, of the deep model."""
        result = self.chosen.result
        if isinstance(result.start, Scratch):
            return
        if not result.start.num_removed:
            self.ranks.decide(lambda: write_proposal(result.proposal, result.start))
            return
        out = result.model(Pruned())
        stage = self.stage(out / "record.json", "stage5_prune", {"proposal": str(result.start)}, {})

        def make() -> None:
            for link in self.chosen.stale:
                link.unlink(missing_ok=True)
            if not stage.up_to_date():
                from comflp.models.verify import verify_saved

                self.pruned.save(out)
                verify_saved(self.pruned, out)
                write_proposal(result.proposal, result.start)
                stage.finish([out])
            self.link(out)

        self.alone(make)

    def repair(self) -> None:
        """The repaired model's directory, where one is wanted."""
        if not self.state.repaired:
            return
        result, seed = self.chosen.result, self.configuration.settings["seed"]
        out = result.model(Repaired())
        options = {"proposal": str(result.start), "utterances": self.repair_utterances, "seed": seed}
        stage = self.stage(out / "record.json", "stage5_repair", options, {"probe": self.probe.fingerprint()})

        def make() -> None:
            if not stage.up_to_date():
                from comflp.models.verify import verify_saved
                from comflp.repair import repair

                speech = Speech(self.deep.model, self.probe, allow_pipes=self.allow_pipes, progress=progress)
                speech = on_own_hypotheses(self.deep.directory, speech).drawn(self.repair_utterances, seed)
                model = repair(speech, self.pruned, seed, progress)
                model.save(out)
                verify_saved(model, out)
                done = model.origin["pruning"][-1]["repair"]
                stage.finish([out], facts=done)
                print(f"wrote {out}: {len(done['refitted'])} linear maps refitted on {done['utterances']} utterances, "
                      f"{len(done['kept'])} kept; divergence from the deep model {done['divergence'][0]:.3g} before and "
                      f"{done['divergence'][1]:.3g} after, in nats a {model.row}")
            self.link(out)

        self.alone(make)

    def hypotheses(self) -> dict | None:
        """What --distill only learns from: the deep model's own hypotheses of data/train, which are empty of CTC models."""
        if self.state.distill != "only":
            return None
        speech = Speech(self.deep.model, self.train, allow_pipes=self.allow_pipes, ranks=self.ranks, progress=progress)
        return on_own_hypotheses(self.deep.directory, speech).hypotheses or {utterance.utt_id: () for utterance in self.train}

    def finetune(self) -> None:
        """The fine-tuned model's directory, nothing where no epoch is asked for. Another run may train other results meanwhile."""
        result = self.chosen.result
        if not self.configuration.settings["number_of_epochs"]:
            if self.ranks.is_main and (isinstance(result.start, Scratch) or not result.start.num_removed):
                print(f"{result.directory}: nothing is made of it without training (number_of_epochs is 0)")
            return
        out, directory = result.model(self.state), result.training(self.state)
        snapshots = snapshots_of(directory, self.probe, self.configuration.settings, len(self.deep.stacks), self.allow_pipes)
        start = {"repaired model": fingerprint_model(result.model(Repaired()))} if self.state.repaired else {}
        stage = self.stage(
            out / "record.json", "stage5_finetune",
            {**self.configuration.options(), "start": str(result.start), "distill": self.state.distill, "metric": self.metric,
             "normaliser": self.normaliser, "processes": self.ranks.size},
            {"training data": self.train.fingerprint(), "dev data": self.dev.fingerprint(), **start}, elsewhere="--tag or experiment directory",
        )
        training = Training(stage, directory, self.configuration, self.metric, self.normaliser, self.allow_pipes, self.ranks, self.held)

        def begin() -> int | None:
            extends = training.begin()
            self.link(directory, *([out] if extends is None else []))
            return extends

        if (extends := self.ranks.decide(begin)) is None:
            return
        from comflp.train.distillation import Distillation

        values = self.configuration.values
        fitted = training.fit(
            self.student, self.train, self.dev, extends, take_snapshot=snapshots,
            distillation=Distillation.of_kind(
                self.state.distill, self.deep.model, self.proposal.of(next(iter(self.deep.stacks))).kept, self.hypotheses(),
                ctc_weight=values["distill_ctc_weight"],
                hidden_weight=values["distill_hidden_weight"],
                temperature=values["distill_temperature"],
            ),
        )
        if self.ranks.is_main:
            self.save(fitted, out, stage, extends)
            self.link(out)

    def save(self, fitted: FitResult, out: Path, stage: Stage, extends: int) -> None:
        """The fine-tuned model, with what its card tells, and the record. extends: epochs that were there before."""
        from training_log import left_out

        from comflp.models.verify import verify_saved

        facts = {
            "metric": self.metric,
            "normaliser": self.normaliser,
            "error_rate_before": fitted.error_rate_before,
            "error_rate": fitted.error_rate,
            "data": f"trained on {self.train.path} ({len(self.train):,} utterances), error rates on {self.dev.path}",
            "distillation": None if self.state.distill == "none" else self.state.distill,
            "seed": self.configuration.settings["seed"],
        }
        model, command = fitted.model, f"python {shlex.join(sys.argv)}"
        model.origin = {**model.origin, "training": {"start": self.chosen.description, **facts, "command": command}}
        model.save(out)
        verify_saved(model, out)
        stage.finish(
            [out], facts={**facts, "set": self.dev.path.name}, epochs=fitted.log, averaged_epochs=fitted.averaged_epochs, extends=extends,
            skipped_utterances=fitted.skipped,
        )
        print(f"wrote {out}: {model.num_layers} of {self.deep.model.num_layers} layers ({self.chosen.description}), "
              f"dev {self.metric.upper()} {fitted.error_rate_before:.2f}% before and {fitted.error_rate:.2f}% after, "
              f"epochs averaged: {fitted.averaged_epochs}{left_out(fitted.skipped, len(self.train))}")


run(main)
