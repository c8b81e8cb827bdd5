#!/usr/bin/env python3
"""The ``states`` of repair.py as a picture: error rate against the layers that stay, pruned and repaired, a panel an experiment.

    cd recipes/fsdd && . ./path.sh
    python ../../benchmarks/repair_figure.py exp/transformer12 --test noise/test --probes probe noise/probe --out exp/noise.png

Reads the ``repair.jsonl`` of each experiment and its searches; bars are 95% intervals over utterances. A panel's title is its recipe's name.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from repair_rows import Rows, first_of, interval, pruned_key, rate, repaired_key

from comflp.artifacts import read_json

MARKERS = "osv^"


def curves(exp, options):
    """(label, style, {layers that stay: row}) of every line of an experiment, and the depth of its deep model."""
    rows = Rows(exp / options.rows).rows
    depth = read_json(next(exp.glob("prune*/*/candidates.json")))["num_layers"]
    deep, found = {depth: rows[f"deep {options.test}"]}, []
    for number, name in enumerate(options.choices):
        colour = f"C{number}"
        proposals = {depth - removed: first_of(exp, depth, removed, name) for removed in options.num_prune}
        pruned = {stay: rows[pruned_key(proposal, options.test)] for stay, proposal in proposals.items()}
        found.append((f"{name}, pruned", {"color": colour, "linestyle": "--"}, deep | pruned))
        for probe, marker in zip(options.probes, MARKERS):
            repaired = {stay: rows[repaired_key(proposal, options.size, probe, options.test)] for stay, proposal in proposals.items()}
            label = f"{name}, repaired" + (f" on {probe}" if len(options.probes) > 1 else "")
            found.append((label, {"color": colour, "marker": marker, "markersize": 4}, deep | repaired))
    return found, depth


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("exps", type=Path, nargs="+", help="experiment directories")
    arguments.add_argument("--rows", default="repair.jsonl", help="file in each of them that repair.py has kept its rows in")
    arguments.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    arguments.add_argument("--choices", nargs="+", default=["skip_kl", "top"], help="choices of layers, as repair.py has them")
    arguments.add_argument("--test", default="test", help="data set that error rates are of")
    arguments.add_argument("--probes", nargs="+", default=["probe"], help="data sets that models were repaired on")
    arguments.add_argument("--size", type=int, default=256, help="utterances that they were repaired with")
    arguments.add_argument("--out", required=True, help="picture to write")
    options = arguments.parse_args()
    figure = Figure(figsize=(1 + 3.4 * len(options.exps), 3.6), layout="constrained")
    for panel, exp in zip(figure.subplots(1, len(options.exps), squeeze=False)[0], options.exps):
        lines, depth = curves(exp, options)
        for label, style, of_layers in lines:
            stay, rates = list(of_layers), [rate(row) for row in of_layers.values()]
            low, high = zip(*(interval(row) for row in of_layers.values()))
            bars = [[middle - end for middle, end in zip(rates, low)], [end - middle for middle, end in zip(rates, high)]]
            panel.errorbar(stay, rates, bars, label=label, capsize=2, linewidth=1.2, **style)
        panel.axhline(rate(lines[0][2][depth]), color="k", linewidth=0.6)
        panel.set(title=exp.resolve().parents[1].name, xlabel="layers that stay", yscale="log")
        panel.xaxis.set_major_locator(FixedLocator([depth, *(depth - number for number in options.num_prune)]))
        panel.yaxis.set_major_locator(FixedLocator([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 80]))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.invert_xaxis()
    figure.axes[0].set_ylabel("CER (%)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2 if len(options.exps) < 2 else 4, fontsize=8)
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
