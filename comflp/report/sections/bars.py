"""Fig. 2 (a): what the candidates of each list are worth before fine-tuning."""

from __future__ import annotations

import statistics

from comflp.report.charts import bars
from comflp.report.collect import Experiment, SearchList
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.names import label, method
from comflp.report.palette import colour_of
from comflp.result_names import ListName

LINES = (ListName("glp"), ListName("top"))
"""Lists of which a figure shows the best as a line, as the paper does."""


def section(experiment: Experiment, metric: str) -> Section:
    """Bars of mean and deviation for measures, reverse searches and random draws; lines for GLP and top drop."""
    figures, rows, missing = [], [], []
    for num_prune in experiment.num_prunes:
        decoded = {entry.name: entry for entry in experiment.lists_of(num_prune) if entry.rates}
        shown = [entry for name, entry in decoded.items() if len(entry.rates) > 1 and name not in LINES]
        if not shown:
            continue
        references = [(label(name), min(decoded[name].rates), colour_of(method(name))) for name in LINES if name in decoded]
        figures.append(Figure(
            f"candidates_prune{num_prune}",
            bars(f"candidates_prune{num_prune}", [(label(e.name), e.rates, colour_of(method(e.name))) for e in shown], references,
                 metric, f"{metric} of the candidates, {num_prune} layers removed"),
            f"{num_prune} of {experiment.num_layers} layers removed, no fine-tuning. Dots are single proposals.",
        ))
        rows += [_row(num_prune, entry) for entry in decoded.values()]
        lacking = [name for measure in experiment.matrices if (name := ListName(measure, reverse=True)) not in decoded]
        if lacking:
            missing.append(
                f"Removing {num_prune}: the worst candidates ({', '.join(map(label, lacking))}) were not decoded. Stage 3 with "
                "`--reverse` finds them, stage 4 with `--reverse-measures` decodes them."
            )
        if ListName("glp") not in decoded:
            missing.append(f"Removing {num_prune}: no GLP line; stage 4 with `--baselines \"top random glp\"` makes it.")
    columns = [Column("N", "d"), Column("List"), Column("Proposals", "d"), Column(f"Mean {metric}", ".2f"),
               Column("Deviation", ".2f"), Column("Best", ".2f"), Column("Worst", ".2f")]
    return Section(
        "candidates",
        "Do the correlations find good layers?",
        [f"Mean and standard deviation of the {metric} on the validation set over the candidates of each list, before "
         "fine-tuning (Fig. 2 a of the paper). Low bars for a measure and high ones for its reverse search mean that "
         "the measure tells good proposals from bad ones on this model."] if figures else [],
        figures,
        [Table("candidates", columns, rows, "Error rates of each list", folded=True)] if rows else [],
        missing if figures else ["No list of candidates has been decoded yet: stage 4 (fine search) does."],
    )


def _row(num_prune: int, entry: SearchList) -> tuple:
    rates = entry.rates
    return num_prune, label(entry.name), len(rates), statistics.fmean(rates), statistics.pstdev(rates), min(rates), max(rates)
