"""How close the beam of Algorithm 1 comes to the exact top K."""

from __future__ import annotations

from comflp.report.collect import Experiment
from comflp.report.document import Column, Section, Table
from comflp.report.names import label


def section(experiment: Experiment, metric: str) -> Section:
    """A row for each N and measure that stage 3 compared."""
    rows = []
    for entry in sorted(experiment.lists, key=lambda entry: (entry.num_prune, str(entry.name))):
        compared = (entry.searched or {}).get("beam_against_exact")
        if compared:
            qualities = [[candidate["quality"] for candidate in compared[name]] for name in ("beam", "exact")]
            best = [values[0] if values else None for values in qualities]
            last = [values[-1] if values else None for values in qualities]
            rows.append((entry.num_prune, label(entry.name), entry.searched.get("beam_size"), compared["found_by_beam"],
                         compared["num_true_top"], *best, *last))
    columns = [Column("N", "d"), Column("Search"), Column("Beam size", "d"), Column("True top found by the beam", "d"),
               Column("of", "d"), Column("Best v(P), beam", ".6f"), Column("Best v(P), exact", ".6f"),
               Column("K-th v(P), beam", ".6f"), Column("K-th v(P), exact", ".6f")]
    return Section(
        "beam",
        "Beam against exact search",
        ["The paper's beam search keeps K proposals a step and may lose some of the true top K; the exact search cannot."]
        if rows else [],
        tables=[Table("beam_against_exact", columns, rows)] if rows else [],
        missing=[] if rows else ["Beam and exact search were not compared: stage 3 does, unless `--compare false` is given."],
    )
