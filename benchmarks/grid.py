#!/usr/bin/env python3
"""The repaired models of a grid on a decoded set: error rates with no utterance above 100%, and how sure their differences are.

    cd recipes/whisper && . ./path.sh
    python ../../benchmarks/grid.py --exp exp/whisper-tiny.en-en

Of each number of layers the first row is what the search puts first (its candidates.json); the others are what else was repaired and decoded,
the best first, with the 95% interval of their rate less the first one's (paired bootstrap over utterances). The divergence from the
deep model, in nats, is the repair's own, on the utterances that it held out. Below the table is how each of these orders the repaired rates.
"""

import argparse
from pathlib import Path

from measuring import table
from scipy.stats import spearmanr

from comflp import report
from comflp.artifacts import read_json
from comflp.report.collect import metric_of
from comflp.scoring import capped_counts
from comflp.search.fine.bootstrap import difference, rate_interval


def first_of(experiment, counts, measure):
    """What a search puts first for so many layers; None where it was not run."""
    for entry in experiment.lists:
        if entry.counts == counts and str(entry.name) == measure and (entry.searched or {}).get("candidates"):
            return entry.proposal(entry.searched["candidates"][0])
    return None


def row_of(exp, run, name):
    """(capped counts of the repaired model; the row of a run without the difference; what might tell the repaired rate, and that)."""
    repaired, pruned = (capped_counts(model.rates[name].counts.values) for model in (run.repaired, run.pruned))
    before, after = read_json(exp / run.repaired.path / "record.json")["facts"]["divergence"]
    low, high = rate_interval(repaired)
    signs = {"pruned rate": rate(pruned), "divergence before": before, "after": after, "repaired": rate(repaired)}
    return repaired, {
        "removed": str(run.proposal), "divergence": f"{before:.2f}", "after": f"{after:.2f}", "pruned": f"{rate(pruned):.1f}",
        "repaired": f"{rate(repaired):.1f} [{low:.1f}, {high:.1f}]", "raw": f"{run.repaired.rates[name].value:.1f}", "less the first": "",
        "parameters": f"{run.repaired.num_parameters / 1e6:.1f} M",
    }, signs


def rate(counts):
    """Error rate in percent."""
    return 100 * counts[:, :3].sum() / counts[:, [0, 1, 3]].sum()


def cell(exp, runs, first, name):
    """The rows of the runs of one number of layers, each with its signs; first: the proposal that the others are compared with."""
    found = [(run.proposal == first, *row_of(exp, run, name)) for run in runs]
    found.sort(key=lambda each: (not each[0], rate(each[1])))
    reference = found[0][1]
    for _, counts, row, _ in found[1:]:
        less = difference(counts, reference)
        row["less the first"] = f"{less.value:+.1f} [{less.low:+.1f}, {less.high:+.1f}]"
    return [(row, signs) for _, _, row, signs in found]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exp", type=Path, required=True, help="experiment whose pruned models were repaired and decoded")
    arguments.add_argument("--set", default="test", help="the decoded set")
    arguments.add_argument("--measure", default="skip_kl", help="the search whose first choice the others are compared with")
    options = arguments.parse_args()
    experiment, rows = report.collect(options.exp, metric_of(options.exp)), []
    for counts in experiment.counts:
        runs = {run.proposal: run for run in experiment.runs
                if run.counts == counts and run.proposal and run.repaired and options.set in run.repaired.rates and options.set in run.pruned.rates}
        first = first_of(experiment, counts, options.measure)
        if first in runs:
            rows += cell(options.exp, runs.values(), first, options.set)
    if not rows:
        raise SystemExit(f"grid.py: what --measure {options.measure} puts first is nowhere repaired and decoded on {options.set}")
    print(table([row for row, _ in rows]))
    repaired = [signs["repaired"] for _, signs in rows]
    found = {sign: spearmanr([signs[sign] for _, signs in rows], repaired).statistic for sign in ("pruned rate", "divergence before", "after")}
    print(f"\nSpearman with the repaired rate, {len(rows)} models: " + ", ".join(f"{sign} {value:.2f}" for sign, value in found.items()))


if __name__ == "__main__":
    main()
