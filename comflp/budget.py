"""What the pruned model may cost, in the user's words (``params=50%``), resolved into numbers of layers to remove."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Mapping, Sequence

from comflp.costs import Costs, ModelCosts, quantity
from comflp.errors import shown
from comflp.proposal import ProposalError, split_by_stack
from comflp.target import LayerCounts, TargetError

FORMS = "layers=6, encoder=2+decoder=3, params=50%, params=50M, macs=60%, macs=3G, megabytes=100, speedup=1.5 or speedup=1.5@8"
"""Examples of every form, for help texts and messages."""

_UNITS = {"params": "parameters", "macs": "multiply-adds a second of audio", "megabytes": "megabytes of weights"}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([%kKMGB]?)(?:@([0-9]{1,4}))?")
_FACTOR = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_ROUNDING = 1e-9
_STACKS = ("encoder", "decoder")
"""What the stacks of any model are called."""
_LAYERS = re.compile(rf"(?:(?:layers|{'|'.join(_STACKS)})\s*=\s*)?[0-9]+\s*[,-]\s*[0-9]+\s*(?:[,+-].*)?", re.DOTALL)
"""How layers are written that somebody names: ``1,3-4`` or ``encoder=1,3``."""


@dataclass(frozen=True)
class Target:
    """One condition on the pruned model.

    text: as it was written. kind: ``layers`` (so many are removed, of all stacks together), ``stacks`` (so many of
    each), ``params``, ``macs`` or ``megabytes`` (at most so much is left), ``speedup`` (at least so many times as fast).
    amount: in the unit of ``kind``; a share in [0, 1] where ``is_share``. counts: of ``stacks`` only. batch_size: of ``speedup``
    only, the utterances that are recognised together.
    """

    text: str
    kind: str
    amount: float
    is_share: bool = False
    counts: Mapping[str, int] | None = None
    batch_size: int = 1

    def reached(self, counts: LayerCounts, costs: ModelCosts) -> bool:
        """Whether the model that has lost so many layers of each stack fulfils the condition."""
        if self.kind == "layers":
            return counts.total >= self.amount
        if self.counts is not None:
            return all(counts[stack] >= number for stack, number in self.counts.items())
        unit = self._costs(costs)
        if self.kind == "speedup":
            return unit.ratio(counts) >= self.amount * (1 - _ROUNDING)
        return unit.after(counts) <= self._limit(unit) * (1 + _ROUNDING)

    def state(self, counts: LayerCounts, costs: ModelCosts) -> str:
        """What is to say of a model without so many layers, as a part of a sentence with units: ``has 1.2M parameters``."""
        if self.kind in ("layers", "stacks"):
            return f"has lost {counts.total} layer{'s' * (counts.total != 1)}"
        unit = self._costs(costs)
        if self.kind == "speedup":
            together = f", {self.batch_size} utterances at a time" if self.batch_size > 1 else ""
            return f"is {unit.ratio(counts):.2f} times as fast as the whole model on this machine{together}"
        left = unit.after(counts)
        size = f"{left / 1e6:.3g} {_UNITS[self.kind]}" if self.kind == "megabytes" else quantity(left, _UNITS[self.kind])
        return f"has {size} ({left / unit.whole:.1%} of the whole model's)"

    def _limit(self, unit: Costs) -> float:
        return self.amount * unit.whole if self.is_share else self.amount * (1e6 if self.kind == "megabytes" else 1)

    def _costs(self, costs: ModelCosts) -> Costs:
        if self.kind == "speedup":
            if costs.seconds is None or costs.batch_size != self.batch_size:
                raise TargetError(f"--target {self.text}: the speed of the model has not been measured on this machine")
            return costs.seconds
        return {"params": costs.parameters, "macs": costs.multiply_adds, "megabytes": costs.bytes}[self.kind]


def parse_target(text: str, num_layers: Mapping[str, int]) -> list[Target]:
    """The conditions that ``--target`` states, with commas between them: all of them have to hold.

    num_layers: name and L of each stack.

    >>> [target.kind for target in parse_target("params=50%,speedup=1.5", {"encoder": 12})]
    ['params', 'speedup']

    Raises TargetError, which names the forms that there are, for anything else.
    """
    if _LAYERS.fullmatch(text.strip()):
        raise TargetError(f"--target {shown(text)}: a target counts the layers to remove and does not name them; write layers=2 for two. "
                          "The steps of the recipes take layers by their numbers, as --proposals")
    targets = [_parsed(part.strip(), num_layers) for part in text.split(",")]
    if len({target.batch_size for target in targets if target.kind == "speedup"}) > 1:
        raise TargetError(f"--target {shown(text)}: a speed-up is measured in batches of one size; give one")
    return targets


def timed_batch_size(targets: Sequence[Target]) -> int | None:
    """How many utterances at a time the model has to be timed with; None where no target is a speed-up."""
    return next((target.batch_size for target in targets if target.kind == "speedup"), None)


def resolve(targets: Sequence[Target], costs: ModelCosts) -> list[LayerCounts]:
    """The numbers of layers to remove of each stack that just reach all targets: to remove fewer of any stack would not.

    One stack has one answer. Of several stacks the answers are ordered by the layers that they remove altogether.

    Raises TargetError where the whole model reaches the targets already, and where no pruned model does; it then says
    what the smallest one has.

    >>> size = Costs(100.0, {"encoder": 5.0, "decoder": 10.0})
    >>> costs = ModelCosts({"encoder": 6, "decoder": 4}, {"encoder": 5, "decoder": 3}, size, size, size)
    >>> [str(counts) for counts in resolve(parse_target("params=80%", costs.num_layers), costs)]
    ['decoder=2', 'encoder=2+decoder=1', 'encoder=4']
    """
    most = LayerCounts(costs.removable)
    for target in targets:
        _check_stacks(target, costs)
        if not target.reached(most, costs):
            raise TargetError(
                f"--target {target.text} cannot be reached by removing layers: with all of them gone that may go "
                f"({_described(most, costs)}), the model {target.state(most, costs)}"
            )
    nothing = LayerCounts({stack: 0 for stack in costs.num_layers})
    if all(target.reached(nothing, costs) for target in targets):
        raise TargetError(
            "; ".join(f"--target {target.text} is reached without removing anything: the model {target.state(nothing, costs)}"
                      for target in targets)
        )
    reaching: list[LayerCounts] = []
    ranges = [range(number + 1) for number in costs.removable.values()]
    for numbers in sorted(itertools.product(*ranges), key=lambda numbers: (sum(numbers), numbers)):
        counts = LayerCounts(dict(zip(costs.removable, numbers)))
        covered = any(all(counts[stack] >= found[stack] for stack in counts) for found in reaching)
        if not covered and all(target.reached(counts, costs) for target in targets):
            reaching.append(counts)
    return reaching


def _parsed(text: str, num_layers: Mapping[str, int]) -> Target:
    name, equals, value = (piece.strip() for piece in text.partition("="))
    if name in num_layers and equals:
        return Target(text, "stacks", 0, counts=_numbers_of_stacks(text, num_layers))
    match = _AMOUNT.fullmatch(value)
    fault = None
    if name in _STACKS and equals:
        fault = f"this model has no {name}, only the layers of its {' and '.join(num_layers)}"
    elif name not in ("layers", "speedup", *_UNITS):
        fault = f"there is no target {shown(name)}" if equals else f"{shown(text)} is not of the form NAME=VALUE"
    elif match is None or len(value) > 30:
        fault = f"{shown(value)} is not a number, with %, k, M, G or B behind it where that fits"
    elif match[2] and name not in ("params", "macs") and not (name == "megabytes" and match[2] == "%"):
        fault = f"{name} takes a plain number, not one with {match[2]} behind it"
    elif match[3] and (name != "speedup" or int(match[3]) < 1):
        fault = "only speedup takes a number of utterances behind an @, from 1"
    elif name == "layers" and (not match[1].isdigit() or int(match[1]) < 1):
        fault = "a number of layers to remove is a whole number from 1"
    elif name == "speedup" and float(match[1]) <= 1:
        fault = f"speedup says how many times as fast the model is to be, more than 1, not {match[1]}"
    elif match[2] == "%" and float(match[1]) > 100:
        fault = f"{value} of the model is more than there is"
    if fault is not None or match is None:
        raise TargetError(f"--target {shown(text)}: {fault}; write {FORMS}")
    if match[2] == "%":
        return Target(text, name, float(match[1]) / 100, is_share=True)
    return Target(text, name, float(match[1]) * _FACTOR[match[2]], batch_size=int(match[3] or 1))


def _numbers_of_stacks(text: str, num_layers: Mapping[str, int]) -> dict[str, int]:
    try:
        parts = split_by_stack(text, num_layers, "the number of layers to remove, as in 'encoder=2+decoder=3'")
    except ProposalError as error:
        raise TargetError(f"--target {shown(text)}: {error}") from None
    for stack, number in parts.items():
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise TargetError(f"--target {shown(text)}: {shown(number)} is not a number of layers of the {stack}; write {FORMS}")
    return {stack: int(parts.get(stack, "0")) for stack in num_layers}


def _check_stacks(target: Target, costs: ModelCosts) -> None:
    for stack, number in (target.counts or {}).items():
        if number > costs.removable[stack]:
            raise TargetError(
                f"--target {target.text}: cannot remove {number} of {costs.num_layers[stack]} layers of the {stack}; "
                f"at most {costs.removable[stack]} may go"
            )


def _described(counts: LayerCounts, costs: ModelCosts) -> str:
    return ", ".join(f"{number} of {costs.num_layers[stack]} layers of the {stack}" for stack, number in counts.items())
