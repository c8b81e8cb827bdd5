#!/usr/bin/env python3
"""Table 1 of the paper over several deep models of one recipe: mean and standard deviation, as Markdown.

    python steps/table_of_seeds.py --exp "exp/transformer12 exp/seed2 exp/seed3" --num-prune 6 --tag e2

Reads what stages 5 and 6 left; a run that is missing for some of the models is shown with the number that it has.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import option_types
from cli import run

from comflp.artifacts import atomic_path
from comflp.cli.terminal import parser
from comflp.errors import ComflpError
from comflp.report.collect import collect, metric_of
from comflp.report.names import label
from comflp.scoring import METRICS
from comflp.target import layer_counts

ORDER = ("scratch", "scratch_frontend", "top", "uniform", "random", "glp", "dc_coarse", "svcca_coarse", "dc_fine", "svcca_fine")
"""Names in the order of the paper's Table 1; others follow."""
STATES = "pruned", "repaired", "finetuned"
MARKS = {"pruned": ("oC7", "pruned", False), "repaired": ("DC2", "repaired", False), "finetuned": ("oC0", "fine-tuned", True),
         "finetuned_distill_both": ("sC1", "fine-tuned and distilled", True), "finetuned_repaired": ("DC2", "fine-tuned from the repaired model", True)}
"""State -> mark and colour, words, whether the mark is filled."""


def parse_options():
    arguments = parser(__doc__)
    arguments.add_argument("--exp", required=True, help="experiment directories, separated by spaces")
    arguments.add_argument("--num-prune", type=option_types.some_name, required=True, help="N, layers removed: 6, or encoder=1+decoder=2")
    arguments.add_argument("--data", type=option_types.some_name, default="test", help="decoded set whose error rates are shown")
    arguments.add_argument("--metric", choices=METRICS, help="error rate that is shown; the first experiment's own if left out")
    arguments.add_argument("--tag", type=option_types.name, default="", help="tag of the fine-tuning runs, as stage 5 was given it")
    arguments.add_argument("--figure", type=option_types.picture, help="picture of the table to write")
    return arguments.parse_args()


def main():
    options = parse_options()
    paths = options.exp.split()
    if not paths:
        raise ComflpError("--exp names no experiment directory")
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise ComflpError(f"--exp {options.exp} names an experiment twice; its deviations would be too small")
    options.metric = options.metric or metric_of(paths[0])
    experiments = [collect(path, options.metric) for path in paths]
    wanted = layer_counts(options.num_prune, experiments[0].stacks)
    if len(wanted) > 1:
        raise ComflpError(f"--num-prune {options.num_prune} is {len(wanted)} numbers of layers, and a table is of one")
    cases = runs_by_name(experiments, wanted[0], options.tag)
    if not cases:
        raise ComflpError(f"no fine-tuned model with N={options.num_prune} and tag {options.tag!r} in {options.exp}; "
                          "stages 5 and 6 make and decode them")
    if not any(rates(group, state, options.data) for group in cases.values() for state in STATES):
        raise ComflpError(f"none of the models in {options.exp} was decoded on {options.data}; stage 6 does that")
    cases = dict(sorted(cases.items(), key=lambda item: order(*item[0])))
    deep = [rate for experiment in experiments if experiment.deep and (rate := experiment.deep.rate(options.data)) is not None]
    print_table(cases, deep, options)
    if options.figure:
        draw(cases, deep, options)


def print_table(cases, deep, options):
    """One row a model: its correlation, error rates as pruned and repaired, after every epoch on dev, and after the last."""
    data, metric = options.data, options.metric.upper()
    num_epochs = max(len(case.log) for group in cases.values() for _, case in group)
    epochs = [f"dev after {number}" for number in range(1, num_epochs + 1)]
    columns = ["model", "v(P), DC", f"{metric} on {data}, pruned", "repaired", *epochs, f"{data}, fine-tuned", "seeds"]
    print("| " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) - 1) + "|")
    print_row(["Deep model", "", "", "", *[""] * num_epochs, spread(deep), len(deep)])
    for (name, settings), group in cases.items():
        dev = [[case.log[epoch].get("valid_error_rate") for _, case in group if epoch < len(case.log)] for epoch in range(num_epochs)]
        pruned, repaired, finetuned = (spread(rates(group, state, data)) for state in STATES)
        quality = spread([experiment.quality(case.proposal, "dc") for experiment, case in group], 4)
        print_row([label(name, settings), quality, pruned, repaired, *map(spread, dev), finetuned, len(group)])


def rates(group, state, data):
    """Error rates of a state of a row's models; none where one of them was not made or not decoded."""
    models = [getattr(case, state) for _, case in group]
    found = [rate for model in models if model and (rate := model.rate(data)) is not None]
    return found if len(found) == len(models) else []


def draw(cases, deep, options):
    """The table as a picture: a line a proposal, a mark a state, bars of one standard deviation over the deep models."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    names = list(dict.fromkeys(label(name) for name, _ in cases))
    figure = Figure(figsize=(7.5, 1.6 + 0.45 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    points = {kind: {} for kind in MARKS}
    for (name, settings), group in cases.items():
        for state, kind in zip(STATES, (*STATES[:2], str(settings))):
            if kind in points and (values := rates(group, state, options.data)):
                points[kind].setdefault(names.index(label(name)), values)
    for number, (kind, found) in enumerate(points.items()):
        if found:
            mark, words, filled = MARKS[kind]
            bars = [np.std(values, ddof=1) if len(values) > 1 else 0 for values in found.values()]
            axes.errorbar([np.mean(values) for values in found.values()], [place + 0.13 * (number - 2) for place in found], xerr=bars, fmt=mark,
                          linestyle="none", markersize=6, capsize=2, linewidth=1, markerfacecolor=None if filled else "white", label=words)
    if deep:
        axes.axvline(np.mean(deep), color="k", linewidth=0.8, label="deep model")
    axes.set(xscale="log", xlabel=f"{options.metric.upper()} on {options.data} (%)", yticks=range(len(names)), yticklabels=names)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    with atomic_path(options.figure) as temporary:
        figure.savefig(temporary, dpi=110, format=options.figure.suffix[1:])


def runs_by_name(experiments, counts, tag):
    """(name of the proposal, settings of the training without the tag) -> [(experiment, run)]."""
    found = defaultdict(list)
    for experiment in experiments:
        for case in experiment.runs:
            if str(case.counts) == str(counts) and case.finetuned and case.settings.tag == tag:
                found[case.name, replace(case.settings, tag="")].append((experiment, case))
    return found


def order(name, settings):
    """Rows in the order of the paper's Table 1, those with distillation or from repaired models after all without."""
    text = str(name)
    return settings.distill != "none", settings, ORDER.index(text) if text in ORDER else len(ORDER), text


def spread(values, decimals=2):
    """``mean +- standard deviation`` of the values that are there.

    >>> spread([1.0, 2.0, None]), spread([3.0]), spread([])
    ('1.50 +- 0.71', '3.00', '')
    """
    values = [value for value in values if value is not None]
    if not values:
        return ""
    deviation = f" +- {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{decimals}f}{deviation}"


def print_row(cells):
    print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    run(main)
