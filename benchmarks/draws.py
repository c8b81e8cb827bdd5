#!/usr/bin/env python3
"""Stability: what a search chooses and what a repair gives, against the number of utterances and their draw; a table and a figure.

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/draws.py --exp exp/transformer12 --figure exp/draws.png

For each number of utterances, --draws draws of data/probe: how many of the ten best proposals two draws share (dc in batches of up to 32,
and skip_kl, whose ten are of block costs alone), the error rates of the draws' first proposals, pruned, and those of the first
of --choices repaired with each draw. Rows are kept in --out as they are measured; a run that was stopped goes on.
"""

import argparse
import itertools

import numpy as np
from matplotlib.figure import Figure
from measuring import mean_and_deviation, table
from repair_rows import Bench, bench_options, rate

from comflp.inference import hidden_states
from comflp.inference.speech import Speech
from comflp.measures import correlation_matrix, skip_matrix
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, coarse_search

TOP = 10


def dc(bench, utterances, draw):
    """The similarity matrix of a draw."""
    utt_ids, hidden = hidden_states.read(bench.options.exp / "hidden")
    drawn = {utterance.utt_id for utterance in Speech(bench.deep, bench.probe).drawn(utterances, draw).data}
    size = min(32, utterances)
    rows = np.asarray(hidden)[[utt_id in drawn for utt_id in utt_ids]]
    return BlockMatrix(correlation_matrix(rows, "dc", batch_size=size, num_batch=utterances // size))


def skip_kl(bench, utterances, draw):
    """The matrix of block costs of a draw."""
    return BlockMatrix(skip_matrix(Speech(bench.deep, bench.probe).drawn(utterances, draw), num_utterances=utterances), is_cost=True)


SEARCHES = {"dc": dc, "skip_kl": skip_kl}


def best_ten(bench, name, utterances):
    """The ten best proposals of each draw, best first."""
    def search(draw):
        return {"proposals": [str(found.proposal) for found in coarse_search(SEARCHES[name](bench, utterances, draw), bench.options.num_prune, TOP)]}

    return [bench.rows.of(f"{name} {utterances} {draw}", lambda draw=draw: search(draw))["proposals"] for draw in range(bench.options.draws)]


def measured(bench):
    """{utterances: {"dc shared", "dc first", ..., "repaired": values of all draws}}; what is not measured of so many is missing."""
    limits = {"dc": bench.options.dc, "skip_kl": bench.options.skip_kl}
    proposal = bench.chosen(bench.options.num_prune, bench.options.choices[0])
    found = {}
    for utterances in sorted({*bench.options.dc, *bench.options.skip_kl, *bench.options.repair}):
        found[utterances] = of_number = {}
        for name in (name for name, numbers in limits.items() if utterances in numbers):
            tens = best_ten(bench, name, utterances)
            of_number[f"{name} shared"] = [len({*one} & {*other}) for one, other in itertools.combinations(tens, 2)]
            firsts = [PruningProposal.parse(ten[0], bench.deep.num_layers) for ten in tens]
            of_number[f"{name} first"] = [rate(bench.pruned_row(first)) for first in firsts]
        if utterances in bench.options.repair:
            of_number["repaired"] = [rate(bench.repaired_row(proposal, utterances, draw)) for draw in range(bench.options.draws)]
    return found, proposal


HEADS = {"dc shared": "dc: shared of ten", "dc first": "dc's first, pruned", "skip_kl shared": "skip_kl: shared of ten",
         "skip_kl first": "skip_kl's first, pruned", "repaired": "repaired"}
"""What is measured -> its name in the table and the figure."""


def row(utterances, of_number):
    cells = {head: of_number.get(key) for key, head in HEADS.items()}
    return {"utterances": utterances} | {
        head: "" if values is None else f"{np.mean(values):.1f}" if "shared" in head else mean_and_deviation(values) for head, values in cells.items()
    }


def drawn(found, proposal, bench):
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    shared, rates = figure.subplots(1, 2)
    for panel, keys in ((shared, ("dc shared", "skip_kl shared")), (rates, ("dc first", "skip_kl first", "repaired"))):
        for key in keys:
            points = {utterances: values[key] for utterances, values in found.items() if key in values}
            name = f"{proposal}, repaired" if key == "repaired" else HEADS[key]
            low, middle, high = zip(*((min(values), np.mean(values), max(values)) for values in points.values()))
            bars = np.abs(np.array([low, high]) - middle) if panel is rates else None
            panel.errorbar(list(points), middle, bars, marker="o", markersize=4, capsize=2, label=name)
        panel.set(xlabel="utterances", xscale="log")
        panel.set_xticks(list(found), map(str, found))
        panel.minorticks_off()
        panel.legend(fontsize=8)
    shared.set(ylabel="best ten that two draws share", ylim=(0, TOP))
    rates.axhline(rate(bench.deep_row()), color="k", linewidth=0.8)
    rates.set(ylabel="CER on test (%)", ylim=(0, None))
    figure.savefig(bench.options.figure, dpi=100)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bench_options(arguments, "draws.jsonl")
    arguments.add_argument("--num-prune", type=int, default=6, help="N, layers to remove")
    arguments.add_argument("--choices", nargs=1, default=["skip_kl"], help="search of the experiment, rule or proposal whose model is repaired")
    arguments.add_argument("--draws", type=int, default=5, help="how often utterances are drawn")
    arguments.add_argument("--dc", type=int, nargs="*", default=[8, 16, 32, 64, 128, 256, 512], help="numbers of utterances that dc is measured on")
    arguments.add_argument("--skip-kl", type=int, nargs="*", default=[8, 16, 32, 64], help="numbers of utterances that skip_kl is measured on")
    arguments.add_argument("--repair", type=int, nargs="*", default=[16, 32, 64, 128, 256, 512], help="numbers of utterances that models are repaired with")
    arguments.add_argument("--figure", help="picture to write: means, and the range of the draws")
    bench = Bench(arguments.parse_args())
    found, proposal = measured(bench)
    print(table([row(utterances, of_number) for utterances, of_number in found.items()]))
    if bench.options.figure:
        drawn(found, proposal, bench)


if __name__ == "__main__":
    main()
