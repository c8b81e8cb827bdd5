"""Fig. 2 (b): error rate against the number of removed layers."""

from __future__ import annotations

import statistics
from collections import defaultdict

from comflp.report.charts import curves
from comflp.report.collect import Experiment
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.names import label, method
from comflp.report.palette import colour_of
from comflp.result_names import COARSE, ProposalName


def section(experiment: Experiment, metric: str) -> Section:
    """One line a method, over every N that was searched."""
    points = _points(experiment)
    num_prunes = sorted({n for values in points.values() for n in values})
    rows = [(label(name), *(values.get(n) for n in num_prunes)) for name, values in points.items()]
    table = Table("error_rate_by_n", [Column("Method"), *(Column(f"N={n}", ".2f") for n in num_prunes)], rows,
                  f"{metric} on the validation set, no fine-tuning", folded=len(num_prunes) > 1)
    figures, missing = [], []
    if len(num_prunes) > 1:
        series = [(label(name), sorted(values.items()), colour_of(method(name)), "dashed" if name.search == COARSE else "solid")
                  for name, values in points.items()]
        figures.append(Figure("error_rate_by_n", curves("error_rate_by_n", series, "layers removed (N)", f"{metric} (%)",
                                                        f"{metric} against the number of removed layers"),
                              "Each method's proposal, before fine-tuning; Random is the mean of its draw."))
    elif num_prunes:
        missing.append(f"Only N={num_prunes[0]} has been searched. Stages 3 and 4 with a range, such as `--num-prune 1:8`, "
                       "make the curve.")
    else:
        missing.append("No proposal has been decoded yet: stage 4 (fine search) does.")
    return Section(
        "depth",
        "How many layers can go",
        ["Error rate on the validation set against the number of removed layers (Fig. 2 b). Coarse is the proposal of highest "
         "quality; fine is the best of the K candidates after decoding them."] if rows else [],
        figures, [table] if rows else [], missing,
    )


def _points(experiment: Experiment) -> dict[ProposalName, dict[int, float]]:
    random = ProposalName("random")
    points: dict[ProposalName, dict[int, float]] = defaultdict(dict)
    for entry in experiment.chosen:
        if entry.error_rate is not None and entry.name != random:
            points[entry.name][entry.num_prune] = entry.error_rate
    for entry in experiment.lists:
        if entry.name == random.list and entry.rates:
            points[random][entry.num_prune] = statistics.fmean(entry.rates)
    return points
