"""Fig. 3: error rates during fine-tuning, and how the correlation matrix changes."""

from __future__ import annotations

from comflp.report.charts import curves
from comflp.report.collect import Experiment, Run
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.drawings import snapshot_grid
from comflp.report.names import label, method
from comflp.report.palette import colour_of


def section(experiment: Experiment, metric: str) -> Section:
    """A curve a run; heat maps for the runs that took snapshots."""
    figures, rows, missing = [], [], []
    for num_prune in experiment.num_prunes:
        runs = [run for run in experiment.runs if run.num_prune == num_prune]
        logged = [run for run in runs if run.log]
        if logged:
            figures.append(_curves(num_prune, logged, metric))
            rows += [(num_prune, label(run.name, run.settings), int(row["epoch"]), row["train_loss"], row["valid_loss"],
                      row["valid_error_rate"], row["learning_rate"], row["seconds"]) for run in logged for row in run.log]
        pictured = [run for run in runs if run.snapshots]
        if pictured:
            grid = snapshot_grid([(label(run.name, run.settings), dict(run.snapshots)) for run in pictured], "correlation matrices in training")
            figures.append(Figure(f"snapshots_prune{num_prune}", grid,
                                  "M of the models in training, on one scale: darker is less redundant (Fig. 3 b)."))
        elif logged:
            missing.append(f"Removing {num_prune}: no heat maps of training. Stage 5 takes them at the epochs that "
                           "`snapshot_epochs` names, such as `--snapshot_epochs [0,2,4]`.")
    columns = [Column("N", "d"), Column("Run"), Column("Epoch", "d"), Column("Train loss", ".4f"), Column("Dev loss", ".4f"),
               Column(f"Dev {metric}", ".2f"), Column("Learning rate", ".2g"), Column("Seconds", ".0f")]
    return Section(
        "dynamics",
        "Fine-tuning",
        [f"{metric} on the development set after each epoch (Fig. 3 a)."] if rows else [],
        figures,
        [Table("training", columns, rows, "Training logs", folded=True)] if rows else [],
        missing if rows else ["Nothing has been fine-tuned yet: stage 5 does."],
    )


def _curves(num_prune: int, runs: list[Run], metric: str) -> Figure:
    name = f"training_prune{num_prune}"
    shared = {colour_of(method(run.name)) for run in runs}
    spare = [colour for colour in ("blue", "orange", "teal", "plum", "green", "red", "gold", "grey") if colour not in shared]
    used, series = set(), []
    for run in runs:
        colour = colour_of(method(run.name))
        if colour in used and spare:
            colour = spare.pop(0)
        used.add(colour)
        series.append((label(run.name, run.settings), [(row["epoch"], row["valid_error_rate"]) for row in run.log], colour, "solid"))
    return Figure(name, curves(name, series, "epoch", f"dev {metric} (%)", f"{metric} during fine-tuning"),
                  f"{num_prune} layers removed")
