"""What every stage and every search took."""

from __future__ import annotations

import re
from collections import Counter

from comflp.inference.prefix_tree import PrefixTree
from comflp.proposal import PruningProposal
from comflp.report.charts import curves, horizontal_bars
from comflp.report.collect import Experiment, SearchList
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.names import label
from comflp.record import seconds_of_stages

_STAGE = re.compile(r"stage([0-9]+)_(.*)")


def section(experiment: Experiment, metric: str) -> Section:
    """Seconds of each stage from the records; evaluations of each search, counted."""
    stages = _stages(experiment)
    searches = _searches(experiment)
    figures = []
    if stages:
        seconds = {f"{number} {name}": total for number, name, _, total in stages}
        figures.append(Figure("stage_seconds", horizontal_bars("stage_seconds", seconds, "seconds", "seconds of each stage"),
                              "Seconds of each stage; results that were made in one call share its time."))
    if experiment.num_layers and experiment.num_layers > 2 and searches:
        figures.append(_growth(experiment, max([row[2] for row in searches if row[1] != label("glp")], default=10)))
    tables = []
    if stages:
        tables.append(Table("stage_seconds", [Column("Stage", "d"), Column("Name"), Column("Results", "d"), Column("Seconds", ".1f")],
                            stages, "Time of each stage", folded=True))
    if searches:
        columns = [Column("N", "d"), Column("Search"), Column("Models decoded", "d"), Column("Coarse (s)", ".2f"),
                   Column("Layer runs, each model by itself", ",d"), Column("Layer runs, shared prefixes", ",d"),
                   Column("Decoding (s)", ".1f")]
        tables.append(Table("search_cost", columns, searches, "Cost of each search. Stage 3 searches several N in one "
                            "call, whose seconds stand with each of them. Stage 4 decodes lists in one walk; a "
                            "list's seconds are its share of the walk, by the layer runs that it needs alone."))
    return Section(
        "cost",
        "What the search costs",
        ["CoMFLP decodes K candidates whatever N is; greedy layer pruning decodes one model for each layer that is left, at "
         "each of its N steps: O(K) against O(L N)."] if stages or searches else [],
        figures, tables,
        [] if stages or searches else ["No stage has left a record yet."],
    )


def glp_evaluations(num_layers: int, num_prune: int) -> int:
    """Models that greedy layer pruning decodes on its way to N removed layers.

    >>> glp_evaluations(12, 6)
    57
    """
    return sum(num_layers - step for step in range(num_prune))


def _stages(experiment: Experiment) -> list[tuple]:
    timed = [record for _, record in experiment.records if {"seconds", "finished"} <= record.keys()]
    records = [record for record in timed if _STAGE.fullmatch(record["stage"])]
    results, rows = Counter(record["stage"] for record in records), []
    for stage, seconds in seconds_of_stages(records).items():
        number, name = _STAGE.fullmatch(stage).groups()
        rows.append((int(number), name.replace("_", " "), results[stage], seconds))
    return sorted(rows)


def _searches(experiment: Experiment) -> list[tuple]:
    rows = []
    for entry in sorted(experiment.lists, key=lambda entry: (entry.num_prune, str(entry.name))):
        if entry.ranked:
            rows.append(_search(entry))
    return rows


def decoding_seconds(entry: SearchList) -> float | None:
    """Seconds that decoding a list takes by itself, None before stage 4.

    Lists that stage 4 decoded in one walk share its time; each is given the part that its own layer runs are of the walk's.
    """
    if not entry.ranked:
        return None
    if "search_cost" in entry.ranked:
        return entry.ranked["search_cost"]["seconds"]
    runs = layer_runs(entry)[1]
    whole = entry.ranked.get("layer_runs")
    return entry.ranked["seconds"] * min(runs / whole, 1.0) if runs and whole else entry.ranked["seconds"]


def layer_runs(entry: SearchList) -> tuple[int | None, int | None]:
    """Layer runs of decoding a list: each model by itself, and with shared prefixes; None where batches were not counted."""
    ranked = entry.ranked
    if "search_cost" in ranked:
        return None, ranked["search_cost"]["layer_runs"]
    if "num_batches" not in ranked:
        return None, None
    proposals = [PruningProposal.parse(result["proposal"], num_layers=ranked["num_layers"]) for result in ranked["results"]]
    alone = sum(len(proposal.kept) for proposal in proposals)
    return alone * ranked["num_batches"], PrefixTree(proposals, lambda proposal: proposal.kept).num_prefixes * ranked["num_batches"]


def _search(entry: SearchList) -> tuple:
    models = entry.ranked.get("search_cost", {}).get("models", len(entry.ranked["results"]))
    coarse = (entry.searched or {}).get("seconds")
    return entry.num_prune, label(entry.name), models, coarse, *layer_runs(entry), decoding_seconds(entry)


def _growth(experiment: Experiment, beam_size: int) -> Figure:
    num_layers = experiment.num_layers
    steps = range(1, num_layers)
    series = [
        (f"CoMFLP, K={beam_size}", [(n, beam_size) for n in steps], "blue", "solid"),
        ("GLP", [(n, glp_evaluations(num_layers, n)) for n in steps], "green", "solid"),
    ]
    svg = curves("evaluations", series, "layers removed (N)", "models decoded", "models decoded by each search")
    return Figure("evaluations", svg, f"Models that have to be decoded to remove N of {num_layers} layers.")
