"""The rest of the first screen: the layers, the states, error against cost, and what to do next."""

from __future__ import annotations

from typing import Callable, Sequence

from comflp.experiment import counts_of
from comflp.proposal import Proposal
from comflp.report.answer import Answer
from comflp.report.charts import Series, chart
from comflp.report.choices import DEEP, FINE_TUNED, PRUNED, REPAIRED, VALID, Choice, is_test, of_candidates
from comflp.report.collect import Experiment
from comflp.report.document import Column, Figure, Part, Switch, Table
from comflp.report.drawings import strips
from comflp.target import LayerCounts

_LOOKS = {DEEP: ("ink", "D"), PRUNED: ("blue", "o"), REPAIRED: ("teal", "s"), FINE_TUNED: ("orange", "^")}


def parts(experiment: Experiment, found: Sequence[Choice], given: Answer | None, metric: str) -> list[Part]:
    """The layers of each stack, the model's states beside the deep one, and the curve."""
    if given is None:
        return []
    made: list[Part] = []
    if given.choice.proposal is not None and experiment.stacks:
        svg = strips(given.choice.proposal, experiment.stacks, 340)
        made.append(Figure("layers", svg, f"Filled layers stay, dashed ones are removed: {given.choice.proposal}"))
    made += [*_states(found, given, metric), *_curve(experiment, found, metric)]
    return made


def _states(found: Sequence[Choice], given: Answer, metric: str) -> list[Part]:
    same = [choice for choice in found if choice.is_deep or _is_state_of(choice, given.choice)]
    sets = list(dict.fromkeys(name for choice in same for name in choice.rates))
    if not sets:
        return []
    missing = [state for state in (PRUNED, REPAIRED, FINE_TUNED) if not any(choice.state == state and choice.rates and not choice.is_deep for choice in same)]
    rows = [(choice.label if choice.is_deep else choice.state.capitalize(), *(choice.rates.get(name) for name in sets)) for choice in same]
    rows += [(f"{state.capitalize()}: not measured", *(None for _ in sets)) for state in missing if given.choice.proposal is not None]
    strong = [number for number, choice in enumerate(same) if choice is given.choice]
    return [Table("states", [Column("Model"), *(Column(f"{metric} on {name} (%)", ".2f") for name in sets)], rows,
                  "The recommended layers in each state, with 95% intervals", strong)]


def _is_state_of(choice: Choice, recommended: Choice) -> bool:
    """Whether a model has the recommended one's layers, and its training where both are trained."""
    if recommended.proposal is None:  # started anew
        return choice is recommended
    other = recommended.state == FINE_TUNED == choice.state and choice.settings != recommended.settings
    return choice.proposal == recommended.proposal and not other


def _curve(experiment: Experiment, found: Sequence[Choice], metric: str) -> list[Part]:
    """Error rate against what a model costs, on the axis that the reader chooses; candidates by stage 4 and models by stage 6."""
    sets = {name for choice in found if not choice.is_deep for name in choice.rates}
    on = "dev" if "dev" in sets else next(iter(sorted(name for name in sets if name != VALID and not is_test(name))), None)
    by_state = sorted(experiment.lists, key=lambda entry: entry.repaired)  # of layers that were decoded in both states the repaired model
    candidates = {proposal: rate.value for entry in by_state for proposal, rate in of_candidates(entry).items()}
    points: list[tuple[str, str, str, Choice | None, Proposal | None, float]] = []
    for choice in found:
        for name in (on, VALID):
            if name in choice.rates and (name == on or choice.is_deep or choice.proposal not in candidates):
                points.append((choice.label, choice.state, name, choice, choice.proposal, choice.rates[name].value))
                break
    for proposal, rate in candidates.items():
        points.append((f"Layers {proposal}", "candidate", VALID, None, proposal, rate))
    if len(points) < 2:
        return []
    axes: list[tuple[str, str, Callable]] = [("Layers", "layers that stay", _layers(experiment))]
    if experiment.costs:
        axes.append(("Parameters", "parameters (M)", _parameters(experiment)))
        axes.append(("Multiply-adds", "multiply-adds for a second of audio (M)", _multiply_adds(experiment)))
    if sum(bool(choice.speed and choice.speed.rtf) for choice in found) > 1:
        axes[2:] = [("Measured seconds", "seconds for a second of audio, one thread", lambda choice, proposal: _seconds(choice))]
    figures = [(name, figure) for number, (name, label, cost) in enumerate(axes)
               if (figure := _figure(f"error_by_cost_{number}", label, cost, points, on, metric)) is not None]
    return [Switch("axis", "What a model costs, in", figures)]


def _figure(name: str, x_label: str, cost: Callable, points: list, on: str | None, metric: str) -> Figure | None:
    placed = [(x, *point) for point in points if (x := cost(point[3], point[4])) is not None]
    if not placed:
        return None
    rows = sorted([(x, rate, label, state, data) for x, label, state, data, _, _, rate in placed])
    series = []
    candidates = [(x, rate, f"{label}, candidate on {data}: {rate:.2f}%") for x, rate, label, state, data in rows if state == "candidate"]
    if candidates:
        series.append(Series(f"candidates, on {VALID}", candidates, "grey", filled=False))
    for state, (colour, marker) in _LOOKS.items():
        mine = [(x, rate, f"{label}, {state}, on {data}: {rate:.2f}%") for x, rate, label, of, data in rows if of == state]
        sets = sorted({data for _, _, _, of, data in rows if of == state})
        if mine:
            series.append(Series(f"{state}, on {' and '.join(sets)}", mine, colour, marker=marker))
    front, best = [], float("inf")
    for x, rate, *_ in rows:
        if rate < best:
            front.append((x, rate, ""))
            best = rate
    series.insert(0, Series("lowest so far", front, "muted", line="steps", marker=""))
    columns = [Column(x_label, ".6g"), Column(f"{metric} (%)", ".2f"), Column("Model"), Column("State"), Column("Data")]
    svg = chart(name, series, x_label, f"{metric} (%)", f"{metric} against {x_label}: the front goes through "
                + ", ".join(f"{rate:.2f}% at {x:.6g}" for x, rate, _ in front), whole=name.endswith("_0"))
    return Figure(name, svg, "The line is the lowest error rate at that cost or less.",
                  Table(name, columns, rows))


def _removed(choice: Choice | None, proposal: Proposal | None) -> LayerCounts:
    if choice is not None:
        return choice.counts or LayerCounts({})
    return counts_of(proposal)


def _layers(experiment: Experiment) -> Callable:
    return lambda choice, proposal: experiment.num_layers - _removed(choice, proposal).total if experiment.num_layers else None


def _parameters(experiment: Experiment) -> Callable:
    return lambda choice, proposal: experiment.costs.parameters.after(_removed(choice, proposal)) / 1e6


def _multiply_adds(experiment: Experiment) -> Callable:
    return lambda choice, proposal: experiment.costs.multiply_adds.after(_removed(choice, proposal)) / 1e6


def _seconds(choice: Choice | None) -> float | None:
    return choice.speed.rtf if choice is not None and choice.speed else None
