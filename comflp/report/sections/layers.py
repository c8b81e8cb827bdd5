"""Which layers each named proposal keeps and removes."""

from __future__ import annotations

from comflp.report.collect import Experiment
from comflp.report.document import Column, Drawing, Section, Table
from comflp.report.drawings import strip
from comflp.report.names import label


def section(experiment: Experiment, metric: str) -> Section:
    """A strip of layers for each proposal, with its quality by every measure and its error rates."""
    tables, finetuned = [], {run.num_prune for run in experiment.runs}
    for num_prune in sorted({entry.num_prune for entry in (*experiment.chosen, *experiment.runs)}, reverse=True):
        rows = _rows(experiment, num_prune)
        if rows:
            tables.append(Table(
                f"proposals_prune{num_prune}",
                [
                    Column("Proposal"), Column("Removed layers"),
                    *(Column(f"v(P), {label(measure)}", ".4f") for measure in experiment.matrices),
                    Column(f"{metric} on valid", ".2f"), Column(f"{metric} on test, fine-tuned", ".2f"),
                ],
                rows,
                caption=f"{num_prune} of {experiment.num_layers} layers removed",
                folded=bool(finetuned) and num_prune not in finetuned,
            ))
    return Section(
        "layers",
        "Which layers go",
        ["Filled layers stay, dashed ones are removed. v(P) is the quality that coarse search maximises (Eq. 5; "
         "minus the sum of costs for a skip measure). The error "
         "rate on the validation set is that of the pruned model as it is, before any fine-tuning."] if tables else [],
        tables=tables,
        missing=[] if tables else ["No proposal has been chosen yet: stage 4 (fine search) does."],
    )


def _rows(experiment: Experiment, num_prune: int) -> list[tuple]:
    runs = [run for run in experiment.runs if run.num_prune == num_prune and run.proposal is not None]
    chosen = {entry.name: entry for entry in experiment.chosen if entry.num_prune == num_prune}
    trained = {run.name for run in runs}
    shown = [(name, None, entry.proposal, None) for name, entry in chosen.items() if name not in trained]
    shown += [(run.name, run.settings, run.proposal, run.finetuned) for run in runs]
    rows = [
        (
            label(name, settings),
            Drawing(strip(proposal), str(proposal)),
            *(experiment.quality(proposal, measure) for measure in experiment.matrices),
            chosen[name].error_rate if name in chosen else None,
            finetuned.rate("test") if finetuned else None,
        )
        for name, settings, proposal, finetuned in shown
    ]
    last = len(rows[0]) if rows else 0
    return sorted(rows, key=lambda row: (row[last - 2] is None, row[last - 2] or 0.0, row[0]))
