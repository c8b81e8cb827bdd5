#!/usr/bin/env python3
"""What else gives a model of half the size: error rates against parameters and against the seconds spent, a table and a figure.

    cd recipes/fsdd && local/evidence.sh --corpus DIR --parts instead

Reads what repair_training.py finetune, repair.py states and low_rank.py have kept for one proposal. Seconds are of the
processors, from the deep model on: of a repair, and of training with the pass over dev after each epoch; searches,
which serve all but the model from nothing, and scoring are not counted.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from measuring import table
from repair_rows import Rows, first_of, percent, rate, trained_key

import comflp.models

STARTS = {
    "scratch": ("from nothing", "v:"), "scratch_distilled": ("from nothing, distilled", "^:"),
    "pruned": ("pruned, fine-tuned", "s--"), "repaired": ("repaired, fine-tuned", "o-"),
}
"""Start -> its name and how it is drawn."""


def found_in(options):
    """[name, parameters, whether labels are read, seconds or None, row] of every model, those of training by the seconds."""
    deep = comflp.models.load(options.exp / "deep")
    proposal = first_of(options.exp, deep.num_layers, options.num_prune, options.choice)
    trained, low_rank = Rows(options.exp / "repair.jsonl").rows, Rows(options.exp / "low_rank.jsonl").rows
    half = deep.prune(proposal).num_parameters
    found = [("deep", deep.num_parameters, "", None, trained["deep test"])]
    for start, (name, _) in STARTS.items():
        for epoch in range(start.startswith("scratch"), options.epochs + 1):  # from nothing: which knows nothing before its first epoch
            row = trained[trained_key(proposal, epoch, start)]
            what = f"{name}, {epoch} epoch{'s' * (epoch > 1)}" if epoch else name.split(",")[0]
            found.append((what, half, "yes" if epoch else "no", row["seconds"], row))
    for key, row in low_rank.items():
        if " low rank " in key:
            removed, _, _, share, *_ = key.split()
            name = f"low rank, {float(share):.0%} of the layers' matrices" + ("" if removed == "none" else f", without {removed} and repaired")
            found.append((name, row["parameters"], "no", None, row))
    return found, trained, proposal


def drawn(options, found, trained, proposal):
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    sizes, times = figure.subplots(1, 2, sharey=True)
    deep = rate(trained["deep test"])
    groups = {"deep": "k*", "pruned": "s", "repaired": "o", "low rank": "x"}
    for name, style in groups.items():
        of_name = [one for one in found if one[0] == name or name == "low rank" and one[0].startswith(name)]
        sizes.plot([one[1] / 1e6 for one in of_name], [rate(one[4]) for one in of_name], style, label=name)
    for start, (name, style) in STARTS.items():
        rows = [trained[trained_key(proposal, epoch, start)] for epoch in range(start.startswith("scratch"), options.epochs + 1)]
        times.plot([max(row["seconds"], 1) for row in rows], [rate(row) for row in rows], style, label=name, markersize=5)
        sizes.plot([found[1][1] / 1e6], [rate(rows[-1])], style[0], label=f"{name}, {options.epochs} epochs")
    times.axhline(deep, color="k", linewidth=0.8)
    sizes.set(xlabel="parameters (millions)", ylabel="CER on test (%)", yscale="log")
    times.set(xlabel="processor seconds spent", xscale="log")
    for panel in (sizes, times):
        panel.yaxis.set_major_locator(FixedLocator([1, 2, 3, 5, 10, 20, 50]))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.legend(fontsize=7)
    figure.savefig(options.out, dpi=100)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exp", type=Path, required=True, help="experiment directory, with repair.jsonl and low_rank.jsonl")
    arguments.add_argument("--num-prune", type=int, default=6, help="N, layers to remove")
    arguments.add_argument("--choice", default="skip_kl", help="search or rule whose first proposal was trained")
    arguments.add_argument("--epochs", type=int, default=3, help="after how many epochs rows were kept")
    arguments.add_argument("--out", type=Path, required=True, help="picture to write")
    options = arguments.parse_args()
    found, trained, proposal = found_in(options)
    drawn(options, found, trained, proposal)
    print(table([
        {"model": name, "parameters, M": f"{parameters / 1e6:.2f}", "labels": labels, "seconds": "" if seconds is None else f"{seconds:.3g}",
         "test": percent(row)} for name, parameters, labels, seconds, row in found
    ]))


if __name__ == "__main__":
    main()
