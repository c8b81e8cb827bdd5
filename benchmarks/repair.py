#!/usr/bin/env python3
"""Repair: error rates of the deep, pruned and repaired models of an experiment, and what a repair costs.

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/repair.py states --exp exp/transformer12      deep, pruned and repaired, for each choice of layers
    python ../../benchmarks/repair.py sizes --exp exp/transformer12       one proposal, 16 to 2,048 utterances
    python ../../benchmarks/repair.py draws --exp exp/transformer12     the same with other utterances, and two rounds
    python ../../benchmarks/repair.py maps --exp exp/transformer12        each family of maps alone
    python ../../benchmarks/repair.py harm --exp exp/transformer12        20 random proposals, 16 utterances
    python ../../benchmarks/repair.py cost --exp exp/transformer12        time in passes of the deep model, peak memory

With --test and --probe, data sets other than data/test and data/probe: other domains, noise (utils/add_noise.py).
Every row is kept in --out as soon as it is measured; a run that was stopped goes on, and rows of other seeds can be
added with another --out. Rows are printed as a table at the end, with 95% intervals over utterances (bootstrap).
"""

import time

import numpy as np
from measuring import measured, table
from repair_rows import Bench, made_up, options_of, percent, rate

import comflp.models
from comflp.data.data_dir import read_data_dir
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.repair import calibration, repair
from comflp.repair.judge import Judge

FAMILIES = {
    "writers of the feed-forwards": ("linear2", "output_dense", "fc2"),
    "readers of the feed-forwards": ("linear1", "intermediate_dense", "fc1"),
    "readers of the attention": ("in_proj", "q_proj", "k_proj", "v_proj"),
    "writers of the attention": ("out_proj",),
    "output projection": ("output",),
}


def states(bench):
    """Deep, pruned and repaired for each N, choice of layers and number of utterances; the last rows are means of random choices."""
    rows, deep = [], bench.deep_row()
    for num_prune in bench.options.num_prune:
        for name in bench.options.choices:
            proposal = bench.chosen(num_prune, name)
            pruned = bench.pruned_row(proposal)
            row = {"N": num_prune, "choice": name, "removed": str(proposal), "deep": percent(deep), "pruned": percent(pruned)}
            for utterances in bench.options.sizes:
                repaired = bench.repaired_row(proposal, utterances)
                row[f"repaired, {utterances:,}"] = f"{percent(repaired)}, {made_up(*map(rate, (deep, pruned, repaired))):.0%}"
            rows.append(row)
        if bench.options.random:
            rows.append(mean_of_random(bench, num_prune))
    return rows


def mean_of_random(bench, num_prune):
    """A row of ``states``: mean error rates of random choices, with their range."""
    proposals = [bench.chosen(num_prune, f"random{number}") for number in range(bench.options.random)]

    def mean(rows):
        rates = [rate(row) for row in rows]
        return f"{np.mean(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})"

    row = {"N": num_prune, "choice": f"mean of {len(proposals)} random", "removed": "", "deep": percent(bench.deep_row()),
           "pruned": mean(map(bench.pruned_row, proposals))}
    return {**row, **{
        f"repaired, {utterances:,}": mean([bench.repaired_row(proposal, utterances) for proposal in proposals]) if utterances <= 256 else ""
        for utterances in bench.options.sizes
    }}


def sizes(bench):
    """One proposal with 16 to 2,048 utterances, as far as there are so many."""
    proposal = bench.half()
    known = [size for size in (16, 32, 64, 128, 256, 512, 1024, 2048) if size <= len(bench.probe)]
    rows = [bench.repaired_row(proposal, size) for size in known]
    return [
        {"utterances": size, "repaired": percent(row), "maps that keep their weights": f"{row['kept']} of {row['maps']}"}
        for size, row in zip(known, rows)
    ]


def draws(bench):
    """One proposal with five draws of 256 utterances, and repaired a second time on the first draw."""
    proposal, utterances = bench.half(), 256
    rows = [{"draw": f"{seed}", "repaired": percent(bench.repaired_row(proposal, utterances, seed))} for seed in range(5)]

    def twice():
        calibration = bench.calibration(utterances)
        return bench.score(calibration.repair(calibration.repair(bench.deep.prune(proposal))))

    key = f"{proposal} twice {bench.options.probe} {bench.options.test}"
    return [*rows, {"draw": "0, two rounds", "repaired": percent(bench.rows.of(key, twice))}]


def maps(bench):
    """Each family of maps alone: the judge refuses all others."""
    proposal, utterances = bench.half(), 256
    rows = [{"refitted": "nothing", "CER": percent(bench.pruned_row(proposal))}]
    for family, endings in FAMILIES.items():

        class Only(Judge):
            def decide(self, changes, names, endings=endings):
                if str(names[0]).rpartition(".")[2] in endings:
                    super().decide(changes, names)

        def measure(judge=Only):
            calibration.Judge = judge
            try:
                return bench.score(bench.calibration(utterances).repair(bench.deep.prune(proposal)))
            finally:
                calibration.Judge = Judge

        rows.append({"refitted": family, "CER": percent(bench.rows.of(f"{proposal} only {family}", measure))})
    return [*rows, {"refitted": "all", "CER": percent(bench.repaired_row(proposal, utterances))}]


def harm(bench):
    """Twenty random proposals, each repaired with 16 utterances of its own draw."""
    rows = []
    for number in range(20):
        num_prune = bench.deep.num_layers * (2 + number % 3) // 6
        proposal = bench.chosen(num_prune, f"random{number}")
        row = {"N": num_prune, "removed": str(proposal), "pruned": percent(bench.pruned_row(proposal))}
        rows.append({**row, "repaired, 16": percent(bench.repaired_row(proposal, 16, number))})
    mean = {key: f"{np.mean([float(row[key].split()[0]) for row in rows]):.2f}" for key in ("pruned", "repaired, 16")}
    return [*rows, {"N": "mean", "removed": "", **mean}]


def cost(bench):
    """A repair in passes of the deep model over the same utterances, and the peak of the memory of a process of its own."""
    proposal = str(bench.half())
    return [{"what": what, **measured(_cost, bench.options, proposal, what)} for what in ("load", "pass", "repair")]


def _cost(options, proposal, what):
    deep = comflp.models.load(options.exp / "deep")
    speech = Speech(deep, read_data_dir(options.data / options.probe)).drawn(256, 0)
    started = time.process_time()
    if what == "pass":
        with evaluation(deep):
            for batch in load_batches(deep, plan_batches(deep, speech.data, speech.max_seconds)):
                deep(batch)
    elif what == "repair":
        repair(speech, deep.prune(PruningProposal.parse(proposal, deep.num_layers)))
    return {"CPU seconds": round(time.process_time() - started, 1)}


TABLES = {"states": states, "sizes": sizes, "draws": draws, "maps": maps, "harm": harm, "cost": cost}


def main():
    arguments = options_of(TABLES, __doc__)
    arguments.add_argument("--random", type=int, default=0, help="random choices of which states shows the mean (256 utterances at most)")
    options = arguments.parse_args()
    print(table(TABLES[options.table](Bench(options))))


if __name__ == "__main__":
    main()
