#!/usr/bin/env python3
"""Which measure finds the better pruned models: scores against error rates, and what each search ends with.

    python ../../benchmarks/measures.py run --exp exp/transformer12 --out seed1.json   # in recipes/fsdd
    python ../../benchmarks/measures.py table seed1.json seed2.json seed3.json
    python ../../benchmarks/measures.py figure seed1.json --out measures.png

``run`` takes an experiment directory after stage 2 with dc and svcca, measures the rest, and decodes, for each N, random
proposals and every method's ten best: valid chooses, test is reported. ``table`` prints Markdown over several deep models,
``figure`` draws scores against error rates for one.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from measuring import layer_runs, mean_and_deviation
from scipy import stats
from tqdm import tqdm

import comflp.models
from comflp.artifacts import read_json, write_json
from comflp.data.data_dir import read_data_dir
from comflp.errors import ComflpError
from comflp.measures import COST, MEASURES, MODEL, Speech, skip_matrix
from comflp.measures.matrix_file import read_matrix
from comflp.inference.output_change import output_changes
from comflp.measures.skip import NUM_UTTERANCES, single_blocks
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, baselines, coarse_search
from comflp.search.fine.evaluate import evaluate
from comflp.search.baselines.greedy import glp
from comflp.search.coarse.refine import KINDS, NUM_UTTERANCES as REFINE_UTTERANCES

K = 10
NAMES = ("dc", "svcca", "skip_kl", "skip_ctc", "skip_ctc_labelled")
BY_BLOCKS = (*NAMES, "skip_kl, pairs", "dc + skip_kl, ranks")
REFINED = {f"skip_kl, refined by {kind}": kind for kind in KINDS}
SCORES = (*BY_BLOCKS, *REFINED)
METHODS = (*SCORES, "uniform", "top", "random", "glp")


class Model:
    """One deep model with its matrices and data; ``score[name]`` maps every proposal to a score, higher is better."""

    def __init__(self, options):
        exp, data = Path(options.exp), Path(options.data)
        self.model = comflp.models.load(exp / "deep")
        self.num_layers = self.model.num_layers
        self.valid, self.test = (read_data_dir(data / name) for name in ("valid", "test"))
        self.num_random, self.num_refined, self.seed = options.random, options.refine, options.seed
        speech = Speech(self.model, read_data_dir(data / "probe"), progress=tqdm)
        self.speech = speech.drawn(options.num_utterances, self.seed)
        self.to_refine = speech.drawn(options.refine_utterances, self.seed)
        self.matrices = {
            name: skip_matrix(self.speech, name, num_utterances=options.num_utterances) if MEASURES[name].source == MODEL
            else read_matrix(exp / "correlation" / f"{name}.npy")
            for name in NAMES
        }
        self.num_hidden = read_json(exp / "correlation" / "svcca.json")["num_utterances"]
        self.pairs = None

    def measure_pairs(self):
        """(block, block) -> what both cost together beyond the sum of their costs."""
        size = self.num_layers + 1
        pairs = [
            PruningProposal(self.num_layers, ((a + 1, b), (c + 1, d))) for a, b, c, d in itertools.combinations(range(size), 4)
        ]
        costs = output_changes(self.speech, pairs, "kl")
        skip = self.matrices["skip_kl"]
        self.pairs = {p.blocks: costs[p] - p.block_values(skip).sum() for p in pairs}
        self.pair_runs = layer_runs(pairs) * len(self.speech.data)

    def score_of(self, name, proposals):
        """Scores of all proposals of one N, in their order."""
        if name in NAMES:
            matrix = BlockMatrix(self.matrices[name], MEASURES[name].kind == COST, MEASURES[name].unit_interval)
            return [matrix.quality(p) for p in proposals]
        if name == "skip_kl, pairs":
            additive = self.score_of("skip_kl", proposals)
            return [s - sum(self.pairs[pair] for pair in itertools.combinations(p.blocks, 2))
                    for p, s in zip(proposals, additive)]
        return sum(stats.rankdata(self.score_of(measure, proposals)) for measure in ("dc", "skip_kl"))


def search(model, num_prune):
    """Method -> {"proposals": its ten best, "runs": layers run to find them}, and random proposals with every score."""
    layers, probe = model.num_layers, len(model.speech.data)
    everything = [PruningProposal.from_layers(s, layers) for s in itertools.combinations(range(1, layers + 1), num_prune)]
    scores = {name: dict(zip(everything, model.score_of(name, everything))) for name in BY_BLOCKS}
    matrix_runs = layer_runs([PruningProposal(layers, ()), *single_blocks(layers)]) * probe
    runs = {"dc": layers * 40, "svcca": layers * model.num_hidden, **dict.fromkeys(NAMES[2:], matrix_runs),
            "skip_kl, pairs": matrix_runs + model.pair_runs, "dc + skip_kl, ranks": matrix_runs + layers * 40}
    lists = {}
    for name in BY_BLOCKS:
        best = sorted(everything, key=lambda p: (-scores[name][p], p.removed))[:K]
        lists[name] = {"proposals": best, "runs": runs[name]}
    exact = coarse_search(BlockMatrix(model.matrices["skip_kl"], is_cost=True), num_prune, model.num_refined)
    wanted = [candidate.proposal for candidate in exact]
    drawn = baselines.random(layers, num_prune, model.seed, model.num_random)
    for name, kind in REFINED.items():
        true = output_changes(model.to_refine, [*wanted, *drawn], kind)
        lists[name] = {
            "proposals": sorted(wanted, key=lambda p: (true[p], p.removed))[:K],
            "runs": matrix_runs + layer_runs(wanted) * len(model.to_refine.data),
        }
        scores[name] = {p: -cost for p, cost in true.items()}
    for name in ("uniform", "top"):
        lists[name] = {"proposals": baselines.FIXED[name](layers, num_prune), "runs": 0}
    lists["random"] = {"proposals": drawn[:K], "runs": 0}
    return lists, [{"proposal": p, **{name: float(scores[name][p]) for name in SCORES}} for p in drawn]


def run(options):
    began = time.monotonic()
    model = Model(options)
    model.measure_pairs()
    found = {n: search(model, n) for n in options.num_prune}
    steps = glp(model.model, max(found), model.valid, progress=tqdm)
    for n, (lists, _) in found.items():
        step = steps[n - 1]
        batches = step.evaluation.num_batches
        lists["glp"] = {"proposals": [step.best.proposal],
                        "runs": round(step.search_cost["layer_runs"] / batches * len(model.valid))}
    listed = {p for lists, _ in found.values() for entry in lists.values() for p in entry["proposals"]}
    random = {row["proposal"] for _, rows in found.values() for row in rows}
    on_valid = evaluate(model.model, sorted(listed | random), model.valid, progress=tqdm)
    on_test = evaluate(model.model, sorted(listed), model.test, progress=tqdm)
    nothing = PruningProposal(model.num_layers, ())
    result = {"exp": Path(options.exp).name, "num_layers": model.num_layers, "num_valid": len(model.valid),
              "deep": evaluate(model.model, [nothing], model.test).error_rate(nothing).rate, "by_num_prune": {}}
    for n, (lists, rows) in found.items():
        methods = {}
        for name, entry in lists.items():
            proposals = entry["proposals"]
            winner = min(proposals, key=lambda p: on_valid.error_rate(p).rate)
            fine = 0 if name == "glp" else layer_runs(proposals) * len(model.valid)
            methods[name] = {
                "test_mean": float(np.mean([on_test.error_rate(p).rate for p in proposals])),
                "test_first": on_test.error_rate(proposals[0]).rate,
                "test_winner": on_test.error_rate(winner).rate,
                "winner": str(winner), "first": str(proposals[0]),
                "coarse_runs": entry["runs"], "runs": entry["runs"] + fine,
            }
        rates = [on_valid.error_rate(row["proposal"]).rate for row in rows]
        result["by_num_prune"][n] = {
            "methods": methods,
            "spearman": {name: float(stats.spearmanr([row[name] for row in rows], np.negative(rates)).statistic)
                         for name in SCORES},
            "random": [{**row, "proposal": str(row["proposal"]), "rate": rate} for row, rate in zip(rows, rates)],
        }
    result["seconds"] = round(time.monotonic() - began, 1)
    write_json(options.out, result)


def table(options):
    results = [read_json(path) for path in options.files]
    print(f"{len(results)} deep models ({', '.join(r['exp'] for r in results)}), test CER "
          f"{mean_and_deviation([r['deep'] for r in results])}\n")
    for n in results[0]["by_num_prune"]:
        cases = [r["by_num_prune"][n] for r in results]
        print(f"N={n}, random proposals' CER on valid: "
              f"{mean_and_deviation([rate for case in cases for rate in (row['rate'] for row in case['random'])])}\n")
        most = np.mean([case["methods"]["glp"]["runs"] for case in cases])
        kept = [results[0]["num_layers"] - step for step in range(int(n))]
        alone = sum(layers * (layers - 1) for layers in kept) * results[0]["num_valid"]
        print(f"GLP's layer runs with shared prefixes and kept states: {most / alone:.2f} of one model at a time\n")
        print("| method | Spearman(score, -CER) | ten best, mean test CER | first, test CER | fine search's winner, test CER "
              "| layer runs of coarse search, of GLP's | with fine search |\n|---|---:|---:|---:|---:|---:|---:|")
        for name in METHODS:
            rows = [case["methods"][name] for case in cases]
            agreement = mean_and_deviation([case["spearman"][name] for case in cases]) if name in SCORES else ""
            shares = [f"{np.mean([row[key] for row in rows]) / most:.2f}" for key in ("coarse_runs", "runs")]
            rates = [mean_and_deviation([row[f"test_{key}"] for row in rows]) for key in ("mean", "first", "winner")]
            print(f"| {name} | {agreement} | {' | '.join(rates)} | {' | '.join(shares)} |")
        print()


def figure(options):
    result = read_json(options.file)
    names, cases = ("dc", "svcca", "skip_kl", f"skip_kl, refined by {KINDS[0]}"), result["by_num_prune"]
    drawing = Figure(figsize=(3.2 * len(names), 2.6 * len(cases)), layout="constrained")
    axes = drawing.subplots(len(cases), len(names), squeeze=False, sharey="row")
    for row, (n, case) in zip(axes, cases.items()):
        for panel, name in zip(row, names):
            is_cost = name.startswith("skip")
            scores = [max(-r[name], 1e-3) if is_cost else r[name] for r in case["random"]]
            panel.scatter(scores, [r["rate"] for r in case["random"]], s=9, color="#12857a", alpha=0.7)
            panel.set_title(f"{name}, N={n}: Spearman {case['spearman'][name]:.2f}", fontsize=9)
            panel.tick_params(labelsize=7)
            if is_cost:
                panel.set_xscale("log")
                panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.xaxis.set_major_formatter("{x:g}")
                panel.xaxis.set_minor_formatter(NullFormatter())
                panel.invert_xaxis()  # better to the right, as for the others
        row[0].set_ylabel("CER on valid (%)", fontsize=8)
    for panel, name in zip(axes[-1], names):
        panel.set_xlabel("v(P)" if name in ("dc", "svcca") else "cost, nats a frame or label", fontsize=8)
    drawing.savefig(options.out, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="measure one deep model")
    one.add_argument("--exp", required=True, help="experiment directory after stage 2 with dc and svcca")
    one.add_argument("--data", default="data", help="folder with the data directories probe, valid and test")
    one.add_argument("--out", required=True, help="JSON file of the results")
    one.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    one.add_argument("--random", type=int, default=100, help="random proposals that scores are compared on")
    one.add_argument("--refine", type=int, default=100, help="proposals that refinement runs")
    one.add_argument("--num-utterances", type=int, default=NUM_UTTERANCES, help="utterances that skip measures run on")
    one.add_argument("--refine-utterances", type=int, default=REFINE_UTTERANCES, help="utterances that refinement runs on")
    one.add_argument("--seed", type=int, default=0, help="seed for the random draw of proposals and of these utterances")
    one.set_defaults(function=run)
    several = commands.add_parser("table", help="Markdown tables over the results of several deep models")
    several.add_argument("files", nargs="+")
    several.set_defaults(function=table)
    drawn = commands.add_parser("figure", help="scores against error rates of one deep model")
    drawn.add_argument("file")
    drawn.add_argument("--out", required=True, help="picture to write")
    drawn.set_defaults(function=figure)
    options = parser.parse_args()
    try:
        options.function(options)
    except ComflpError as error:
        sys.exit(f"measures.py: error: {error}")


if __name__ == "__main__":
    main()
