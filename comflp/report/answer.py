"""The answer on top of the report: which model to take for a given increase of the error rate, and what is to be known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

from comflp.report.choices import FINE_TUNED, PREDICTED, PRUNED, REPAIRED, VALID, Choice, is_test
from comflp.report.collect import Experiment
from comflp.report.rates import Rate
from comflp.search.fine.bootstrap import Difference

WEAK = 30.0
"""Error rate of the deep model, in percent, above which a recommendation comes with a warning."""
_STATES = {
    PREDICTED: "Predicted from the layers' outputs alone; nothing has been decoded with it yet.",
    PRUNED: "This is the pruned model as it is, neither repaired nor fine-tuned",
    REPAIRED: "This is the repaired model, without any training.",
    FINE_TUNED: "This is the fine-tuned model.",
}


@dataclass(frozen=True)
class Answer:
    """The model with the fewest parameters within the budget, or the one that comes closest to it.

    deep: None where it was never decoded. chosen_on: the data set that it was chosen by; None where nothing is decoded.
    shown_on: the one whose rates the page gives first. within: whether the budget holds on ``chosen_on``; None where that is not known.
    ties: others without more parameters that ``chosen_on`` does not tell from it, and the differences.
    same: the same layers removed, in other states that were decoded on ``chosen_on`` too.
    """

    choice: Choice
    deep: Choice | None
    max_increase: float
    chosen_on: str | None
    shown_on: str | None
    within: bool | None
    ties: tuple[tuple[Choice, Difference], ...] = ()
    same: tuple[Choice, ...] = ()

    @property
    def rate(self) -> Rate | None:
        """The recommended model's error rate on ``shown_on``."""
        return self.choice.rates.get(self.shown_on) if self.shown_on else None

    @property
    def deep_rate(self) -> Rate | None:
        """The deep model's error rate on ``shown_on``."""
        return self.deep.rates.get(self.shown_on) if self.deep and self.shown_on else None

    @property
    def difference(self) -> Difference | None:
        """The recommended model's rate less the deep one's, where both were decoded on the same utterances."""
        return self.rate.less_deep(self.deep_rate) if self.rate and self.deep_rate else None


_ROUNDING = 1e-9
"""Percentage points by which a difference of two rates may miss what it is."""


def answer(experiment: Experiment, found: Sequence[Choice], max_increase: float) -> Answer | None:
    """The recommended model; None where there is no proposal at all.

    Chosen by the development set where the deep model and a pruned one were decoded on it, so that the test set only reports;
    by the validation set of the fine search before that; by quality where nothing is decoded.
    """
    deep = next((choice for choice in found if choice.counts is None), None)
    pruned = [choice for choice in found if not choice.is_deep]
    if not pruned:
        return None
    sets = sorted({name for choice in pruned for name in choice.rates}, key=lambda name: (name != "dev", is_test(name), name == VALID, name))
    both = [name for name in sets if deep is not None and name in deep.rates]
    if not sets:
        middle = (experiment.num_layers or 0) / 2
        best = min(pruned, key=lambda choice: (abs(choice.counts.total - middle), -(experiment.quality(choice.proposal) or 0.0)))
        return Answer(best, deep, max_increase, None, None, None)
    chosen_on = (both or sets)[0]
    rated = [choice for choice in pruned if chosen_on in choice.rates]
    size = _sizes(rated)
    budget = deep.rates[chosen_on].compared + max_increase + _ROUNDING if both else float("inf")
    within = [choice for choice in rated if choice.rates[chosen_on].compared <= budget]
    if both and within:
        best = min(within, key=lambda choice: (size(choice), choice.rates[chosen_on].compared))
    else:
        best = min(rated, key=lambda choice: choice.rates[chosen_on].compared)
    shown = [name for name in ("test", chosen_on) if name in best.rates and (not both or name in deep.rates)]
    return Answer(best, deep, max_increase, chosen_on, (shown or [chosen_on])[0], bool(within) if both else None,
                  tuple(_ties(best, rated, chosen_on, size)),
                  tuple(choice for choice in rated if choice.proposal == best.proposal is not None and choice.state != best.state))


