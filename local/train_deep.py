#!/usr/bin/env python3
"""Stage 0, where no published model exists: train the deep model that is to be pruned.

Usage as SpeechBrain's recipes: train_deep.py [options] conf/deep.yaml [--key value ...]
"""

import shutil
from functools import partial

import hparams
import option_types
from cli import parser, run, scoring_options

from comflp.artifacts import atomic_directory, write_text
from comflp.data.data_dir import read_data_dir
from comflp.experiment import Layout
from comflp.processes import processes
from comflp.record import Stage
from comflp.replacing import MODEL, check_replaceable
from comflp.stacks import as_json


def parse_options():
    """(options, the configuration that they name)"""
    arguments = parser(__doc__)
    arguments.add_argument("config", type=option_types.file, help="HyperPyYAML file; any of its keys may follow as --key value")
    arguments.add_argument("--train", type=option_types.path, required=True, help="data directory to train on")
    arguments.add_argument("--dev", type=option_types.path, required=True, help="data directory that the best epoch is chosen by")
    scoring_options(arguments, "error rate on the dev set")
    arguments.add_argument("--out", type=option_types.new_path, required=True, help="experiment directory; gets deep/ and train_deep/")
    arguments.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    options, overrides = arguments.parse_known_args()
    return options, hparams.load(str(options.config), overrides)


def main():
    options, configuration = parse_options()
    with processes(training=True) as ranks:
        train_deep(options, configuration, ranks)


def train_deep(options, configuration, ranks):
    deep, training = Layout(options.out).deep, Layout(options.out).deep_training
    train, dev = (read_data_dir(path, allow_pipes=options.allow_pipes) for path in (options.train, options.dev))
    stage = Stage(
        deep / "record.json",
        "stage0_train_deep",
        options={**configuration.options(), "metric": options.metric, "normaliser": options.normaliser, "processes": ranks.size},
        inputs={"training data": train.fingerprint(), "dev data": dev.fingerprint()},
        force=options.force,
    )

    def begin() -> int | None:
        """How many epochs a finished training has that this one adds to; None where the model is there already."""
        extended = stage.record_to_extend("number_of_epochs")
        if extended is None and stage.up_to_date():
            print(f"{deep} is up to date")
            return None
        check_replaceable(deep, MODEL, options.force)
        configuration.check()
        if options.force:
            shutil.rmtree(training, ignore_errors=True)
        stage.begin(training, extended)
        write_text(training / "hyperparams.yaml", configuration.resolved)
        return len(extended["epochs"]) if extended else 0

    if (extends := ranks.decide(begin)) is None:
        return
    # Only now: torch and SpeechBrain take seconds to import, and a model that is there needs neither.
    import torch
    from training_log import EpochReport, left_out

    from comflp.models.own.tokenizer import SentencePieceTokenizer
    from comflp.models.own.transformer_ctc import TransformerCTC
    from comflp.train.fit import batch_limits, fit

    values = configuration.values

    def keep(model, epoch) -> None:
        with atomic_directory(training / f"epoch{epoch}", MODEL, force=True) as temporary:
            model.save(temporary)

    torch.manual_seed(values["seed"])
    tokenizer = SentencePieceTokenizer.train((utterance.text for utterance in train), values["unit"], values["vocab_size"])
    model = TransformerCTC(tokenizer, values["architecture"], origin={"source": "trained by local/train_deep.py"})
    report = EpochReport(training / "tensorboard", options.metric)
    if ranks.is_main:
        report.says_step(batch_limits(values), ranks.size, values["grad_accumulation_factor"])
    result = fit(
        model,
        train,
        dev,
        training,
        values,
        options.metric,
        options.normaliser,
        run_opts=configuration.run_opts,
        report=report,
        goes_on=report.goes_on,
        check_own=partial(stage.check_own, training),
        allow_pipes=options.allow_pipes,
        extends=extends,
        take_snapshot=keep,
    )
    if ranks.is_main:
        stage.check_own(training)
        with atomic_directory(deep, MODEL, options.force) as temporary:
            result.model.save(temporary)
        facts = {"metric": options.metric, "normaliser": options.normaliser, "error_rate": result.error_rate, "set": dev.path.name}
        stage.finish([deep], stacks=as_json(model.stacks), facts=facts, epochs=result.log, averaged_epochs=result.averaged_epochs,
                     extends=extends, skipped_utterances=result.skipped)
        print(f"wrote {deep}: {model.num_layers} layers, {model.num_parameters:,} parameters, "
              f"dev {options.metric.upper()} {result.error_rate:.2f}%{left_out(result.skipped, len(train))}")


run(main)
