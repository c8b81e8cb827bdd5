#!/usr/bin/env python3
"""Repair: error rates of the deep, pruned and repaired models of an experiment, and what a repair costs.

    cd recipes/mini && . ./path.sh
    python ../../benchmarks/repair.py states --exp exp/transformer12      deep, pruned and repaired, for each choice of layers
    python ../../benchmarks/repair.py sizes --exp exp/transformer12       one proposal, 16 to 2,048 utterances
    python ../../benchmarks/repair.py maps --exp exp/transformer12        each family of maps alone
    python ../../benchmarks/repair.py harm --exp exp/transformer12        20 random proposals, 16 utterances
    python ../../benchmarks/repair.py cost --exp exp/transformer12        time in passes of the deep model, peak memory

Every row is kept in --out as soon as it is measured; a run that was stopped goes on, and rows of other seeds can be
added with another --out. Rows are printed as a table at the end, with 95% intervals over utterances (bootstrap).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from measuring import measured, table

import comflp.models
from comflp.data.data_dir import read_data_dir
from comflp.experiment import read_proposal
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.repair import Calibration, calibration, repair
from comflp.repair.judge import Judge
from comflp.search.fine.evaluate import evaluate

FAMILIES = {
    "writers of the feed-forwards": ("linear2", "output_dense", "fc2"),
    "readers of the feed-forwards": ("linear1", "intermediate_dense", "fc1"),
    "readers of the attention": ("in_proj", "q_proj", "k_proj", "v_proj"),
    "writers of the attention": ("out_proj",),
    "output projection": ("output",),
}


class Rows:
    """Measured rows in a file of JSON lines, by a key."""

    def __init__(self, path):
        self.path, self.rows = path, {}
        for line in path.read_text().splitlines() if path.exists() else []:
            row = json.loads(line)
            self.rows[row["key"]] = row

    def of(self, key, measure):
        if key not in self.rows:
            self.rows[key] = {"key": key, **measure()}
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[key]) + "\n")
        return self.rows[key]


class Bench:
    """What all tables measure with."""

    def __init__(self, options):
        self.options = options
        self.deep = comflp.models.load(options.exp / "deep")
        self.test, self.probe = (read_data_dir(options.data / name) for name in ("test", options.probe))
        self.rows = Rows(options.out)
        self._calibrations = {}

    def score(self, model):
        """Errors and reference length of every test utterance."""
        nothing = PruningProposal(model.num_layers, ())
        counts = evaluate(model, [nothing], self.test).counts[nothing]
        return {"errors": counts[:, :3].sum(axis=1).tolist(), "lengths": (counts[:, 0] + counts[:, 1] + counts[:, 3]).tolist()}

    def calibration(self, utterances, seed=0):
        key = utterances, seed
        if key not in self._calibrations:
            self._calibrations = {key: Calibration(Speech(self.deep, self.probe).drawn(utterances, seed), seed)}
        return self._calibrations[key]

    def deep_row(self):
        return self.rows.of("deep", lambda: self.score(self.deep))

    def pruned_row(self, proposal):
        return self.rows.of(f"{proposal} pruned", lambda: self.score(self.deep.prune(proposal)))

    def repaired_row(self, proposal, utterances, seed=0):
        def measure():
            model = self.calibration(utterances, seed).repair(self.deep.prune(proposal))
            done = model.origin["pruning"][-1]["repair"]
            return {**self.score(model), "kept": len(done["kept"]), "maps": len(done["kept"]) + len(done["refitted"])}

        return self.rows.of(f"{proposal} repaired {utterances} {seed}", measure)

    def chosen(self, num_prune, name):
        """The proposal of a name; ``random0``, ``random1``... are drawn."""
        if not name.startswith("random"):
            return read_proposal(self.options.exp / f"prune{num_prune}" / name / "proposal.json")
        generator = np.random.default_rng([num_prune, int(name.removeprefix("random"))])
        removed = 1 + generator.choice(self.deep.num_layers, num_prune, replace=False)
        return PruningProposal.from_layers(removed.tolist(), self.deep.num_layers)


def percent(row):
    """Error rate in percent with its 95% interval."""
    errors, lengths = np.array(row["errors"]), np.array(row["lengths"])
    weights = np.random.default_rng(0).multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=2000)
    low, high = np.quantile(100 * (weights @ errors) / (weights @ lengths), [0.025, 0.975])
    return f"{100 * errors.sum() / lengths.sum():.2f} [{low:.2f}, {high:.2f}]"


def states(bench):
    """Deep, pruned and repaired for each N, choice of layers and number of utterances."""
    rows = []
    for num_prune in bench.options.num_prune:
        for name in bench.options.choices:
            proposal = bench.chosen(num_prune, name)
            row = {"N": num_prune, "choice": name, "removed": str(proposal), "deep": percent(bench.deep_row())}
            row["pruned"] = percent(bench.pruned_row(proposal))
            for utterances in bench.options.sizes:
                row[f"repaired, {utterances:,}"] = percent(bench.repaired_row(proposal, utterances))
            rows.append(row)
    return rows


def sizes(bench):
    """One proposal with 16 to 2,048 utterances, as far as there are so many."""
    proposal = bench.chosen(6, bench.options.choices[0])
    known = [size for size in (16, 32, 64, 128, 256, 512, 1024, 2048) if size <= len(bench.probe)]
    rows = [bench.repaired_row(proposal, size) for size in known]
    return [
        {"utterances": size, "repaired": percent(row), "maps that keep their weights": f"{row['kept']} of {row['maps']}"}
        for size, row in zip(known, rows)
    ]


def maps(bench):
    """Each family of maps alone: the judge refuses all others."""
    proposal, utterances = bench.chosen(6, bench.options.choices[0]), 256
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
        num_prune = (4, 6, 8)[number % 3]
        proposal = bench.chosen(num_prune, f"random{number}")
        row = {"N": num_prune, "removed": str(proposal), "pruned": percent(bench.pruned_row(proposal))}
        rows.append({**row, "repaired, 16": percent(bench.repaired_row(proposal, 16, number))})
    mean = {key: f"{np.mean([float(row[key].split()[0]) for row in rows]):.2f}" for key in ("pruned", "repaired, 16")}
    return [*rows, {"N": "mean", "removed": "", **mean}]


def cost(bench):
    """A repair in passes of the deep model over the same utterances, and the peak of the memory of a process of its own."""
    proposal = str(bench.chosen(6, bench.options.choices[0]))
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


TABLES = {"states": states, "sizes": sizes, "maps": maps, "harm": harm, "cost": cost}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("table", choices=TABLES)
    arguments.add_argument("--exp", type=Path, required=True, help="experiment directory, with the deep model and its searches")
    arguments.add_argument("--data", type=Path, default="data", help="folder of the data sets")
    arguments.add_argument("--probe", default="probe", help="data set that the repair reads")
    arguments.add_argument("--out", type=Path, default="repair.jsonl", help="file of the rows measured so far")
    arguments.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    arguments.add_argument("--choices", nargs="+", default=["skip_kl_coarse", "dc_coarse", "top", "uniform", "random0"],
                           help="proposals of the experiment, or random0, random1...")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="utterances to repair with")
    options = arguments.parse_args()
    print(table(TABLES[options.table](Bench(options))))


if __name__ == "__main__":
    main()