def _sizes(rated: Sequence[Choice]) -> Callable[[Choice], tuple[float, int]]:
    """How large a choice is: by parameters where all of them are known, and by layers."""
    known = all(choice.parameters for choice in rated)
    return lambda choice: ((choice.parameters or 0.0) if known else 0.0, choice.num_layers or 0)


def _ties(best: Choice, rated: Sequence[Choice], chosen_on: str, size: Callable[[Choice], tuple[float, int]]) -> list[tuple[Choice, Difference]]:
    found = []
    for choice in rated:
        if choice.proposal != best.proposal and size(choice) <= size(best):
            less = choice.rates[chosen_on].less(best.rates[chosen_on])
            if less is not None and less.tied:
                found.append((choice, less))
    return sorted(found, key=lambda pair: pair[1].value)


def headline(experiment: Experiment, given: Answer | None, metric: str) -> list[str]:
    """The answer in a few sentences."""
    if given is None:
        return ["No recommendation yet: no layers have been proposed. Stages 1 to 3 find candidates, stage 4 decodes them."]
    choice = given.choice
    removed = removal(experiment, choice)
    points = points_of(given.max_increase, metric)
    if given.chosen_on is None:
        lines = [f"Predicted: {removed}."]
    elif given.within is None:
        lines = [f"Lowest error rate: {removed}.", "The deep model has not been decoded, so what is lost is not known: stages 4 and 6 do that."]
    elif given.within:
        lines = [f"{removed}.", f"Within {points} of the deep model on {given.chosen_on}."]
    else:
        lines = [f"No model stays within {points} of the deep one on {given.chosen_on}; the closest: {removed}."]
    lines[0] = lines[0][0].upper() + lines[0][1:]
    lines.append(_state_of(given) if choice.proposal is not None or choice.state != FINE_TUNED else "It was trained from random weights.")
    if given.difference is not None:
        lines.append(verdict(given.difference, given.shown_on, "the deep model", metric))
    for other, less in given.ties[:1]:
        needed = f"; about {less.utterances_to_tell:,} would tell" if less.utterances_to_tell else ""
        more = f", nor from {len(given.ties) - 1} more" if len(given.ties) > 1 else ""
        lines.append(f"Not distinguishable on {given.chosen_on} from {other.label}, {other.state}{more} ({less.num_utterances:,} utterances{needed}).")
    return lines


def _state_of(given: Answer) -> str:
    """What was done to the model beside the removal; of a pruned one, what else there is of the same layers."""
    said = _STATES[given.choice.state]
    if given.choice.state != PRUNED:
        return said
    others = [f"{choice.state} it has {choice.rates[given.chosen_on].value:.2f}% on {given.chosen_on}" for choice in given.same]
    return f"{said}; {', '.join(others) or 'both mostly make it better'}."


def removal(experiment: Experiment, choice: Choice) -> str:
    """What is done to the layers, in words.

    remove 6 of 12 layers: 5-7,9,11-12
    """
    if choice.proposal is None:
        return f"train {choice.num_layers} of {experiment.num_layers} layers anew ({choice.label})"
    if len(experiment.stacks) < 2:
        return f"remove {choice.counts.total} of {experiment.num_layers} layers: {choice.proposal}"
    parts = [f"{number} of {experiment.stacks[stack]} {stack} layers ({choice.proposal.of(stack)})"
             for stack, number in choice.counts.items() if number]
    return f"remove {' and '.join(parts)}"


def points_of(increase: float, metric: str) -> str:
    """``1 point of CER``, ``0.5 points of CER``."""
    return f"{increase:g} point{'' if increase == 1 else 's'} of {metric}"


def verdict(less: Difference, data: str, other: str, metric: str) -> str:
    """What a difference between two models on the same utterances is worth, in a sentence."""
    interval = f"{less.value:+.2f} points of {metric}, 95% interval {less.low:+.2f} to {less.high:+.2f}"
    if not less.tied:
        return f"{'Worse' if less.value > 0 else 'Better'} than {other} on {less.num_utterances:,} utterances of {data}: {interval}."
    needed = f"; about {less.utterances_to_tell:,} utterances would tell them apart" if less.utterances_to_tell else ""
    return f"Not distinguishable from {other} on {less.num_utterances:,} utterances of {data}: {interval}{needed}."


