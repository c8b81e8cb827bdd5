"""Every model: what was made, what it costs, how well it recognises."""

from __future__ import annotations

from typing import Sequence

from comflp.report.answer import Answer
from comflp.report.choices import Choice
from comflp.report.collect import Experiment
from comflp.report.document import Column, Section, Table, Text


def section(experiment: Experiment, found: Sequence[Choice], given: Answer | None, metric: str) -> Section:
    """A row a model, the deep one first: error rates with intervals, layers, parameters, size, speed."""
    sets = sorted({name for choice in found for name in choice.rates}, key=lambda name: (name == "test", name))
    shown_on = given.shown_on if given else None
    deep = next((choice.rates.get(shown_on) for choice in found if choice.counts is None), None)
    columns = [Column("Model"), *(Column(f"{metric}, {name} (%)", ".2f") for name in sets),
               *([Column(f"From deep, {shown_on}")] if deep else []),
               Column("State"), Column("Layers", "d"), Column("Parameters", ",.0f"), Column("MB", ".1f"), Column("Times as fast", ".2f")]
    measured = sum(bool(choice.speed and choice.speed.measured) for choice in found) > 1
    rows = []
    for choice in found:
        rate = choice.rates.get(shown_on)
        less = rate.less_deep(deep) if rate and deep and choice.counts is not None else None
        rows.append((
            choice.label if choice.is_deep else f"{choice.label}, N={choice.counts}",
            *(choice.rates.get(name) for name in sets),
            *([None if less is None else f"{less.value:+.2f}{', tied' if less.tied else ''}"] if deep else []),
            choice.state, choice.num_layers, choice.parameters, choice.megabytes,
            choice.speed.times if choice.speed and choice.speed.measured == measured else None,
        ))
    strong = [number for number, choice in enumerate(found) if given and choice is given.choice]
    parts = []
    if rows:
        parts.append(Text("Error rates with 95% intervals (bootstrap over utterances; over speakers where there are five or more). "
                          "\"Tied\": these utterances do not tell the model from the deep one. How many times as fast as it a model is, is "
                          + ("measured, one utterance at a time on one thread." if measured else "counted in multiply-adds, and the most that can be.")))
        parts.append(Table("models", columns, rows, strong=strong))
    if not experiment.runs:
        parts.append(Text("No pruned model has been made yet: stage 5 (fine-tuning) does.", missing=True))
    elif undecoded := [path for path, (_, _, model) in experiment.models.items() if not model.scores]:
        parts.append(Text(f"Not decoded yet (stage 6 does): {', '.join(undecoded)}.", missing=True))
    return Section("models", "All models", parts)
