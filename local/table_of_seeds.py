#!/usr/bin/env python3
"""Table 1 of the paper over several deep models of one recipe: mean and standard deviation, as Markdown.

    python steps/table_of_seeds.py --exp "exp/transformer12 exp/seed2 exp/seed3" --num-prune 6 --tag e2

Reads what stages 5 and 6 left; a run that is missing for some of the models is shown with the number that it has.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import option_types
from cli import parser, run

from comflp.errors import ComflpError
from comflp.report.collect import collect
from comflp.report.names import label

ORDER = ("scratch", "scratch_frontend", "top", "uniform", "random", "glp", "dc_coarse", "svcca_coarse", "dc_fine", "svcca_fine")
"""Names in the order of the paper's Table 1; others follow."""


def parse_options():
    arguments = parser(__doc__)
    arguments.add_argument("--exp", required=True, help="experiment directories, separated by spaces")
    arguments.add_argument("--num-prune", type=option_types.positive, required=True, help="N, layers removed")
    arguments.add_argument("--data", type=option_types.some_name, default="test", help="decoded set whose error rates are shown")
    arguments.add_argument("--tag", type=option_types.name, default="", help="of the fine-tuning runs, as stage 5 was given it")
    return arguments.parse_args()


def main():
    options = parse_options()
    experiments = [collect(path) for path in options.exp.split()]
    cases = runs_by_name(experiments, options)
    if not cases:
        raise ComflpError(f"no fine-tuned model with N={options.num_prune} and tag {options.tag!r} in {options.exp}; "
                          "stages 5 and 6 make and decode them")
    if not any(model.rate(options.data) is not None for group in cases.values() for _, case in group
               for model in (case.pruned, case.finetuned) if model):
        raise ComflpError(f"none of the models in {options.exp} was decoded on {options.data}; stage 6 does that")
    num_epochs = max(len(case.log) for group in cases.values() for _, case in group)
    epochs = [f"dev after {number}" for number in range(1, num_epochs + 1)]
    columns = ["model", "v(P), DC", f"{options.data}, pruned", *epochs, f"{options.data}, fine-tuned", "seeds"]
    print("| " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) - 1) + "|")
    deep = [experiment.deep.rate(options.data) for experiment in experiments if experiment.deep]
    print_row(["Deep model", "", *[""] * (num_epochs + 1), spread(deep), len(experiments)])
    for (name, settings), group in sorted(cases.items(), key=lambda item: order(*item[0])):
        dev = [[case.log[epoch]["valid_error_rate"] for _, case in group if epoch < len(case.log)] for epoch in range(num_epochs)]
        print_row([
            label(name, settings),
            spread([experiment.quality(case.proposal, "dc") for experiment, case in group], 4),
            spread([case.pruned.rate(options.data) for _, case in group if case.pruned]),
            *map(spread, dev),
            spread([case.finetuned.rate(options.data) for _, case in group if case.finetuned]),
            len(group),
        ])


def runs_by_name(experiments, options):
    """(name of the proposal, settings of the training without the tag) -> [(experiment, run)]."""
    found = defaultdict(list)
    for experiment in experiments:
        for case in experiment.runs:
            if case.num_prune == options.num_prune and case.finetuned and case.settings.tag == options.tag:
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