def warnings(experiment: Experiment, found: Sequence[Choice], given: Answer | None, metric: str) -> list[str]:
    """What has to be read before the answer."""
    said = []
    deep = given.deep_rate if given else None
    if deep is not None and deep.value > WEAK:
        said.append(f"The deep model itself has {deep.value:.2f}% {metric} on {given.shown_on}, above {WEAK:.0f}%. What is found on a model "
                    "that recognises so little may not hold for a better one: train the deep model further first.")
    if any(rate.capped is not None and rate.capped < rate.value for choice in found for rate in choice.rates.values()):
        said.append("Some models make more errors on an utterance than its text is long, as where they repeat themselves without end. Rates "
                    "count all of them; models are chosen, and differences are given, with no utterance above 100%.")
    trained_on = any(choice.is_deep and choice.counts is not None for choice in found)
    if given and given.choice.state == FINE_TUNED and given.choice.proposal is not None and not trained_on:
        said.append("The fine-tuned model was trained for longer than the deep one, which explains some of the difference between them. "
                    "Stage 5 with --proposals deep trains the deep model in the same way.")
    return said


def tiles(given: Answer | None, metric: str) -> list[tuple[str, str, str]]:
    """The price, to be set large: label, value, and the deep model's beside it."""
    if given is None:
        return []
    choice, deep = given.choice, given.deep
    made = []
    if given.rate:
        beside = f"deep {spelled(given.deep_rate)}" if given.deep_rate else "deep not decoded"
        made.append((f"{metric} on {given.shown_on}, {choice.state}", spelled(given.rate), beside))
    if choice.num_layers:
        made.append(("Layers", f"{choice.num_layers}", f"deep {choice.num_layers + choice.counts.total}"))
    if choice.parameters:
        made.append(("Parameters", counted(choice.parameters), f"deep {counted(deep.parameters)}" if deep and deep.parameters else ""))
    if choice.megabytes:
        made.append(("Size", f"{choice.megabytes:.1f} MB", f"deep {deep.megabytes:.1f} MB" if deep and deep.megabytes else ""))
    if choice.speed:
        made.append(("Speed", f"{choice.speed.times:.2f}×", choice.speed.how))
    return made


def facts(given: Answer | None, max_increase: float) -> dict[str, Any]:
    """The answer as plain values, for report.json."""
    limits = {"max_increase": max_increase, "level": 95, "weak_above": WEAK}
    if given is None:
        return {"recommended": None, **limits}
    choice, deep, less = given.choice, given.deep, given.difference
    return {
        "recommended": choice.path,
        **limits,
        "within": given.within,
        "state": choice.state,
        "removed": str(choice.proposal) if choice.proposal is not None else None,
        "num_removed": dict(choice.counts),
        "chosen_on": given.chosen_on,
        "shown_on": given.shown_on,
        "rate": _rate(given.rate),
        "deep_rate": _rate(given.deep_rate),
        "difference": _difference(less),
        "ties": [{"model": other.label, "state": other.state, **_difference(each)} for other, each in given.ties],
        "model": _cost(choice),
        "deep": _cost(deep) if deep else None,
        "speed": {"times": choice.speed.times, "how": choice.speed.how} if choice.speed else None,
    }


def spelled(rate: Rate) -> str:
    """An error rate with its interval: ``1.04% (0.71–1.42)``."""
    return f"{rate.value:.2f}%" if rate.low is None else f"{rate.value:.2f}% ({rate.low:.2f}–{rate.high:.2f})"


def counted(value: float) -> str:
    """A number of parameters, in words of three or four digits."""
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k"


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    return {"value": rate.value, "low": rate.low, "high": rate.high, "num_utterances": rate.num_utterances} if rate else None


def _difference(less: Difference | None) -> dict[str, Any] | None:
    if less is None:
        return None
    return {"value": less.value, "low": less.low, "high": less.high, "tied": less.tied, "num_utterances": less.num_utterances,
            "utterances_to_tell": less.utterances_to_tell}


def _cost(choice: Choice) -> dict[str, Any]:
    return {"layers": choice.num_layers, "parameters": choice.parameters, "megabytes": choice.megabytes}
