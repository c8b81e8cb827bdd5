#!/usr/bin/env python3
"""Do the searches, the measures and the repair hold for deeper models? One deep model a run, a table of several.

    cd recipes/fsdd && . ./path.sh && ./run.sh --config conf/deep24.conf --corpus DIR --stop-stage 0
    python ../../benchmarks/depth.py run --model exp/deep24/deep --out exp/deep24/depth
    python ../../benchmarks/depth.py table exp/deep24/depth exp/deep48/depth
    python ../../benchmarks/depth.py figure exp/deep24/depth exp/deep48/depth --out depth.png

``run`` prunes to a half, a quarter and an eighth of the layers: measures with what they cost, their rank correlation with the
error rates of random proposals, their ten best decoded, refinement, GLP, rules, repaired winners, and the beam against the
exact search. Each part is kept in ``--out``; a run that was stopped goes on.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from measuring import layer_runs, mean_and_deviation
from measuring import table as markdown
from scipy import stats
from tqdm import tqdm
from weak_models import FORBIDDEN, keep_options, kept, rate

import comflp.models
from comflp.artifacts import read_json
from comflp.data.data_dir import read_data_dir
from comflp.inference.hidden_states import collect
from comflp.inference.output_change import output_changes
from comflp.inference.speech import Speech
from comflp.measures import correlation_matrix, skip_matrix
from comflp.measures.skip import single_blocks
from comflp.proposal import PruningProposal
from comflp.repair import Calibration
from comflp.search import BlockMatrix, baselines, coarse_search, coarse_searches
from comflp.search.baselines.greedy import glp
from comflp.search.coarse.refine import Refinement
from comflp.search.coarse.search import beam_against_exact
from comflp.search.fine.evaluate import evaluate

K = 10
SKIP = {"skip_kl": None, **{f"skip_kl, blocks of {size}": size for size in (1, 2, 4)}}
REFINED = {"refined": "skip_kl", "blocks of 2, refined": "skip_kl, blocks of 2"}
RULES = ("top", "uniform")
DRAWN = (("uniform", "first", "evenly spaced", "s:C7"), ("top", "first", "top dropped", "v:C3"), ("glp", "first", "GLP, with labels", "^:C1"),
         ("blocks of 2, refined", "first", "skip_kl, refined", "o:C0"), ("top", "repaired", "top dropped, repaired", "v-C3"),
         ("blocks of 2, refined", "repaired", "skip_kl, refined, repaired", "o-C0"))
REPAIRED = ("dc", "skip_kl", *REFINED, "glp", *RULES, "random")


class Case:
    """A deep model with its data, and where its results lie."""

    def __init__(self, options):
        self.options, self.out = options, Path(options.out)
        self.model = comflp.models.load(options.model)
        self.layers = self.model.num_layers
        self.nums = [self.layers - self.layers // part for part in (2, 4, 8)]
        data = Path(options.data)
        self.probe = Speech(self.model, read_data_dir(data / "probe"), progress=tqdm)
        self.valid, self.test = (Speech(self.model, read_data_dir(data / name)).drawn(number, options.seed).data
                                 for name, number in (("valid", options.valid), ("test", options.test)))

    def kept(self, name, make):
        return kept(self.out / f"{name}.json", make)

    def proposal(self, text):
        return PruningProposal.parse(text, self.layers)

    def passes(self, proposals, utterances):
        """What walking over ``proposals`` costs: passes of the deep model over one utterance."""
        return layer_runs(proposals) * utterances / self.layers

    def matrix(self, name):
        found = self.kept("matrices", self.matrices)[name]
        return BlockMatrix(np.array(found["values"]), name in SKIP)

    def matrices(self):
        """Measure -> its matrix, its cost in passes and its seconds."""
        drawn = {"dc": 40, "svcca": self.options.hidden}
        makers = {name: lambda name=name, number=number: correlation_matrix(
            collect(self.model, self.probe.drawn(number, self.options.seed).data), name, self.options.seed) for name, number in drawn.items()}
        passes = dict(drawn)
        for name, longest in SKIP.items():
            makers[name] = lambda longest=longest: np.minimum(
                skip_matrix(self.probe, "skip_kl", self.options.seed, num_utterances=16, max_block=longest), FORBIDDEN)
            passes[name] = self.passes([self.model.nothing, *single_blocks(self.layers, longest)], 16)
        found = {}
        for name, make in makers.items():
            began = time.monotonic()
            found[name] = {"values": make().tolist(), "passes": passes[name], "seconds": time.monotonic() - began}
        return found

    def drawn(self, num_prune):
        return baselines.random(self.layers, num_prune, self.options.seed, self.options.random)

    def random_changes(self):
        """Random proposal, of every N -> its change of the output, as refinement orders by."""
        heard = self.probe.drawn(self.options.utterances, self.options.seed)
        changes = output_changes(heard, [p for n in self.nums for p in self.drawn(n)], Refinement.kind)
        return {str(proposal): float(change) for proposal, change in changes.items()}

    def refined(self):
        """Refined list -> N -> its ten best, the size of the pool, and what running the pool cost."""
        found = {}
        for name, measure in REFINED.items():
            found[name] = {}
            refinement = Refinement(100, self.options.utterances, self.options.seed)
            for n in self.nums:
                result = refinement.search(self.probe, self.matrix(measure), [n], K)[n]
                pool = [c.proposal for c in coarse_search(self.matrix(measure), n, result.pool)]
                found[name][n] = {"best": [str(c.proposal) for c in result.candidates], "pool": result.pool,
                                  "passes": self.passes(pool, self.options.utterances)}
        return found

    def greedy(self):
        heard = Speech(self.model, self.valid).drawn(self.options.greedy, self.options.seed).data
        steps = glp(self.model, max(self.nums), heard, progress=tqdm)
        share = len(heard) / steps[0].evaluation.num_batches / self.layers
        return {n: {"best": [str(steps[n - 1].best.proposal)], "passes": steps[n - 1].search_cost["layer_runs"] * share} for n in self.nums}

    def lists(self):
        """N -> list -> proposals, best first, and the cost of finding them (decoding them not counted)."""
        lists = {n: {} for n in self.nums}
        matrices = self.kept("matrices", self.matrices)
        for name in matrices:
            for n, candidates in coarse_searches(self.matrix(name), self.nums, K).items():
                lists[n][name] = {"best": [str(c.proposal) for c in candidates], "passes": matrices[name]["passes"]}
        for name, found in self.kept("refined", self.refined).items():
            for n in self.nums:
                entry = found[str(n)]
                lists[n][name] = {**entry, "passes": entry["passes"] + matrices[REFINED[name]]["passes"]}
        greedy = self.kept("glp", self.greedy)
        for n in self.nums:
            lists[n]["glp"] = greedy[str(n)]
            lists[n] |= {rule: {"best": [str(p) for p in baselines.FIXED[rule](self.layers, n)], "passes": 0} for rule in RULES}
            lists[n]["random"] = {"best": [str(p) for p in self.drawn(n)[:K]], "passes": 0}
        return lists

    def rates(self, name, proposals, data):
        """Proposal -> error rate in percent, of the deep model too."""

        def make():
            found = evaluate(self.model, [self.model.nothing, *map(self.proposal, sorted(proposals))], data, progress=tqdm)
            return {str(proposal): rate(counts.tolist()) for proposal, counts in found.counts.items()}

        return self.kept(name, make)

    def repaired(self, firsts):
        """Proposal -> error rate on test after a repair."""
        calibration = Calibration(self.probe.drawn(256, self.options.seed), self.options.seed)
        found = {}
        for text in tqdm(sorted(firsts), desc="repair"):
            model = calibration.repair(self.model.prune(self.proposal(text)))
            (counts,) = evaluate(model, [model.nothing], self.test).counts.values()
            found[text] = rate(counts.tolist())
        return found


def run(options):
    case = Case(options)
    keep_options(case.out, options)
    lists, changes = case.lists(), case.kept("random", case.random_changes)
    listed = {text for by_name in lists.values() for entry in by_name.values() for text in entry["best"]}
    on_valid = case.rates("valid", listed | set(changes), case.valid)
    winners = {n: {name: min(entry["best"], key=on_valid.get) for name, entry in by_name.items()} for n, by_name in lists.items()}
    firsts = {n: {name: entry["best"][0] for name, entry in by_name.items()} for n, by_name in lists.items()}
    chosen = {text for found in (winners, firsts) for by_name in found.values() for text in by_name.values()}
    on_test = case.rates("test", chosen, case.test)
    repaired = case.kept("repaired", lambda: case.repaired({firsts[n][name] for n in case.nums for name in REPAIRED}))
    nothing = str(case.model.nothing)
    summary = {"layers": case.layers, "parameters": case.model.num_parameters, "valid": on_valid[nothing], "test": on_test[nothing], "by_num": {}}
    matrices = case.kept("matrices", case.matrices)
    for n, by_name in lists.items():
        drawn = [str(p) for p in case.drawn(n)]
        rates = [on_valid[text] for text in drawn]
        rows = {}
        for name, entry in by_name.items():
            costs = None
            if name in matrices:
                matrix = case.matrix(name)
                costs = [-matrix.quality(case.proposal(text)) for text in drawn]
            elif name == "refined":
                costs = [changes[text] for text in drawn]
            rows[name] = {
                "passes": entry["passes"], "spearman": costs and float(stats.spearmanr(costs, rates).statistic),
                "ten": float(np.mean([on_valid[text] for text in entry["best"]])), "first": on_test[firsts[n][name]],
                "winner": on_test[winners[n][name]], "repaired": repaired[firsts[n][name]] if name in REPAIRED else None,
                "layers": firsts[n][name],
            }
        dc = case.matrix("dc")
        exact = {n: coarse_search(dc, n, K)}
        beam = beam_against_exact(dc, exact, "exact", K)[n]["found_by_beam"]
        summary["by_num"][n] = {"random": [min(rates), float(np.mean(rates)), max(rates)], "beam": beam, "rows": rows}
    (case.out / "summary.json").unlink(missing_ok=True)
    case.kept("summary", lambda: summary)


def by_depth(options):
    """The summaries of the folders as (layers, summaries of such models, their cases of each N), the shallowest first."""
    summaries = [read_json(Path(folder) / "summary.json") for folder in options.folders]
    for layers in sorted({summary["layers"] for summary in summaries}):
        same = [summary for summary in summaries if summary["layers"] == layers]
        yield layers, same, [[summary["by_num"][num] for summary in same] for num in same[0]["by_num"]]


def table(options):
    for layers, same, cases in by_depth(options):
        rates = {name: mean_of([summary[name] for summary in same], "{:.2f}") for name in ("valid", "test")}
        print(f"{layers} layers, {same[0]['parameters'] / 1e6:.1f} M parameters; CER {rates['valid']} on valid, {rates['test']} on test"
              + (f", means of {len(same)} deep models with standard deviations" if len(same) > 1 else "")
              + f". Random proposals {over(cases, lambda case: case['random'][1])} on valid; the beam finds "
              f"{over(cases, lambda case: case['beam'], '{:.3g}')} of DC's true {K}. Figures at N={' / '.join(same[0]['by_num'])}:\n")
        print(markdown([
            {"layers by": name, "passes": over(cases, lambda case, name=name: case["rows"][name]["passes"], "{:,.0f}"),
             **{head: over(cases, lambda case, name=name, key=key: case["rows"][name][key], form) for head, key, form in (
                 ("Spearman", "spearman", "{:.2f}"), ("ten best, valid", "ten", "{:.1f}"), ("first", "first", "{:.1f}"),
                 ("winner", "winner", "{:.1f}"), ("first, repaired", "repaired", "{:.1f}"))}}
            for name in cases[0][0]["rows"]
        ]), end="\n\n")


def over(cases, value, form="{:.1f}"):
    """A value of each N as one text, of several deep models their mean; empty where there is none, one number where all are the same."""
    texts = [mean_of([value(case) for case in models], form) for models in cases]
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def mean_of(values, form):
    """The mean as text, with the standard deviation of several values that differ; empty where one is not there."""
    if None in values:
        return ""
    return mean_and_deviation(values[:1] if len(set(values)) == 1 else values, form)


def figure(options):
    depths = list(by_depth(options))
    drawing = Figure(figsize=(3.2 * len(depths), 3.6), layout="constrained")
    for panel, (layers, same, cases) in zip(drawing.subplots(1, len(depths), squeeze=False, sharey=True)[0], depths):
        stay = [layers, *(layers - int(num) for num in same[0]["by_num"])]
        whole = np.mean([summary["test"] for summary in same])
        for name, key, label, style in DRAWN:
            rates = [np.mean([case["rows"][name][key] for case in models]) for models in cases]
            panel.plot(stay, [whole, *rates], style, label=label, markersize=4)
        panel.set(title=f"{layers} layers", xlabel="layers that stay", xscale="log", yscale="log")
        for axis, ticks in ((panel.xaxis, stay), (panel.yaxis, [1, 2, 5, 10, 20, 50])):
            axis.set_major_locator(FixedLocator(ticks))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        panel.invert_xaxis()
    drawing.axes[0].set_ylabel("CER on test (%)")
    drawing.legend(*drawing.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    drawing.savefig(options.out, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="measure one deep model")
    one.add_argument("--model", required=True, help="directory of the deep model")
    one.add_argument("--data", default="data", help="folder with the data directories probe, valid and test")
    one.add_argument("--out", required=True, help="folder for results; what is there already is not made again")
    one.add_argument("--random", type=int, default=60, help="random proposals that measures are compared on")
    one.add_argument("--utterances", type=int, default=32, help="utterances that refinement runs on")
    one.add_argument("--hidden", type=int, default=640, help="utterances of svcca")
    one.add_argument("--valid", type=int, default=96, help="utterances that random proposals and fine search decode")
    one.add_argument("--greedy", type=int, default=96, help="how many of these GLP decodes at every step")
    one.add_argument("--test", type=int, default=200, help="utterances that first proposals and winners decode")
    one.add_argument("--seed", type=int, default=0, help="seed for the random draw of proposals and utterances")
    one.set_defaults(function=run)
    several = commands.add_parser("table", help="Markdown tables of several deep models; those of the same depth become one, of means")
    several.add_argument("folders", nargs="+")
    several.set_defaults(function=table)
    drawn = commands.add_parser("figure", help="error rates against the layers that stay")
    drawn.add_argument("folders", nargs="+")
    drawn.add_argument("--out", required=True, help="picture to write")
    drawn.set_defaults(function=figure)
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
