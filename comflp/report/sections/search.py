"""What the searches cost, and how close the beam of Algorithm 1 comes to the exact top K."""

from __future__ import annotations

import re
from collections import Counter

from comflp.inference.prefix_tree import PrefixTree
from comflp.record import seconds_of_stages
from comflp.report.collect import Experiment, Run, SearchList
from comflp.report.document import Column, Fold, Part, Section, Table, Text
from comflp.report.names import label
from comflp.result_names import COARSE, ProposalName
from comflp.search.baselines.fixed import FIXED

_STAGE = re.compile(r"stage([0-9]+)_(.*)")
_WITHOUT_SEARCH = (*FIXED, "random")


def section(experiment: Experiment, metric: str) -> Section:
    """Models decoded and seconds of each search; the beam beside the exact search; seconds of each stage."""
    lists = sorted(experiment.lists, key=lambda entry: (entry.counts.total, str(entry.counts), str(entry.name)))
    searches, beams, stages = [_search(entry) for entry in lists if entry.ranked], [row for entry in lists for row in _beam(entry)], _stages(experiment)
    parts: list[Part] = []
    if searches:
        columns = [Column("Search"), Column("N"), Column("Models decoded", "d"), Column("Coarse (s)", ".2f"), Column("Decoding (s)", ".1f"),
                   Column("Layer runs, alone", ",d"), Column("shared", ",d")]
        parts.append(Text("CoMFLP decodes K candidates whatever N is; greedy layer pruning decodes one model for each layer that is left, at "
                          "each of its N steps: O(K) against O(L N). What candidates have in common is computed once (\"shared\"). Stage 3 searches "
                          "several N in one call, whose seconds stand with each of them; lists that are decoded in one walk share its seconds."))
        parts.append(Fold("Cost of each search", [Table("search_cost", columns, searches)]))
    if beams:
        columns = [Column("Search"), Column("N"), Column("Found by the beam", "d"), Column("of the best", "d"), Column("Best v(P), beam", ".6f"),
                   Column("exact", ".6f"), Column("K-th v(P), beam", ".6f"), Column("exact, K-th", ".6f")]
        parts.append(Text("The paper's beam search keeps K proposals a step and may lose some of the true top K; the exact search cannot."))
        parts.append(Fold("Beam against exact search", [Table("beam_against_exact", columns, beams)]))
    elif any(entry.searched for entry in lists):
        parts.append(Text("Beam and exact search were not compared: stage 3 does, unless `--compare false` is given.", missing=True))
    if stages:
        parts.append(Fold("Seconds of each stage", [Table("stage_seconds", [
            Column("Stage", "d"), Column("Name"), Column("Results", "d"), Column("Seconds", ".1f")], stages)]))
    else:
        parts.append(Text("No stage has left a record yet.", missing=True))
    return Section("search", "What the search costs", parts)


def search_seconds(experiment: Experiment, run: Run) -> float | None:
    """Seconds of coarse and fine search behind a run's proposal; None where no search made it."""
    name = run.name
    if not isinstance(name, ProposalName) or name.source in _WITHOUT_SEARCH:
        return None
    entry = next((entry for entry in experiment.lists_of(run.counts) if entry.name == name.list), None)
    if entry is None:
        return None
    coarse = (entry.searched or {}).get("seconds") or 0.0
    return coarse if name.search == COARSE else coarse + (decoding_seconds(entry) or 0.0)


def decoding_seconds(entry: SearchList) -> float | None:
    """Seconds that decoding a list takes by itself, None before stage 4.

    Lists that stage 4 decoded in one walk share its time; each is given the part that its own layer runs are of the walk's.
    """
    if not entry.ranked:
        return None
    if "search_cost" in entry.ranked:
        return entry.ranked["search_cost"]["seconds"]
    runs = layer_runs(entry)[1]
    whole = entry.ranked["layer_runs"]
    return entry.ranked["seconds"] * min(runs / whole, 1.0) if runs and whole else entry.ranked["seconds"]


def layer_runs(entry: SearchList) -> tuple[int | None, int | None]:
    """Layer runs of decoding a list: each model by itself, and with shared prefixes, which repaired models do not have;
    None where they are not counted so."""
    ranked = entry.ranked
    if "search_cost" in ranked:
        return None, ranked["search_cost"]["layer_runs"]
    proposals = [entry.proposal(result) for result in ranked["results"]]
    if not all(hasattr(proposal, "kept") for proposal in proposals):
        return None, None
    alone = sum(len(proposal.kept) for proposal in proposals)
    shared = alone if entry.repaired else PrefixTree(proposals, lambda proposal: proposal.kept).num_prefixes
    return alone * ranked["num_batches"], shared * ranked["num_batches"]


def _search(entry: SearchList) -> tuple:
    models = entry.ranked.get("search_cost", {}).get("models", len(entry.ranked["results"]))
    alone, shared = layer_runs(entry)
    return label(entry.name), str(entry.counts), models, (entry.searched or {}).get("seconds"), decoding_seconds(entry), alone, shared


def _beam(entry: SearchList) -> list[tuple]:
    compared = (entry.searched or {}).get("beam_against_exact")
    if not compared:
        return []
    qualities = [[candidate["quality"] for candidate in compared[name]] for name in ("beam", "exact")]
    best, last = ([values[place] if values else None for values in qualities] for place in (0, -1))
    return [(label(entry.name), str(entry.counts), compared["found_by_beam"], compared["num_true_top"], *best, *last)]


def _stages(experiment: Experiment) -> list[tuple]:
    timed = [record for _, record in experiment.records if {"seconds", "finished"} <= record.keys()]
    records = [record for record in timed if _STAGE.fullmatch(record["stage"])]
    results, rows = Counter(record["stage"] for record in records), []
    for stage, seconds in seconds_of_stages(records).items():
        number, name = _STAGE.fullmatch(stage).groups()
        rows.append((int(number), name.replace("_", " "), results[stage], seconds))
    return sorted(rows)
