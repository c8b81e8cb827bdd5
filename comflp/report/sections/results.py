"""Table 1: the models, before and after fine-tuning."""

from __future__ import annotations

from comflp.report.collect import Experiment, Model, Run
from comflp.report.document import Column, Section, Table
from comflp.report.names import label
from comflp.report.sections.cost import decoding_seconds
from comflp.result_names import COARSE, ProposalName
from comflp.search.baselines.fixed import FIXED

_WITHOUT_SEARCH = (*FIXED, "random")
_GROUPS = {"pruned": "pruned", "repaired": "repaired", "finetuned": "fine-tuned"}
"""Attribute of a run -> what its model is called. Repaired models have columns where there are any."""


def section(experiment: Experiment, metric: str) -> Section:
    """A row a model: layers, parameters, quality, error rates on every decoded set, search time, real-time factor."""
    sets = experiment.data_sets
    groups = [group for group in _GROUPS if group != "repaired" or any(run.repaired for run in experiment.runs)]
    columns = [
        Column("Model"), Column("Layers", "d"), Column("Parameters", ",d"), Column("MB", ".1f"), Column("v(P)", ".4f"),
        *(Column(f"{name}, {_GROUPS[group]}", ".2f") for group in groups for name in sets),
        Column("Search (s)", ".1f"), Column("RTF", ".4f"),
    ]
    rows = []
    if experiment.deep and experiment.deep.scores:
        deep = experiment.deep
        rows.append(("Deep model", deep.num_layers, deep.num_parameters, deep.megabytes, None, *(None for _ in groups[1:] for _ in sets),
                     *(deep.rate(name) for name in sets), None, _rtf(deep)))
    for run in sorted(experiment.runs, key=lambda run: (run.num_prune, str(run.name), str(run.settings))):
        if any(model.scores for _, model in run.states):
            rows.append(_row(experiment, run, groups, sets))
    missing = []
    if not experiment.runs:
        missing.append("No pruned model has been made yet: stage 5 (fine-tuning) does.")
    if not rows:
        missing.append("No model has been decoded yet: stage 6 does.")
    undecoded = [path for path, (_, state, model) in experiment.models.items() if state == "fine-tuned" and not model.scores]
    if rows and undecoded:
        missing.append(f"Not decoded yet (stage 6 does): {', '.join(undecoded)}.")
    text = [f"{metric} in percent (Table 1 of the paper). \"Pruned\" is the model as the search left it, \"fine-tuned\" after "
            f"stage 5; the deep model's own rates stand in that group. v(P) is by {label(experiment.main_measure)}. Search is the "
            "time of coarse and fine search. RTF is seconds of decoding a second of audio, in the batches of stage 6."
            ] if rows and experiment.main_measure else []
    return Section("results", "Results", text, tables=[Table("results", columns, rows)] if rows else [], missing=missing)


def search_seconds(experiment: Experiment, run: Run) -> float | None:
    """Seconds of coarse and fine search behind a run's proposal; None where no search made it."""
    name = run.name
    if not isinstance(name, ProposalName) or name.source in _WITHOUT_SEARCH:
        return None
    entry = next((entry for entry in experiment.lists_of(run.num_prune) if entry.name == name.list), None)
    if entry is None:
        return None
    coarse = (entry.searched or {}).get("seconds") or 0.0
    return coarse if name.search == COARSE else coarse + (decoding_seconds(entry) or 0.0)


def _row(experiment: Experiment, run: Run, groups: list[str], sets: list[str]) -> tuple:
    model = next(model for _, model in run.states if model.scores)
    models = [getattr(run, group) for group in groups]
    return (
        label(run.name, run.settings), model.num_layers, model.num_parameters, model.megabytes, experiment.quality(run.proposal),
        *(model.rate(name) if model else None for model in models for name in sets),
        search_seconds(experiment, run), _rtf(model),
    )


def _rtf(model: Model) -> float | None:
    score = model.scores.get("test") or next(iter(model.scores.values()), None)
    return score["rtf"] if score else None
