#!/usr/bin/env python3
"""Stage 5: remove a proposal's layers from the deep model and fine-tune what is left.

Usage as SpeechBrain's recipes: stage5_finetune.py [options] conf/finetune.yaml [--key value ...]
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import hparams
import numpy as np
from cli import parser, run
from training_log import EpochReport

import comflp.models
from comflp.artifacts import atomic_directory, atomic_path, fingerprint_model, read_json, require, write_json, write_text
from comflp.data.data_dir import read_data_dir, subset
from comflp.train.distillation import KINDS, Distillation
from comflp.processes import processes, training_backend
from comflp.errors import ComflpError
from comflp.train.fit import fit
from comflp.inference.hidden_states import collect
from comflp.measures import correlation_matrix
from comflp.models.verify import verify_saved
from comflp.proposal import PruningProposal
from comflp.scoring import UNIT_OF_METRIC
from comflp.record import Stage

SCRATCH = ("scratch", "scratch_frontend")


def options_and_overrides():
    arguments = parser(__doc__)
    arguments.add_argument("config", help="HyperPyYAML file; any of its keys may follow as --key value")
    arguments.add_argument("--exp", required=True, help="experiment directory of the deep model")
    arguments.add_argument("--num-prune", type=int, required=True, help="N, number of layers to remove")
    arguments.add_argument(
        "--proposal",
        required=True,
        help="a name under prune<N> (dc_fine, svcca_coarse, glp, top, ...), layers such as 1,3-4,7, scratch "
        "(same depth, all weights random) or scratch_frontend (random layers and head under the deep front end)",
    )
    arguments.add_argument("--train", default="data/train", help="data directory to train on")
    arguments.add_argument("--dev", default="data/dev", help="data directory that the best epochs are chosen by")
    arguments.add_argument("--probe", default="data/probe", help="data directory for correlation snapshots")
    arguments.add_argument("--metric", choices=("cer", "wer"), default="cer", help="error rate on the dev set")
    arguments.add_argument("--distill", choices=KINDS, default="none", help="also learn from the deep model")
    arguments.add_argument("--tag", default="", help="appended to the directory's name, to keep several runs")
    return arguments.parse_known_args()


def find_proposal(exp, num_prune, wanted, num_layers):
    """(name, proposal) of ``--proposal``: one that stage 4 left, typed layers, or none for scratch."""
    prune = exp / f"prune{num_prune}"
    if wanted in SCRATCH:
        return wanted, PruningProposal.from_layers(range(num_layers - num_prune + 1, num_layers + 1), num_layers)
    if re.fullmatch(r"[\d,-]+", wanted):
        proposal = PruningProposal.parse(wanted, num_layers=num_layers)
        if proposal.num_removed != num_prune:
            raise ComflpError(f"--proposal {wanted} removes {proposal.num_removed} layers, --num-prune is {num_prune}")
        return f"layers_{wanted}", proposal
    chosen = read_json(require(prune / wanted / "proposal.json", "stage 4 (fine search)"))
    return wanted, PruningProposal.parse(chosen["proposal"], num_layers=num_layers)


def main():
    with processes(training_backend()) as ranks:
        finetune(*options_and_overrides(), ranks)


def finetune(options, overrides, ranks):
    configuration = hparams.load(options.config, overrides)
    values, exp = configuration.values, Path(options.exp)
    deep_directory = require(exp / "deep", "stage 0 (data preparation)")
    train, dev, probe = (read_data_dir(path) for path in (options.train, options.dev, options.probe))
    deep = comflp.models.load(deep_directory)
    name, proposal = find_proposal(exp, options.num_prune, options.proposal, deep.num_layers)
    suffixes = [f"distill_{options.distill}"] if options.distill != "none" else []
    out = exp / f"prune{options.num_prune}" / "_".join([name, *suffixes, *filter(None, [options.tag])])
    source = exp / f"prune{options.num_prune}" / name / "stage4.record.json"
    stage = Stage(
        out / "stage5.record.json",
        "stage5_finetune",
        options={
            **configuration.options(),
            "proposal": str(proposal),
            "start": name if name in SCRATCH else "deep",
            "distill": options.distill,
            "metric": options.metric,
        },
        inputs={
            "model": fingerprint_model(deep_directory),
            "training data": train.fingerprint(),
            "dev data": dev.fingerprint(),
        },
        upstream=[source],
        force=options.force,
    )
    if ranks.decide(stage.up_to_date):
        if ranks.is_main:
            print(f"{out} is up to date")
        return

    if ranks.is_main and options.force:
        shutil.rmtree(out / "train", ignore_errors=True)
    siblings = [] if options.force else sorted(out.parent.glob("*/"))
    twin = next((other for other in siblings if other != out and stage.was_made_in(other)), None)
    ranks.barrier()
    if twin is not None:
        if ranks.is_main:
            copy(twin, out, name, proposal, stage)
        return
    student = deep.prune(proposal)
    if name in SCRATCH:
        student.reinitialize(values["seed"], keep_frontend=name == "scratch_frontend")
    if ranks.is_main:
        stage.begin(out / "train")
        student.save(out / "pruned")
        verify_saved(student, out / "pruned")
        write_proposal(out, proposal)
        write_text(out / "train" / "hyperparams.yaml", configuration.resolved)
    ranks.barrier()

    pictured = subset(probe, min(values["snapshot_utterances"], len(probe)), values["seed"])

    def take_snapshot(model, epoch):
        matrix = correlation_matrix(collect(model, pictured), measure=values["snapshot_measure"], seed=values["seed"])
        path = out / "train" / "snapshots" / f"{values['snapshot_measure']}_epoch{epoch:04d}.npy"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, matrix)

    result = fit(
        student,
        train,
        dev,
        out / "train",
        values,
        UNIT_OF_METRIC[options.metric],
        distillation=Distillation.of_kind(
            options.distill,
            deep,
            proposal.kept,
            ctc_weight=values["distill_ctc_weight"],
            hidden_weight=values["distill_hidden_weight"],
            temperature=values["distill_temperature"],
        ),
        take_snapshot=take_snapshot,
        run_opts=configuration.run_opts,
        report=EpochReport(out / "train" / "tensorboard", options.metric),
    )
    if not ranks.is_main:
        return
    facts = {
        "metric": options.metric,
        "error_rate_before": result.error_rate_before,
        "error_rate": result.error_rate,
        "data": f"trained on {train.path} ({len(train):,} utterances), error rates on {dev.path}",
        "distillation": None if options.distill == "none" else options.distill,
        "seed": values["seed"],
    }
    save(result.model, out, name, proposal, facts)
    stage.finish(
        [out / "pruned", out / "finetuned"],
        facts=facts,
        epochs=result.log,
        averaged_epochs=result.averaged_epochs,
        skipped_utterances=result.skipped,
    )
    print(f"wrote {out / 'finetuned'}: {student.num_layers} of {deep.num_layers} layers ({proposal} removed), "
          f"dev {options.metric.upper()} {result.error_rate_before:.2f}% before and {result.error_rate:.2f}% after, "
          f"epochs averaged: {result.averaged_epochs}")


def write_proposal(out, proposal):
    """proposal.json, where no search left one."""
    if not (out / "proposal.json").exists():
        write_json(out / "proposal.json", {"name": out.name, "proposal": str(proposal),
                   "num_layers": proposal.num_layers, "num_prune": proposal.num_removed})


def save(model, out, name, proposal, facts):
    """The fine-tuned model, with what its card tells."""
    start = name if name in SCRATCH else f"{name}, layers {proposal} removed"
    model.origin = {**model.origin, "training": {"start": start, **facts, "command": f"python {shlex.join(sys.argv)}"}}
    model.save(out / "finetuned")
    verify_saved(model, out / "finetuned")


def copy(twin, out, name, proposal, stage):
    """Another proposal's name, the same layers and training: its results are these."""
    record = read_json(twin / stage.record.name)
    for part in ("pruned", "train"):
        with atomic_directory(out / part) as temporary:
            shutil.copytree(twin / part, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns("save", "started.json", "decode_*", "export"))
    write_proposal(out, proposal)
    save(comflp.models.load(twin / "finetuned"), out, name, proposal, record["facts"])
    stage.finish(
        [out / "pruned", out / "finetuned"],
        copied_from=twin.name,
        **{key: record[key] for key in ("facts", "epochs", "averaged_epochs", "skipped_utterances")},
    )
    print(f"wrote {out / 'finetuned'}: the same layers and training as {twin.name}, copied from there")


run(main)
