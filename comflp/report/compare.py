"""Several experiments side by side: models, or seeds of one model."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from typing import Sequence

from comflp.report.answer import answer, points_of
from comflp.report.charts import Series, chart
from comflp.report.choices import VALID, Choice, choices
from comflp.report.collect import Experiment
from comflp.report.document import Column, Document, Figure, Part, Section, Table, Text
from comflp.report.palette import SERIES
from comflp.result_names import ProposalName, Start


def compare(experiments: Sequence[Experiment], title: str = "", metric: str = "cer", max_increase: float = 1.0) -> Document:
    """One report on several experiments: what is recommended of each, and each way of pruning over all of them.

    Arguments as for ``comflp.report.build``. Experiments of the same name are told apart by numbers.
    """
    shown, names = metric.upper(), _names(experiments)
    found = [choices(experiment) for experiment in experiments]
    given = [answer(experiment, each, max_increase) for experiment, each in zip(experiments, found)]
    rows, facts = [], {}
    for name, each in zip(names, given):
        if each is None:
            rows.append((name, *(None for _ in range(10))))
            continue
        choice, less = each.choice, each.difference
        rows.append((name, each.rate, each.deep_rate, None if less is None else f"{less.value:+.2f}{', tied' if less.tied else ''}",
                     each.shown_on, f"{choice.label}, N={choice.counts}", choice.state, choice.num_layers, choice.parameters,
                     *((choice.speed.times, choice.speed.how) if choice.speed else (None, None))))
        facts[name] = {"difference": less.value if less else None, "within": each.within}
    columns = [Column("Experiment"), Column(f"{shown} (%)", ".2f"), Column(f"{shown} of the deep model (%)", ".2f"), Column("From deep"),
               Column("On"), Column("Recommended"), Column("State"), Column("Layers", "d"), Column("Parameters", ",.0f"),
               Column("Times as fast", ".2f"), Column("How that is known")]
    answered = sum(each is not None and each.within is True for each in given)
    headline = [f"{answered} of {len(experiments)} experiments have a smaller model within {points_of(max_increase, shown)} of their deep one."]
    over = _over_all(names, found, shown)
    return Document(
        title or f"Layer pruning of {len(experiments)} models", ", ".join(names), "", [], headline, [],
        {"experiments": facts, "num_experiments": len(experiments), "answered": answered, "max_increase": max_increase, "level": 95},
        [Table("experiments", columns, rows), *_curve(names, found, shown)], [], [Section("ways", "Each way of pruning over the experiments", over)],
    )


def _names(experiments: Sequence[Experiment]) -> list[str]:
    names = [experiment.name for experiment in experiments]
    while len(set(names)) < len(names):
        names = [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return names


def _data(found: Sequence[Sequence[Choice]]) -> str | None:
    """The data set that most of the deep models were decoded on, or else most models at all; test before others."""
    sets = [name for each in found for choice in each if choice.counts is None for name in choice.rates]
    sets = sets or [name for each in found for choice in each for name in choice.rates]
    return max(sets, key=lambda name: (sets.count(name), name == "test", name != VALID), default=None)


def _over_all(names: Sequence[str], found: Sequence[Sequence[Choice]], metric: str) -> list[Part]:
    data = _data(found)
    rates: dict[tuple, dict[str, float]] = defaultdict(dict)
    for name, each in zip(names, found):
        for choice in each:
            if data in choice.rates:
                keys = [choice.label] if choice.is_deep else [_own(choice, own) for own in choice.names]
                for key in keys:
                    rates[(str(choice.counts or ""), key, choice.state)][name] = choice.rates[data].value
    if not rates:
        return [Text("Nothing has been decoded yet: stages 4 and 6 do.", missing=True)]
    rows = [(f"{key}, N={counts}" if counts not in ("", "0") else key, statistics.fmean(values.values()),
             statistics.stdev(values.values()) if len(values) > 1 else None, state, *(values.get(name) for name in names))
            for (counts, key, state), values in rates.items()]
    rows.sort(key=lambda row: (row[3] != "deep", row[1]))
    columns = [Column("Model"), Column(f"Mean {metric}, {data} (%)", ".2f"), Column("Deviation", ".2f"), Column("State"),
               *(Column(name, ".2f") for name in names)]
    return [Table("ways", columns, rows)]


def _own(choice: Choice, name: ProposalName | Start) -> str:
    return replace(choice, names=(name,)).label


def _curve(names: Sequence[str], found: Sequence[Sequence[Choice]], metric: str) -> list[Part]:
    data = _data(found)
    series, rows = [], []
    for place, (name, each) in enumerate(zip(names, found)):
        best: dict[int, tuple[float, str]] = {}
        for choice in each:
            if data in choice.rates and choice.num_layers:
                best[choice.num_layers] = min(best.get(choice.num_layers, (float("inf"), "")), (choice.rates[data].value, choice.label))
        points = [(layers, rate, f"{name}, {layers} layers: {rate:.2f}%") for layers, (rate, _) in sorted(best.items())]
        if points:
            series.append(Series(name, points, SERIES[place % len(SERIES)], line="solid"))
            rows += [(name, layers, rate, best[layers][1]) for layers, rate, _ in points]
    if not series:
        return []
    svg = chart("experiments_by_layers", series, "layers that stay", f"{metric} on {data} (%)", f"lowest {metric} by layers that stay", whole=True)
    columns = [Column("Experiment"), Column("Layers", "d"), Column(f"{metric} (%)", ".2f"), Column("Model")]
    return [Figure("experiments_by_layers", svg, "The lowest error rate of each experiment at each depth.", Table("experiments_by_layers", columns, rows))]
