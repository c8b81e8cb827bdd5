#!/usr/bin/env python3
"""Layers by scores that are learned in training: the first step of Xu et al. (Interspeech 2024), for a supernet to be trained with them.

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/learned_layers.py --train data/train --dev data/dev --out exp/learned --num-prune 6
    ./run.sh --model topk --deep-opts "--subnetworks LAYERS" --stop-stage 3        the second step, with the layers that it prints

A deep model and a smaller one, which has the layers of the highest scores, learn together from nothing, by conf/deep.yaml; the smaller
one's loss has the weight ``subnetwork_weight``. A layer of it gives h + z (layer(h) - h), where z is 1 or 0, and the gradient
of z goes to the layer's score as if z were the score (straight through). ``topk`` (Simple-Top-k) takes the N lowest scores out in
every step, so that layers go and come back; ``zero_out`` (Iterative-Zero-Out) takes out one layer more every --every steps, the
lowest of those that are left, for good. The models themselves are not kept: only what was chosen, in --out.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from measuring import table

from comflp.artifacts import write_json
from comflp.data.data_dir import read_data_dir
from comflp.models.own.tokenizer import SentencePieceTokenizer
from comflp.models.own.transformer_ctc import TransformerCTC
from comflp.proposal import PruningProposal
from comflp.train.fit import fit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "local"))
import hparams

KINDS = ("topk", "zero_out")


class Scored(TransformerCTC):
    """A deep model with a score a layer; what it puts out beside its own output is the smaller model's."""

    def __init__(self, tokenizer, architecture, num_prune, every):
        super().__init__(tokenizer, architecture)
        self.num_prune, self.every = num_prune, every
        self.scores = torch.nn.Parameter(torch.zeros(architecture.num_layers).uniform_(0, 0.01))
        self.register_buffer("zeroed", torch.zeros(architecture.num_layers, dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def removed(self):
        """(L,) bool, the layers that the smaller model does not have in this step."""
        if self.every is None:
            lowest = torch.zeros_like(self.zeroed)
            lowest[self.scores.detach().argsort()[: self.num_prune]] = True
            return lowest
        self.steps += 1
        if self.zeroed.sum() < min(self.num_prune, self.steps // self.every):
            self.zeroed[self.scores.detach().masked_fill(self.zeroed, torch.inf).argmin()] = True
        return self.zeroed

    def forward(self, batch, subnetworks=(), **options):
        output = super().forward(batch, **options)
        return replace(output, subnetworks=(self.smaller(batch),)) if subnetworks else output

    def smaller(self, batch):
        """The smaller model's output; a layer that is zeroed out for good is not run, any other is, for the sake of its score."""
        stay = (~self.removed()).float()
        gates = stay + self.scores - self.scores.detach()
        state = self.begin(batch)
        for step, gate in zip(self.path(), gates):
            if not self.zeroed[step.layer - 1]:
                state = state.with_hidden(state.hidden + gate * (self.run(state, step).hidden - state.hidden))
        return self.finish(state)


def learned(options, kind):
    """The layers that are out at the end of the training, the scores of all, and the deep model's error rate on dev."""
    overrides = [f"--number_of_epochs={options.epochs}", f"--snapshot_epochs=[{options.epochs}]", f"--seed={options.seed}",
                 f"--subnetworks=1-{options.num_prune}"]
    values = hparams.load(options.config, overrides).values
    train, dev = read_data_dir(options.train), read_data_dir(options.dev)
    torch.manual_seed(values["seed"])
    tokenizer = SentencePieceTokenizer.train((utterance.text for utterance in train), values["unit"], values["vocab_size"])
    model = Scored(tokenizer, values["architecture"], options.num_prune, options.every if kind == "zero_out" else None)
    found = {}

    def keep(model, epoch):
        found.update(scores=model.scores.tolist(), layers=(model.removed().nonzero().flatten() + 1).tolist())

    result = fit(model, train, dev, options.out / f"{kind}_{options.num_prune}_{options.seed}", values, take_snapshot=keep)
    if len(found["layers"]) < options.num_prune:
        raise SystemExit(f"{kind}: the training ended with {len(found['layers'])} layers out; add --epochs, or lower --every")
    proposal = PruningProposal.from_layers(found["layers"], model.num_layers)
    return {"removed": str(proposal), "dev": result.log[-1]["valid_error_rate"], "scores": found["scores"]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--train", type=Path, required=True, help="data directory to train on")
    arguments.add_argument("--dev", type=Path, required=True, help="data directory that the best epoch is chosen by")
    arguments.add_argument("--out", type=Path, required=True, help="folder for checkpoints and for what was chosen")
    arguments.add_argument("--config", default="conf/deep.yaml", help="configuration of the training")
    arguments.add_argument("--num-prune", type=int, default=6, help="how many layers the smaller model is short of")
    arguments.add_argument("--epochs", type=int, default=6, help="of this step")
    arguments.add_argument("--every", type=int, default=60, help="steps after which zero_out takes out one layer more")
    arguments.add_argument("--seed", type=int, default=1234, help="of the training")
    arguments.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="how layers are taken out")
    options = arguments.parse_args()
    rows = []
    for kind in options.kinds:
        file = options.out / f"{kind}_{options.num_prune}_{options.seed}.json"
        if not file.exists():
            write_json(file, learned(options, kind))
        row = json.loads(file.read_text(encoding="utf-8"))
        rows.append({"kind": kind, "removed": row["removed"], "deep, dev": f"{row['dev']:.2f}", "scores": " ".join(f"{score:.2f}" for score in row["scores"])})
    print(table(rows))


if __name__ == "__main__":
    main()
