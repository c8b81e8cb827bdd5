#!/usr/bin/env python3
"""The ``states`` of repair.py, and fine-tuning from them, over several deep models of a recipe: means, standard deviations, the least share made up.

    cd recipes/fsdd && . ./path.sh
    for m in transformer12 seed2 seed3; do python ../../benchmarks/repair.py states --exp exp/$m --out exp/$m/repair.jsonl; done
    python ../../benchmarks/repair_seeds.py exp/transformer12 exp/seed2 exp/seed3

Each model's rows are those of its ``repair.jsonl``; its own searches say which layers a choice removes from it.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from measuring import mean_and_deviation, table
from repair_rows import Rows, first_of, made_up, pruned_key, rate, repaired_key, trained_key

from comflp.artifacts import read_json


def of_all(rows, keys):
    """The row that each experiment has under its key, by experiment; none where not all of them have one."""
    found = {exp: rows[exp].get(key) for exp, key in keys.items()}
    return {} if None in found.values() else found


def mean_of(rows):
    """Mean and standard deviation of error rates; nothing where there are none."""
    return mean_and_deviation([rate(row) for row in rows.values()]) if rows else ""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("exps", type=Path, nargs="+", help="experiment directories, each with its repair.jsonl")
    arguments.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    arguments.add_argument("--choices", nargs="+", default=["skip_kl", "dc", "top", "uniform"], help="as repair.py has them")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="utterances that models were repaired with")
    arguments.add_argument("--epochs", type=int, nargs="*", default=[], help="of fine-tuning (repair_training.py finetune)")
    options = arguments.parse_args()
    rows = {exp: Rows(exp / "repair.jsonl").rows for exp in options.exps}
    layers = {exp: read_json(next(exp.glob("prune*/*/candidates.json")))["num_layers"] for exp in options.exps}
    print(f"{len(rows)} deep models, CER on test {mean_and_deviation([rate(found['deep test']) for found in rows.values()])}\n")
    lines = []
    for num_prune in options.num_prune:
        for name in options.choices:
            proposals = {exp: first_of(exp, layers[exp], num_prune, name) for exp in options.exps}
            pruned = {exp: rows[exp][pruned_key(proposal)] for exp, proposal in proposals.items()}
            line = {"N": num_prune, "layers by": name, "pruned": mean_of(pruned)}
            for size in options.sizes:
                repaired = of_all(rows, {exp: repaired_key(proposal, size) for exp, proposal in proposals.items()})
                shares = [made_up(rows[exp]["deep test"], pruned[exp], row) for exp, row in repaired.items()]
                share = f", {np.mean(shares):.0%} ({min(shares):.0%} at least)" if shares else ""
                line[f"repaired, {size:,}"] = mean_of(repaired) + share
            for epoch, start in product(options.epochs, ("pruned", "repaired")):
                keys = {exp: trained_key(proposal, epoch, start) for exp, proposal in proposals.items()}
                line[f"{epoch} from {start}"] = mean_of(of_all(rows, keys))
            lines.append(line)
    print(table(lines))


if __name__ == "__main__":
    main()
