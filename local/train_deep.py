#!/usr/bin/env python3
"""Stage 0, where no published model exists: train the deep model that is to be pruned.

Usage as SpeechBrain's recipes: train_deep.py [options] conf/deep.yaml [--key value ...]
"""

import shutil
from pathlib import Path

import hparams
import torch
from cli import parser, run
from training_log import EpochReport

from comflp.artifacts import write_text
from comflp.data.data_dir import read_data_dir
from comflp.processes import processes, training_backend
from comflp.train.fit import fit
from comflp.models.own.tokenizer import SentencePieceTokenizer
from comflp.models.own.transformer_ctc import TransformerCTC
from comflp.scoring import UNIT_OF_METRIC
from comflp.record import Stage


def main():
    with processes(training_backend()) as ranks:
        train_deep(ranks)


def train_deep(ranks):
    arguments = parser(__doc__)
    arguments.add_argument("config", help="HyperPyYAML file; any of its keys may follow as --key value")
    arguments.add_argument("--train", required=True, help="data directory to train on")
    arguments.add_argument("--dev", required=True, help="data directory that the best epoch is chosen by")
    arguments.add_argument("--metric", choices=("cer", "wer"), default="cer", help="error rate on the dev set")
    arguments.add_argument("--out", required=True, help="experiment directory; gets deep/ and train_deep/")
    options, overrides = arguments.parse_known_args()
    configuration = hparams.load(options.config, overrides)

    deep, work = Path(options.out) / "deep", Path(options.out) / "train_deep"
    train, dev = read_data_dir(options.train), read_data_dir(options.dev)
    stage = Stage(
        deep / "record.json",
        "stage0_train_deep",
        options={**configuration.options(), "metric": options.metric},
        inputs={"training data": train.fingerprint(), "dev data": dev.fingerprint()},
        force=options.force,
    )
    if ranks.decide(stage.up_to_date):
        if ranks.is_main:
            print(f"{deep} is up to date")
        return

    def begin():
        if options.force:
            shutil.rmtree(work, ignore_errors=True)
        stage.begin(work)
        write_text(work / "hyperparams.yaml", configuration.resolved)

    ranks.decide(begin)
    values = configuration.values
    torch.manual_seed(values["seed"])
    tokenizer = SentencePieceTokenizer.train(utterance.text for utterance in train)
    model = TransformerCTC(tokenizer, values["architecture"], origin={"source": "trained by local/train_deep.py"})
    result = fit(
        model,
        train,
        dev,
        work,
        values,
        UNIT_OF_METRIC[options.metric],
        run_opts=configuration.run_opts,
        report=EpochReport(work / "tensorboard", options.metric),
    )
    if not ranks.is_main:
        return
    result.model.save(deep)
    stage.finish([deep], epochs=result.log, averaged_epochs=result.averaged_epochs, skipped=len(result.skipped))
    print(f"wrote {deep}: {model.num_layers} layers, {model.num_parameters:,} parameters, "
          f"dev {options.metric.upper()} {result.error_rate:.2f}%")


run(main)
