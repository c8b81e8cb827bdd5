"""Quality against error rate: the honest test of the method on this model."""

from __future__ import annotations

import math
from typing import Mapping

from scipy import stats

from comflp.proposal import PruningProposal
from comflp.report.charts import scatter
from comflp.report.collect import Experiment, SearchList
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.names import label
from comflp.report.palette import colour_of
from comflp.result_names import ListName


def section(experiment: Experiment, metric: str) -> Section:
    """For each N and measure: v(P) against the error rate within the top K, over a random sample, over all decoded."""
    figures, rows, points = [], [], []
    for num_prune in experiment.num_prunes:
        lists = [entry for entry in experiment.lists_of(num_prune) if entry.results]
        for measure in experiment.matrices:
            samples = {
                f"top {label(measure)} candidates": _pairs(experiment, [e for e in lists if e.name == ListName(measure)], measure),
                "random sample": _pairs(experiment, [e for e in lists if e.name == ListName("random")], measure),
                "all decoded proposals": _pairs(experiment, lists, measure),
            }
            rows += [(num_prune, label(measure), name, len(pairs), *correlations(list(pairs.values())))
                     for name, pairs in samples.items() if pairs]
            everything = samples["all decoded proposals"]
            if len(everything) > 2:
                figures.append(_figure(num_prune, measure, samples, metric))
                points += [(num_prune, label(measure), str(p), quality, rate) for p, (quality, rate) in everything.items()]
    columns = [Column("N", "d"), Column("Measure"), Column("Sample"), Column("Proposals", "d"), Column("Pearson", "+.2f"),
               Column("Spearman", "+.2f")]
    data = [Column("N", "d"), Column("Measure"), Column("Proposal"), Column("v(P)", ".5f"), Column(metric, ".2f")]
    missing = [] if rows else ["No candidates have been decoded yet: stage 4 (fine search) does."]
    if rows and not any(entry.name == ListName("random") and entry.results for entry in experiment.lists):
        missing.append("There is no random sample; stage 4 with `--baselines \"top random\"` decodes one.")
    return Section(
        "agreement",
        "Does a higher quality mean a lower error rate?",
        [f"Each point is a proposal that was decoded without fine-tuning. The method works where v(P) and {metric} fall "
         "together: correlations near -1. Within the top candidates alone the qualities are nearly equal, so little or no "
         "correlation is to be expected there (+0.35 in the log of the paper's release); that is why fine search follows. "
         "A skip measure's quality is minus the sum of its blocks' costs. A dash means fewer than three proposals or no variation."] if rows else [],
        figures,
        [*([Table("agreement", columns, rows)] if rows else []),
         *([Table("decoded_proposals", data, points, "All decoded proposals", folded=True)] if points else [])],
        missing,
    )


def correlations(pairs: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Pearson's and Spearman's coefficient; None below three pairs, or where one side does not vary.

    >>> correlations([(0.9, 3.0), (0.8, 4.0), (0.7, 5.0)])
    (-1.0, -1.0)
    >>> correlations([(0.9, 3.0), (0.9, 4.0), (0.9, 5.0)])
    (None, None)
    """
    qualities, rates = zip(*pairs) if pairs else ((), ())
    if len(pairs) < 3 or len(set(qualities)) == 1 or len(set(rates)) == 1:
        return None, None
    pearson, spearman = stats.pearsonr(qualities, rates).statistic, stats.spearmanr(qualities, rates).statistic
    return tuple(None if math.isnan(value) else round(float(value), 12) for value in (pearson, spearman))


def _pairs(experiment: Experiment, lists: list[SearchList], measure: str) -> dict[PruningProposal, tuple[float, float]]:
    """Proposal -> (quality, error rate)."""
    pairs = {}
    for entry in lists:
        for result in entry.results:
            proposal = PruningProposal.parse(result["proposal"], num_layers=entry.ranked["num_layers"])
            quality = experiment.quality(proposal, measure)
            if quality is not None:
                pairs[proposal] = quality, result["error_rate"]
    return pairs


def _figure(num_prune: int, measure: str, samples: dict, metric: str) -> Figure:
    names = list(samples)
    top, random, everything = (samples[name] for name in names)
    others = {p: pair for p, pair in everything.items() if p not in top and p not in random}

    def marks(pairs: Mapping[PruningProposal, tuple[float, float]]) -> list[tuple[float, float, str]]:
        return [(q, rate, f"{p}: v(P) {q:.4f}, {metric} {rate:.2f}%") for p, (q, rate) in pairs.items()]

    groups = [
        ("other searches", marks(others), "grey", False),
        ("random sample", marks({p: pair for p, pair in random.items() if p not in top}), "grey", True),
        (names[0], marks(top), colour_of(measure), True),
    ]
    name = f"agreement_{measure}_prune{num_prune}"
    svg = scatter(name, [group for group in groups if group[1]], f"quality v(P), {label(measure)}", f"{metric} (%)",
                  f"quality by {label(measure)} against {metric}")
    shown = [f"{sample}: {value:+.2f}" for sample, pairs in samples.items()
             for value in correlations(list(pairs.values()))[:1] if value is not None]
    return Figure(name, svg, f"N={num_prune}, {label(measure)}. Pearson " + (", ".join(shown) or "not defined") + ".")
