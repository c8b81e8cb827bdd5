"""The correlation matrices as heat maps."""

from __future__ import annotations

import numpy as np

from comflp.measures import COST
from comflp.report.collect import Experiment
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.drawings import heat_map, value_range
from comflp.report.names import label


def section(experiment: Experiment, metric: str) -> Section:
    """M of each measure; the numbers below it, folded."""
    figures, tables = [], []
    for measure, matrix in experiment.matrices.items():
        about = experiment.about[measure]
        is_cost = about.get("kind") == COST
        shown = np.exp(-matrix) if is_cost else matrix
        low, high = value_range([shown])
        facts = [f"{about['num_utterances']} utterances"] if "num_utterances" in about else []
        facts += [f"{key} {value}" for key, value in sorted(about.get("options", {}).items())]
        facts.append(f"{low:.4f} to {high:.4f} off the diagonal")
        what = "exp(-S) of what skipping costs" if is_cost else "correlation matrix"
        figures.append(Figure(
            f"heatmap_{measure}", heat_map(shown, (low, high), f"{what}, {label(measure)}"),
            f"{label(measure)}{', exp(-S)' if is_cost else ''}: {', '.join(facts)}",
            experiment.pictures.get(measure),
        ))
        tables.append(Table(
            f"matrix_{measure}",
            [Column("H"), *(Column(str(layer), ".4f") for layer in range(len(matrix)))],
            [(str(layer), *(float(value) if np.isfinite(value) else None for value in row)) for layer, row in enumerate(matrix)],
            caption=f"{'S' if is_cost else 'M'} by {label(measure)}",
            folded=True,
        ))
    return Section(
        "correlation",
        "How alike the layers are",
        ["M[i, j] is the correlation between the outputs of layers i and j; 0 is what enters the first layer. Bright "
         "squares far from the diagonal mark blocks of layers that change little. Point at a square for its value. A skip "
         "measure's S[i, j] is what the output loses without layers i+1 to j alone, in nats; exp(-S) is shown."]
        if figures else [],
        figures,
        tables,
        [] if figures else ["There is no correlation matrix yet: stage 2 makes it from the hidden states of stage 1."],
    )
