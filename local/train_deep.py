#!/usr/bin/env python3
"""Stage 0, where no published model exists: train the deep model that is to be pruned.

Usage as SpeechBrain's recipes: train_deep.py [options] conf/deep.yaml [--key value ...]
"""

import contextlib

import hparams
import option_types
from cli import parser, run
from training import Training, training_options

from comflp.artifacts import atomic_directory
from comflp.data.data_dir import read_data_dir
from comflp.experiment import Layout
from comflp.processes import processes
from comflp.record import Stage
from comflp.replacing import MODEL
from comflp.stacks import as_json


def parse_options():
    """(options, the configuration that they name)"""
    arguments = parser(__doc__, trains=True)
    training_options(arguments)
    arguments.add_argument("--out", type=option_types.new_path, required=True, help="experiment directory; gets deep/ and train_deep/")
    options, overrides = arguments.parse_known_args()
    return options, hparams.load(str(options.config), overrides)


def main():
    options, configuration = parse_options()
    with processes(training=True) as ranks, contextlib.ExitStack() as held:
        train_deep(options, configuration, ranks, held)


def train_deep(options, configuration, ranks, held):
    deep = Layout(options.out).deep
    train, dev = (read_data_dir(path, allow_pipes=options.allow_pipes) for path in (options.train, options.dev))
    stage = Stage(
        deep / "record.json",
        "stage0_train_deep",
        options={**configuration.options(), "metric": options.metric, "normaliser": options.normaliser, "processes": ranks.size},
        inputs={"training data": train.fingerprint(), "dev data": dev.fingerprint()},
        force=options.force,
    )
    scored = {"metric": options.metric, "normaliser": options.normaliser}
    training = Training(stage, Layout(options.out).deep_training, configuration, **scored, allow_pipes=options.allow_pipes, ranks=ranks, held=held)
    if (extends := ranks.decide(training.begin)) is None:
        return
    # Only now: torch and SpeechBrain take seconds to import, and a model that is there needs neither.
    import torch
    from training_log import left_out

    from comflp.models.own.tokenizer import SentencePieceTokenizer
    from comflp.models.own.transformer_ctc import TransformerCTC

    values = configuration.values

    def keep(model, epoch) -> None:
        with atomic_directory(training.directory / f"epoch{epoch}", MODEL, force=True) as temporary:
            model.save(temporary)

    torch.manual_seed(values["seed"])
    tokenizer = SentencePieceTokenizer.train((utterance.text for utterance in train), values["unit"], values["vocab_size"])
    model = TransformerCTC(tokenizer, values["architecture"], origin={"source": "trained by local/train_deep.py"})
    result = training.fit(model, train, dev, extends, take_snapshot=keep)
    if ranks.is_main:
        with atomic_directory(deep, MODEL, options.force) as temporary:
            result.model.save(temporary)
        facts = {**scored, "error_rate": result.error_rate, "set": dev.path.name}
        stage.finish([deep], stacks=as_json(model.stacks), facts=facts, epochs=result.log, averaged_epochs=result.averaged_epochs,
                     extends=extends, skipped_utterances=result.skipped)
        print(f"wrote {deep}: {model.num_layers} layers, {model.num_parameters:,} parameters, "
              f"dev {options.metric.upper()} {result.error_rate:.2f}%{left_out(result.skipped, len(train))}")


run(main)
