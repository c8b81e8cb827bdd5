"""The paper's figures and table on this model: Fig. 2, Table 1 and Fig. 3."""

from __future__ import annotations

import statistics
from collections import defaultdict

from comflp.report.charts import Series, bars, chart
from comflp.report.collect import Experiment, Model, SearchList
from comflp.report.document import Column, Figure, Part, Section, Table, Text
from comflp.report.names import label, method
from comflp.report.palette import colour_of
from comflp.report.sections.search import search_seconds
from comflp.report.sections.training import snapshots
from comflp.result_names import COARSE, ListName, ProposalName

_LINES = (ListName("glp"), ListName("top"))
"""Lists of which a figure shows the best as a line, as the paper does."""


def section(experiment: Experiment, metric: str) -> Section:
    """Bars of the lists, the curve over N, Table 1, the heat maps of training."""
    parts = [*_bars(experiment, metric), *_depth(experiment, metric), *_table(experiment, metric), *snapshots(experiment)]
    return Section("replication", "The paper's figures on this model", parts, folded=True)


def _bars(experiment: Experiment, metric: str) -> list[Part]:
    """Fig. 2 a: mean and deviation for measures, reverse searches and random draws; lines for GLP and top drop."""
    figures: list[Part] = []
    rows = []
    for counts in experiment.counts:
        decoded = {entry.name: entry for entry in experiment.lists_of(counts) if entry.rates}
        shown = [entry for name, entry in decoded.items() if len(entry.rates) > 1 and name not in _LINES]
        rows += [_row(entry) for entry in decoded.values()]
        if shown:
            lines = [(label(name), min(decoded[name].rates), colour_of(method(name))) for name in _LINES if name in decoded]
            name = f"candidates_{counts.directory}"
            figures.append(Figure(
                name, bars(name, [(label(e.name), e.rates, colour_of(method(e.name))) for e in shown], lines, metric,
                           f"{metric} of the candidates, {counts} layers removed"),
                f"{counts} layers removed, no fine-tuning: mean, deviation and each proposal (Fig. 2 a).",
            ))
    if not figures:
        return [Text("No list of candidates has been decoded yet: stage 4 (fine search) does.", missing=True)]
    columns = [Column("List"), Column("N"), Column(f"Mean {metric} (%)", ".2f"), Column("Deviation", ".2f"), Column("Best", ".2f"),
               Column("Worst", ".2f"), Column("Proposals", "d")]
    return [*figures, Table("candidates", columns, rows, "Error rates of each list (Fig. 2 a)")]


def _row(entry: SearchList) -> tuple:
    rates = entry.rates
    return (label(entry.name), str(entry.counts), statistics.fmean(rates), statistics.pstdev(rates), min(rates), max(rates), len(rates))


def _depth(experiment: Experiment, metric: str) -> list[Part]:
    """Fig. 2 b: error rate against the number of removed layers, from the deep model on."""
    random = ProposalName("random")
    points: dict[ProposalName, dict[int, float]] = defaultdict(dict)
    for entry in experiment.chosen:
        if entry.error_rate is not None and entry.name != random:
            points[entry.name][entry.counts.total] = entry.error_rate
    for entry in experiment.lists:
        if entry.name == random.list and entry.rates:
            points[random][entry.counts.total] = statistics.fmean(entry.rates)
    numbers = sorted({number for values in points.values() for number in values})
    if len(experiment.stacks) > 1 or len(numbers) < 2:
        return []
    deep = next((entry.ranked["deep"]["error_rate"] for entry in experiment.lists if "deep" in (entry.ranked or {})), None)
    series = []
    for name, values in points.items():
        start = {} if deep is None else {0: deep}
        drawn = [(n, rate, f"{label(name)}, N={n}: {rate:.2f}%") for n, rate in sorted({**start, **values}.items())]
        series.append(Series(label(name), drawn, colour_of(method(name)), line="dashed" if name.search == COARSE else "solid"))
    rows = [(label(name), deep, *(values.get(n) for n in numbers)) for name, values in points.items()]
    data = Table("error_rate_by_n", [Column("Method"), Column("N=0", ".2f"), *(Column(f"N={n}", ".2f") for n in numbers)], rows)
    svg = chart("error_rate_by_n", series, "layers removed (N)", f"{metric} (%)", f"{metric} against the number of removed layers", whole=True)
    return [Figure("error_rate_by_n", svg, "Each method's proposal, before fine-tuning; Random is the mean of its draw (Fig. 2 b).", data)]


def _table(experiment: Experiment, metric: str) -> list[Part]:
    """Table 1: the proposals before and after fine-tuning."""
    sets = experiment.data_sets
    rows = []
    if experiment.deep and experiment.deep.scores:
        rows.append(("Deep model", "", *(value for name in sets for value in (None, experiment.deep.rate(name))), None, None))
    runs = [run for run in experiment.runs if any(model.scores for _, model in run.states)]
    for run in sorted(runs, key=lambda run: (run.num_prune, str(run.name), str(run.settings))):
        rates = (_rate(model, name) for name in sets for model in (run.pruned, run.finetuned))
        rows.append((label(run.name, run.settings), str(run.counts), *rates, experiment.quality(run.proposal), search_seconds(experiment, run)))
    if not rows:
        return []
    columns = [Column("Model"), Column("N"), *(Column(f"{name}, {state}", ".2f") for name in sets for state in ("pruned", "fine-tuned")),
               Column(f"v(P), {label(experiment.main_measure)}" if experiment.main_measure else "v(P)", ".4f"), Column("Search (s)", ".1f")]
    return [Table("results", columns, rows, f"{metric} in percent (Table 1); the deep model's own rates stand under fine-tuned")]


def _rate(model: Model | None, name: str) -> float | None:
    return model.rate(name) if model else None


