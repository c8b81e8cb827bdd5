"""Fig. 3: error rates during fine-tuning, and how the correlation matrix changes."""

from __future__ import annotations

import math

from comflp.report.charts import Series, chart
from comflp.report.choices import runs_of
from comflp.report.collect import Experiment, Run
from comflp.report.document import Column, Figure, Fold, Part, Section, Table, Text
from comflp.report.drawings import snapshot_grid
from comflp.report.names import label, method
from comflp.report.palette import SERIES, colour_of
from comflp.target import LayerCounts

_MOST = len(SERIES)
"""Curves that one figure holds; what is beyond is in the table."""


def section(experiment: Experiment, metric: str) -> Section:
    """A curve a run for each N; unfinished trainings are named."""
    parts: list[Part] = []
    everything = sorted({run.counts for run in experiment.runs}, key=lambda counts: (counts.total, str(counts)))
    rows = []
    for counts in everything:
        logged = [run for run in runs_of(experiment, counts) if run.log]
        rated = [run for run in logged if "valid_error_rate" in run.log[0]]
        if rated:
            parts.append(_curves(counts, rated, metric))
        rows += [(str(counts), label(run.name, run.settings), int(row["epoch"]), row.get("valid_error_rate"), row.get("train_loss"),
                  row.get("valid_loss"), row.get("learning_rate"), row.get("seconds")) for run in logged for row in run.log]
    unfinished = [f"{label(run.name, run.settings)} (N={run.counts}, {len(run.log)} epochs)" for run in experiment.runs
                  if run.settings and run.finetuned is None]
    if unfinished:
        parts.append(Text(f"Not finished: {', '.join(unfinished[:_MOST])}. Stage 5 goes on with them.", missing=True))
    lost = [run for run in experiment.runs if any(not math.isfinite(value) for row in run.log for value in row.values())]
    if lost:
        parts.append(Text(f"A loss that is no number: {', '.join(dict.fromkeys(label(run.name, run.settings) for run in lost))}. "
                          "Train again with a lower learning rate.", missing=True))
    columns = [Column("N"), Column("Run"), Column("Epoch", "d"), Column(f"Dev {metric} (%)", ".2f"), Column("Train loss", ".4f"),
               Column("Dev loss", ".4f"), Column("Learning rate", ".2g"), Column("Seconds", ".0f")]
    if rows:
        parts.append(Fold("Training logs", [Table("training", columns, rows)]))
    elif not unfinished:
        parts.append(Text("Nothing has been fine-tuned yet: stage 5 does.", missing=True))
    return Section("training", "Fine-tuning", parts)


def snapshots(experiment: Experiment) -> list[Part]:
    """Fig. 3 b: the matrices of models in training."""
    parts: list[Part] = []
    for counts in experiment.counts:
        pictured = [run for run in runs_of(experiment, counts) if run.snapshots][:_MOST]
        if pictured:
            grid = snapshot_grid([(label(run.name, run.settings), dict(run.snapshots)) for run in pictured], "correlation matrices in training")
            parts.append(Figure(f"snapshots_{counts.directory}", grid, f"{counts} layers removed: M of the models in training, on one scale; "
                                "darker is less redundant (Fig. 3 b).", _snapshot_values(counts, pictured)))
    return parts or [Text("There are no heat maps of training: stage 5 takes them at the epochs that `snapshot_epochs` names.", missing=True)]


def _snapshot_values(counts: LayerCounts, runs: list[Run]) -> Table:
    size = max(len(matrix) for run in runs for matrix in run.snapshots.values())
    rows = [(label(run.name, run.settings), epoch, number, *map(float, row), *[None] * (size - len(row)))
            for run in runs for epoch, matrix in sorted(run.snapshots.items()) for number, row in enumerate(matrix)]
    columns = [Column("Run"), Column("Epoch", "d"), Column("H", "d"), *(Column(str(layer), ".4f") for layer in range(size))]
    return Table(f"snapshots_{counts.directory}", columns, rows, matrix=True)


def _curves(counts: LayerCounts, runs: list[Run], metric: str) -> Figure:
    name = f"training_{counts.directory}"
    spare = list(SERIES)
    series = []
    for run in runs[:_MOST]:
        wanted = colour_of(method(run.name))
        colour = wanted if wanted in spare else spare[0]
        spare.remove(colour)
        said = label(run.name, run.settings)
        series.append(Series(said, [(row["epoch"], row["valid_error_rate"], f"{said}, epoch {row['epoch']:g}: {row['valid_error_rate']:.2f}%")
                                    for row in run.log], colour, line="solid"))
    more = f" The first {_MOST} of {len(runs)} runs." if len(runs) > _MOST else ""
    return Figure(name, chart(name, series, "epoch", f"dev {metric} (%)", f"{metric} during fine-tuning, {counts} layers removed", whole=True),
                  f"{counts} layers removed: {metric} on the development set after each epoch (Fig. 3 a).{more}")
