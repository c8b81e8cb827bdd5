#!/usr/bin/env python3
"""The ``states`` of repair.py, and fine-tuning from them, over several deep models of a recipe: means, standard deviations, the least share made up.

    cd recipes/fsdd && . ./path.sh
    for m in transformer12 seed2 seed3; do python ../../benchmarks/repair.py states --exp exp/$m; done
    python ../../benchmarks/repair_seeds.py exp/transformer12 exp/seed2 exp/seed3

Each model's rows are those of its ``repair.jsonl``; its own searches say which layers a choice removes from it. Of random proposals
(--random; repair.py states --random) the mean of a model's stands for the model.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from measuring import mean_and_deviation, table
from repair_rows import Rows, first_of, made_up, pruned_key, rate, repaired_key, trained_key

from comflp.artifacts import read_json


def rates_of(rows, keys):
    """Each experiment's error rate in percent, the mean over its keys; none where not all rows are there."""
    found = {exp: [rows[exp].get(key) for key in own] for exp, own in keys.items()}
    return [] if any(None in own for own in found.values()) else [float(np.mean([rate(row) for row in own])) for own in found.values()]


def ahead(rows, proposals, epoch):
    """In how many of the single models the repaired start is ahead after so many epochs, and by how many points in the mean."""
    pairs = [[rows[exp].get(trained_key(proposal, epoch, start)) for start in ("pruned", "repaired")] for exp, own in proposals.items() for proposal in own]
    gains = [rate(pruned) - rate(repaired) for pruned, repaired in pairs if pruned and repaired]
    return f"{sum(gain > 0 for gain in gains)} of {len(gains)}, by {np.mean(gains):.2f}" if gains else ""


def mean_of(rates):
    """Mean and standard deviation; nothing where there are no rates."""
    return mean_and_deviation(rates) if rates else ""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("exps", type=Path, nargs="+", help="experiment directories, each with its repair.jsonl")
    arguments.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    arguments.add_argument("--choices", nargs="+", default=["skip_kl", "dc", "top", "uniform"], help="choices of layers, as repair.py has them")
    arguments.add_argument("--random", type=int, default=0, help="random proposals of each N, for a row of their means")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="utterances that models were repaired with")
    arguments.add_argument("--epochs", type=int, nargs="*", default=[], help="numbers of epochs of fine-tuning (repair_training.py finetune)")
    options = arguments.parse_args()
    rows = {exp: Rows(exp / "repair.jsonl").rows for exp in options.exps}
    layers = {exp: read_json(next(exp.glob("prune*/*/candidates.json")))["num_layers"] for exp in options.exps}
    deep = [rate(found["deep test"]) for found in rows.values()]
    print(f"{len(rows)} deep models, CER on test {mean_and_deviation(deep)}\n")
    choices, lines = {name: [name] for name in options.choices}, []
    if options.random:
        choices[f"mean of {options.random} random"] = [f"random{number}" for number in range(options.random)]
    for num_prune in options.num_prune:
        for name, own in choices.items():
            proposals = {exp: [first_of(exp, layers[exp], num_prune, one) for one in own] for exp in options.exps}

            def rates(key, *rest, proposals=proposals):
                return rates_of(rows, {exp: [key(proposal, *rest) for proposal in of_one] for exp, of_one in proposals.items()})

            pruned = rates(pruned_key)
            line = {"N": num_prune, "layers by": name, "pruned": mean_of(pruned)}
            for size in options.sizes:
                repaired = rates(repaired_key, size)
                shares = [made_up(*three) for three in zip(deep, pruned, repaired) if three[0] != three[1]]  # none is lost where these are equal
                share = f", {np.mean(shares):.0%} ({min(shares):.0%} at least)" if shares else ""
                line[f"repaired, {size:,}"] = mean_of(repaired) + share
            for epoch, start in product(options.epochs, ("pruned", "repaired")):
                line[f"{epoch} from {start}"] = mean_of(rates(trained_key, epoch, start))
            for epoch in options.epochs:
                line[f"repaired ahead after {epoch}"] = ahead(rows, proposals, epoch)
            lines.append(line)
    print(table(lines))


if __name__ == "__main__":
    main()
