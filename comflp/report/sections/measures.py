"""The matrices as heat maps, and whether a higher quality means a lower error rate on this model."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from comflp.measures.heat_map import heat_map, value_range
from comflp.report.charts import Series, chart
from comflp.report.choices import of_candidates
from comflp.report.collect import Experiment, SearchList
from comflp.report.document import Column, Figure, Fold, Part, Section, Table, Text
from comflp.report.names import label
from comflp.report.palette import colour_of
from comflp.result_names import ListName
from comflp.target import LayerCounts


def section(experiment: Experiment, metric: str) -> Section:
    """How well each measure ranks; M of each measure; the scatter behind the coefficients, folded."""
    parts: list[Part] = []
    rows, figures = [], []
    for counts in experiment.counts:
        lists = [entry for entry in experiment.lists_of(counts) if entry.results]
        for measure in experiment.matrices:
            every, random = (_pairs(experiment, [e for e in lists if name in (None, e.name)], measure) for name in (None, ListName("random")))
            if every:
                rows.append((label(measure), str(counts), *correlations(list(random.values())), len(random),
                             *correlations(list(every.values())), len(every)))
            if len(every) > 2:
                figures.append(_figure(experiment, counts, measure, lists, metric))
    if rows:
        parts.append(Text(f"Correlation of quality and {metric} over the proposals that were decoded: -1 is a perfect order. Over the random "
                          "sample it says whether bad layers are told from good ones; all decoded proposals hold the searches' own candidates "
                          "too, whose qualities are nearly equal. A dash means fewer than three proposals or no variation."))
        columns = [Column("Measure"), Column("N"), Column("Spearman, random", "+.2f"), Column("Pearson, random", "+.2f"), Column("Random", "d"),
                   Column("Spearman, all", "+.2f"), Column("Pearson, all", "+.2f"), Column("All", "d")]
        parts.append(Table("agreement", columns, rows))
        parts.append(Fold("Each proposal as a point", figures) if figures else Text("Fewer than three proposals of each N are decoded.", missing=True))
    elif experiment.matrices:
        parts.append(Text("No candidates have been decoded yet: stage 4 (fine search) does.", missing=True))
    maps, tables = _heat_maps(experiment)
    if maps:
        parts.append(Text("M[i, j] is the correlation between the outputs of layers i and j; 0 is what enters the first layer. Bright "
                          "squares far from the diagonal mark blocks of layers that change little. A skip "
                          "measure's S[i, j] is what the output loses without layers i+1 to j alone, in nats; exp(-S) is shown."))
        parts += [*maps, Fold("How they were made, and the costs", tables)]
    else:
        parts.append(Text("There is no correlation matrix yet: stage 2 makes it from the hidden states of stage 1.", missing=True))
    return Section("measures", "What the measures are worth here", parts)


def correlations(pairs: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Spearman's and Pearson's coefficient; None below three pairs, or where one side does not vary.

    >>> correlations([(0.9, 3.0), (0.8, 4.0), (0.7, 5.0)])
    (-1.0, -1.0)
    >>> correlations([(0.9, 3.0), (0.9, 4.0), (0.9, 5.0)])
    (None, None)
    """
    qualities, rates = zip(*pairs) if pairs else ((), ())
    if len(pairs) < 3 or len(set(qualities)) == 1 or len(set(rates)) == 1:
        return None, None
    found = stats.spearmanr(qualities, rates).statistic, stats.pearsonr(qualities, rates).statistic
    spearman, pearson = (None if math.isnan(value) else round(float(value), 12) for value in found)
    return spearman, pearson


def _pairs(experiment: Experiment, lists: list[SearchList], measure: str) -> dict:
    """Proposal -> (quality, error rate); of repaired candidates where there are any, beside which unrepaired ones say nothing."""
    repaired = any(entry.repaired for entry in lists)
    rates = {proposal: rate.compared for entry in lists if entry.repaired == repaired for proposal, rate in of_candidates(entry).items()}
    found = {proposal: (experiment.quality(proposal, measure), rate) for proposal, rate in rates.items()}
    return {proposal: pair for proposal, pair in found.items() if pair[0] is not None and math.isfinite(pair[1])}


def _figure(experiment: Experiment, counts: LayerCounts, measure: str, lists: list[SearchList], metric: str) -> Figure:
    groups = {"random": [e for e in lists if e.name == ListName("random")], "own": [e for e in lists if e.name == ListName(measure)]}
    random, own = (_pairs(experiment, groups[name], measure) for name in ("random", "own"))
    others = {p: pair for p, pair in _pairs(experiment, lists, measure).items() if p not in own and p not in random}
    rows, series = [], []
    for name, pairs, colour, filled in (("other searches", others, "grey", False), ("random", random, "grey", True),
                                        (f"{label(measure)}'s own", own, colour_of(measure), True)):
        if pairs:
            rows += [(str(proposal), name, *pair) for proposal, pair in pairs.items()]
            series.append(Series(name, [(q, rate, f"{p}: {q:.4f}, {rate:.2f}%") for p, (q, rate) in pairs.items()], colour, filled=filled))
    name = f"agreement_{measure}_{counts.directory}"
    what = "minus the cost" if experiment.is_cost(measure) else "quality v(P)"
    svg = chart(name, series, f"{what}, {label(measure)}", f"{metric} (%)", f"{what} by {label(measure)} against {metric}, {counts} removed")
    columns = [Column("Removed layers"), Column("List"), Column("Quality", ".4f"), Column(f"{metric} (%)", ".2f")]
    return Figure(name, svg, f"{label(measure)}, {counts} layers removed.", Table(name, columns, rows))


def _heat_maps(experiment: Experiment) -> tuple[list[Figure], list[Table]]:
    """Each matrix as a picture with what it shows in numbers; what they were made of, and the costs themselves."""
    figures, about_rows, costs = [], [], []
    for measure, stacks in experiment.matrices.items():
        about, is_cost = experiment.about.get(measure, {}), experiment.is_cost(measure)
        options = ", ".join(f"{key} {value}" for key, value in sorted(about.get("options", {}).items()) if value is not None)
        for stack, matrix in stacks.items():
            name = f"{measure}_{stack}" if len(stacks) > 1 else measure
            title = label(measure) + (f", {stack}" if len(stacks) > 1 else "")
            shown = np.exp(-matrix) if is_cost else matrix
            low, high = value_range([shown])
            about_rows.append((title, about.get("num_utterances"), low, high, options))
            if is_cost:
                costs.append(_numbers(f"matrix_{name}", matrix, f"S by {title}"))
            data = _numbers(f"{'heatmap' if is_cost else 'matrix'}_{name}", shown, title)
            svg = heat_map(shown, f"{title}, {low:.4f} to {high:.4f} off the diagonal", "var(--muted)")
            figures.append(Figure(f"heatmap_{name}", svg, title + (", exp(-S)" if is_cost else ""), data))
    columns = [Column("Matrix"), Column("Utterances", ",d"), Column("Lowest", ".4f"), Column("Highest", ".4f"), Column("Options")]
    return figures, [Table("matrices", columns, about_rows), *costs]


def _numbers(name: str, matrix: np.ndarray, caption: str) -> Table:
    rows = [(str(layer), *(float(value) if np.isfinite(value) else None for value in row)) for layer, row in enumerate(matrix)]
    return Table(name, [Column("H"), *(Column(str(layer), ".4f") for layer in range(len(matrix)))], rows, caption, matrix=True)
