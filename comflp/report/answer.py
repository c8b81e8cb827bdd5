"""The answer on top of the report: which model to take for a given increase of the error rate."""

from __future__ import annotations

from dataclasses import dataclass

from comflp.report.collect import Experiment, Model, Run
from comflp.report.names import label


@dataclass(frozen=True)
class Recommendation:
    """The model with the fewest layers within the budget, or the one that comes closest to it.

    state: ``fine-tuned``, ``repaired`` or ``pruned``. chosen_on: the data set that it was chosen by; shown_on: the one whose rates
    the headline gives. rate, deep_rate: on ``shown_on``, in percent. within: whether the budget holds on ``chosen_on``.
    """

    run: Run
    model: Model
    state: str
    chosen_on: str
    shown_on: str
    rate: float
    deep_rate: float
    within: bool


def recommend(experiment: Experiment, max_increase: float) -> Recommendation | None:
    """The recommended model, None before pruned models and the deep one were decoded.

    Chosen by the development set where both were decoded on it, so that the
    test set only reports; any other common set otherwise. Of equally shallow
    models the one with the lowest error rate wins.
    """
    deep = experiment.deep
    if deep is None or not deep.scores:
        return None
    models = [(run, model, state) for run in experiment.runs for state, model in run.states]
    preferred = sorted(deep.scores, key=lambda name: (name != "dev", name == "test", name))
    for chosen_on in preferred:
        rated = [entry for entry in models if chosen_on in entry[1].scores]
        if rated:
            break
    else:
        return None
    budget = deep.rate(chosen_on) + max_increase
    within = [entry for entry in rated if entry[1].rate(chosen_on) <= budget]
    if within:
        run, model, state = min(within, key=lambda entry: (entry[1].num_layers, entry[1].rate(chosen_on)))
    else:
        run, model, state = min(rated, key=lambda entry: entry[1].rate(chosen_on))
    shown_on = "test" if "test" in deep.scores and "test" in model.scores else chosen_on
    return Recommendation(run, model, state, chosen_on, shown_on, model.rate(shown_on), deep.rate(shown_on), bool(within))


def speed_up(experiment: Experiment, model: Model) -> tuple[float, str] | None:
    """(how many times faster than the deep model, how it was measured), None where it was not.

    From benchmarks/deploy.py on one thread; else from the decoding times of stage 6.
    """
    if experiment.deployment:
        times = {row["path"]: row["rtf"]["1"] for row in experiment.deployment["rows"] if row["format"] == "torch"}
        if "deep" in times and model.path in times:
            return times["deep"] / times[model.path], "one thread, utterance by utterance"
    for name in ("test", *model.scores):
        if name in model.scores and name in experiment.deep.scores and model.scores[name]["rtf"] > 0:
            return experiment.deep.scores[name]["rtf"] / model.scores[name]["rtf"], "in the batches of stage 6"
    return None


def headline(experiment: Experiment, found: Recommendation | None, max_increase: float, metric: str) -> list[str]:
    """The answer in two sentences."""
    if found is None:
        missing = "stage 6 (decoding) has to decode the deep model and a pruned one" if experiment.runs else (
            "stage 5 (fine-tuning) has to make a pruned model, and stage 6 to decode it")
        return [f"No recommendation yet: {missing}."]
    deep, model, run = experiment.deep, found.model, found.run
    removed = f": {run.proposal}" if run.proposal else ""
    budget = f"{max_increase:g} point{'' if max_increase == 1 else 's'} of {metric} on {found.chosen_on}"
    if found.within and run.proposal is None:
        first = f"Train a model of {model.num_layers} layers anew instead of pruning {run.num_prune} of {deep.num_layers}."
        kept = f"This model ({label(run.name, run.settings)}) stays within {budget}. "
    elif found.within:
        first = f"Remove {run.num_prune} of {deep.num_layers} layers{removed}."
        kept = f"This proposal ({label(run.name, run.settings)}), {found.state}, stays within {budget}. "
    else:
        first = (f"No pruned model stays within {budget}; the closest removes {run.num_prune} of {deep.num_layers} "
                 f"layers{removed}.")
        kept = f"It is the proposal of {label(run.name, run.settings)}, {found.state}. "
    faster = speed_up(experiment, model)
    ending = f", and it decodes {faster[0]:.2f} times as fast." if faster else "."
    return [first, (
        f"{kept}{found.shown_on.capitalize()} {metric} goes from {found.deep_rate:.2f}% to {found.rate:.2f}% "
        f"({found.rate - found.deep_rate:+.2f}), parameters from {_count(deep.num_parameters)} to "
        f"{_count(model.num_parameters)}, size from {deep.megabytes:.1f} to {model.megabytes:.1f} MB{ending}"
    )]


def tiles(experiment: Experiment, found: Recommendation | None, metric: str) -> list[tuple[str, str, str]]:
    """The numbers of the headline, to be set large: label, value, detail."""
    if found is None:
        return []
    deep, model = experiment.deep, found.model
    faster = speed_up(experiment, model)
    quality = experiment.quality(found.run.proposal)
    made = [
        ("Layers", f"{deep.num_layers} → {model.num_layers}", label(found.run.name, found.run.settings)),
        (f"{metric}, {found.shown_on}", f"{found.deep_rate:.2f} → {found.rate:.2f}%",
         f"{found.rate - found.deep_rate:+.2f} points"),
        ("Parameters", f"{_count(deep.num_parameters)} → {_count(model.num_parameters)}",
         _share(model.num_parameters, deep.num_parameters)),
        ("Size", f"{deep.megabytes:.1f} → {model.megabytes:.1f} MB", _share(model.megabytes, deep.megabytes)),
    ]
    if faster:
        made.append(("Speed", f"{faster[0]:.2f}×", faster[1]))
    if quality is not None:
        made.append(("Quality v(P)", f"{quality:.4f}", f"by {label(experiment.main_measure)}"))
    return made


def facts(experiment: Experiment, found: Recommendation | None, max_increase: float) -> dict:
    """The recommendation as plain values, for report.json."""
    if found is None:
        return {"recommended": None, "max_increase": max_increase}
    faster = speed_up(experiment, found.model)
    return {
        "recommended": found.model.path,
        "max_increase": max_increase,
        "within": found.within,
        "removed": str(found.run.proposal) if found.run.proposal else None,
        "chosen_on": found.chosen_on,
        "shown_on": found.shown_on,
        "error_rate": found.rate,
        "deep_error_rate": found.deep_rate,
        "num_layers": found.model.num_layers,
        "num_parameters": found.model.num_parameters,
        "deep_num_parameters": experiment.deep.num_parameters,
        "megabytes": found.model.megabytes,
        "deep_megabytes": experiment.deep.megabytes,
        "speed_up": faster[0] if faster else None,
    }


def _count(value: int) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"


def _share(new: float, old: float) -> str:
    return f"{100 * (new / old - 1):+.0f}%"
