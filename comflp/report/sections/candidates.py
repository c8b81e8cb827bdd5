"""What the searches found for each number of removed layers, the deep model first."""

from __future__ import annotations

from typing import Any, Mapping

from comflp.report.choices import of_candidates
from comflp.report.collect import Experiment, SearchList
from comflp.report.document import Column, Drawing, Figure, Fold, Part, Section, Table, Text
from comflp.report.drawings import rate_grid, strips
from comflp.report.names import label
from comflp.report.rates import Rate, ranked_rate
from comflp.search.fine.bootstrap import Difference
from comflp.target import LayerCounts


def section(experiment: Experiment, metric: str) -> Section:
    """A table for each N: each list's best, its error rate with its interval, and what is tied with it; a grid of two stacks."""
    parts: list[Part] = []
    decoded = [counts for counts in experiment.counts if any(entry.results for entry in experiment.lists_of(counts))]
    if decoded:
        parts.append(Text(f"{metric} on the validation set, before fine-tuning, of the best that each list of candidates holds. "
                          "\"Tied\": how many others of the list these utterances do not tell from its best; beside it, how many "
                          "utterances would tell the closest of them."))
    parts += _grid(experiment, decoded, metric)
    tables = [_table(experiment, counts, metric) for counts in decoded]
    parts += tables[:4] + ([Fold(f"{len(tables) - 4} more", tables[4:])] if tables[4:] else [])
    every = _every(experiment, decoded, metric)
    if every:
        parts.append(Fold("All decoded candidates", [every]))
    if not decoded:
        found = _undecoded(experiment)
        parts += found or [Text("No candidates have been found yet: stages 1 to 3 do, stage 4 decodes them.", missing=True)]
        if found:
            parts.append(Text("No candidates have been decoded yet: stage 4 (fine search) does.", missing=True))
    return Section("candidates", "What the searches found", parts)


def less_best(entry: SearchList, result: Mapping[str, Any]) -> Difference:
    """A candidate's error rate less its list's best, as ranked.json has it."""
    return Difference(result["difference"], *result["difference_interval"], result["dropped_after"] or entry.ranked["num_utterances"])


def _table(experiment: Experiment, counts: LayerCounts, metric: str) -> Table:
    columns = [Column("Search"), Column(f"Best {metric} (%)", ".2f"), Column("Removed layers"), Column(f"Mean {metric}", ".2f"),
               Column("Candidates", "d"), Column("Tied", "d"), Column("Utterances to tell", ",d")]
    rows: list[tuple] = []
    deep = _deep(experiment)
    if deep is not None:
        rows.append(("Deep model", deep, None, None, None, None, None))
    found = [entry for entry in experiment.lists_of(counts) if entry.results and not entry.name.reverse]
    for entry in sorted(found, key=_best_compared):
        best = entry.results[0]
        others = [less for result in entry.results[1:] if (less := less_best(entry, result)).tied]
        closest = min(others, key=lambda less: less.value, default=None)
        proposal = entry.proposal(best)
        rows.append((label(entry.name), ranked_rate(best, entry.ranked), Drawing(strips(proposal, experiment.stacks, 230), str(proposal)),
                     sum(entry.rates) / len(entry.rates), len(entry.rates), len(others) if len(entry.rates) > 1 else None,
                     closest.utterances_to_tell if closest else None))
    return Table(f"searches_{counts.directory}", columns, rows, f"{counts} layers removed", strong=(0,) if deep else ())


def _best_compared(entry: SearchList) -> float:
    """The rate by which a list's best was ranked."""
    return ranked_rate(entry.results[0], entry.ranked).compared


def _deep(experiment: Experiment) -> Rate | None:
    for entry in experiment.lists:
        if "deep" in (entry.ranked or {}):
            return ranked_rate(entry.ranked["deep"], entry.ranked)
    return None


def _every(experiment: Experiment, decoded: list[LayerCounts], metric: str) -> Table | None:
    rows = [(str(counts), label(entry.name), result["rank"], str(entry.proposal(result)), rate, result.get("quality"))
            for counts in decoded for entry in experiment.lists_of(counts)
            for result, rate in zip(entry.results, of_candidates(entry).values())]
    columns = [Column("N"), Column(f"{metric} (%)", ".2f"), Column("List"), Column("Rank", "d"), Column("Removed layers"),
               Column("Quality", ".4f")]
    ordered = [(row[0], row[4], row[1], row[2], row[3], row[5]) for row in rows]
    return Table("decoded_candidates", columns, ordered) if rows else None


def _undecoded(experiment: Experiment) -> list[Part]:
    rows = [(str(entry.counts), label(entry.name), str(entry.proposal(best)), best.get("quality"))
            for entry in experiment.lists if (entry.searched or {}).get("candidates") and not entry.name.reverse
            for best in entry.searched["candidates"][:1]]
    columns = [Column("N"), Column("Search"), Column("Removed layers"), Column("Quality", ".4f")]
    return [Table("predicted", columns, rows, "The first candidate of each search, by quality alone")] if rows else []


def _grid(experiment: Experiment, decoded: list[LayerCounts], metric: str) -> list[Part]:
    """Of two stacks: the lowest error rate for each pair of numbers of removed layers, the deep model in the corner."""
    if len(experiment.stacks) != 2:
        return []
    first, second = experiment.stacks
    rates = {(counts.get(first, 0), counts.get(second, 0)): min((entry for entry in experiment.lists_of(counts) if entry.rates), key=_best_compared).rates[0]
             for counts in decoded}
    deep = _deep(experiment)
    if deep is not None:
        rates[0, 0] = deep.value
    if len(rates) < 2:
        return []
    rows, columns = sorted({row for row, _ in rates}), sorted({column for _, column in rates})
    svg = rate_grid(rates, rows, columns, (first, second), f"lowest {metric} by layers removed: "
                    + ", ".join(f"{first} {row}, {second} {column}: {rate:.2f}%" for (row, column), rate in sorted(rates.items())))
    data = Table("grid", [Column(f"{first} layers removed", "d"), Column(f"{second} layers removed", "d"), Column(f"{metric} (%)", ".2f")],
                 [(row, column, rate) for (row, column), rate in sorted(rates.items())])
    return [Figure("grid", svg, f"Lowest {metric} (%) on the validation set for each number of removed layers of both stacks.", data)]
