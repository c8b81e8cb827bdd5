#!/usr/bin/env python3
"""A supernet whose layers are chosen by scores that are learned in its training (Xu et al., Interspeech 2024).

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/learned_layers.py topk --train data/train --dev data/dev --out exp/topk --num-prune 6
    python ../../benchmarks/repair.py states --exp exp/topk --num-prune 6 --sizes 256 --choices LAYERS

A deep model and a smaller one, which has the layers of the highest scores, learn together from nothing, by conf/deep.yaml; the smaller
one's loss has the weight ``subnetwork_weight``. A layer of it gives h + z (layer(h) - h), where z is 1 or 0, and the gradient
of z goes to the scores as if z were the layer's share of their softmax (straight through), so that layers compete: without it all scores
rise alike, by Adam's equal steps. ``topk`` (Simple-Top-k) leaves out the N lowest scores of
every step, so that layers go and come back; ``zero_out`` (Iterative-Zero-Out) takes out one layer after another, the lowest of those
that are left, for good, from step --start on, one every --every steps. Here one training both chooses and teaches; the paper's
second one begins with the layers of the first. The deep model of the last epoch is OUT/deep, what was chosen OUT/learned.json.
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


class Scored(TransformerCTC):
    """A deep model with a score a layer; what it puts out beside its own output is the smaller model's.

    zero_out: step of the first layer that goes for good, and steps from one to the next; None: the lowest scores go for one step.
    """

    def __init__(self, tokenizer, architecture, num_prune, zero_out=None):
        super().__init__(tokenizer, architecture)
        self.num_prune, self.zero_out = num_prune, zero_out
        self.scores = torch.nn.Parameter(torch.zeros(architecture.num_layers).uniform_(0, 0.01))
        self.register_buffer("zeroed", torch.zeros(architecture.num_layers, dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def removed(self):
        """(L,) bool, the layers that the smaller model does not have in this step."""
        if self.zero_out is None:
            lowest = torch.zeros_like(self.zeroed)
            lowest[self.scores.detach().argsort()[: self.num_prune]] = True
            return lowest
        start, every = self.zero_out
        self.steps += 1
        if self.zeroed.sum() < min(self.num_prune, (self.steps - start) // every + 1):
            self.zeroed[self.scores.detach().masked_fill(self.zeroed, torch.inf).argmin()] = True
        return self.zeroed

    def forward(self, batch, subnetworks=(), **options):
        output = super().forward(batch, **options)
        return replace(output, subnetworks=(self.smaller(batch),)) if subnetworks else output

    def smaller(self, batch):
        """The smaller model's output; a layer that is zeroed out for good is not run, any other is, for the sake of its score."""
        stay = (~self.removed()).float()
        shares = torch.softmax(self.scores.masked_fill(self.zeroed, -torch.inf), dim=0) * (~self.zeroed).sum()
        gates = stay + shares - shares.detach()
        state = self.begin(batch)
        for step, gate in zip(self.path(), gates):
            if not self.zeroed[step.layer - 1]:
                state = state.with_hidden(state.hidden + gate * (self.run(state, step).hidden - state.hidden))
        return self.finish(state)


def learned(options):
    """Train; the layers that are out at the end, the scores of all, and the deep model's error rate on dev."""
    overrides = [f"--number_of_epochs={options.epochs}", f"--snapshot_epochs=[{options.epochs}]", f"--seed={options.seed}",
                 f"--subnetworks=1-{options.num_prune}"]
    values = hparams.load(options.config, overrides).values
    train, dev = read_data_dir(options.train), read_data_dir(options.dev)
    torch.manual_seed(values["seed"])
    tokenizer = SentencePieceTokenizer.train((utterance.text for utterance in train), values["unit"], values["vocab_size"])
    zero_out = (options.start, options.every) if options.kind == "zero_out" else None
    found = {}

    def keep(model, epoch):
        plain = TransformerCTC(tokenizer, model.architecture, origin={"source": "trained by benchmarks/learned_layers.py"})
        plain.load_state_dict({name: model.state_dict()[name] for name in plain.state_dict()})
        plain.save(options.out / "deep")
        layers = (model.removed().nonzero().flatten() + 1).tolist()
        found.update(removed=str(PruningProposal.from_layers(layers, model.num_layers)), num_removed=len(layers), scores=model.scores.tolist())

    result = fit(Scored(tokenizer, values["architecture"], options.num_prune, zero_out), train, dev, options.out / "train", values, take_snapshot=keep)
    if found["num_removed"] < options.num_prune:
        raise SystemExit(f"the training ended with {found['num_removed']} layers out; add --epochs, or lower --start or --every")
    return {**found, "dev": result.log[-1]["valid_error_rate"]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("kind", choices=["topk", "zero_out"], help="how layers are taken out")
    arguments.add_argument("--train", type=Path, required=True, help="data directory to train on")
    arguments.add_argument("--dev", type=Path, required=True, help="data directory of the log's error rates")
    arguments.add_argument("--out", type=Path, required=True, help="experiment directory; a training that was stopped goes on")
    arguments.add_argument("--config", default="conf/deep.yaml", help="configuration of the training")
    arguments.add_argument("--num-prune", type=int, default=6, help="how many layers the smaller model is short of")
    arguments.add_argument("--epochs", type=int, default=12, help="epochs of the training")
    arguments.add_argument("--start", type=int, default=780, help="step in which zero_out takes out the first layer; mini has 130 an epoch")
    arguments.add_argument("--every", type=int, default=65, help="steps after which zero_out takes out one layer more")
    arguments.add_argument("--seed", type=int, default=1234, help="seed of the training")
    options = arguments.parse_args()
    file = options.out / "learned.json"
    if not file.exists():
        write_json(file, learned(options))
    row = json.loads(file.read_text(encoding="utf-8"))
    print(table([{"kind": options.kind, "removed": row["removed"], "deep, dev": f"{row['dev']:.2f}",
                  "scores": " ".join(f"{score:.2f}" for score in row["scores"])}]))


if __name__ == "__main__":
    main()
