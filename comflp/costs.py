"""What the parts of a model cost: parameters, bytes, multiply-adds, seconds; and how little pruning can bring it to.

The layers of a stack cost the same, and what is no layer (front end, head) stays, whatever is removed.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping

from comflp.artifacts import read_json, write_json
from comflp.errors import ComflpError

_SMALL = 0.05
"""A share of the whole below which what stays is not worth a word."""


@dataclass(frozen=True)
class Costs:
    """What a model costs in one unit.

    whole: the complete model. layer: name of a stack -> one of its layers. front: everything before the first layer;
    None where it is not told from the head.

    >>> costs = Costs(whole=100.0, layer={"encoder": 5.0})
    >>> costs.after({"encoder": 6}), round(costs.ratio({"encoder": 6}), 2)
    (70.0, 1.43)
    """

    whole: float
    layer: Mapping[str, float]
    front: float | None = None

    def after(self, counts: Mapping[str, int]) -> float:
        """What is left when so many layers of each stack are removed."""
        return self.whole - sum(number * self.layer[stack] for stack, number in counts.items())

    def ratio(self, counts: Mapping[str, int]) -> float:
        """The whole over what is left: of seconds, how many times as fast the pruned model is."""
        return self.whole / self.after(counts)


@dataclass(frozen=True)
class ModelCosts:
    """What a model costs in every unit.

    num_layers: name of a stack -> L. removable: name of a stack -> how many of its layers may be removed, at most L - 1.
    parameters: scalars. bytes: what the weights take. multiply_adds: for one second of audio. seconds: for one second of
    audio, of ``batch_size`` utterances at a time; None where nobody has measured them. measured_on: how, in words.
    """

    num_layers: Mapping[str, int]
    removable: Mapping[str, int]
    parameters: Costs
    bytes: Costs
    multiply_adds: Costs
    seconds: Costs | None = None
    measured_on: str = ""
    batch_size: int = 1

    def write(self, path: str | Path) -> None:
        """Write them as JSON (docs/targets.md)."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: str | Path) -> ModelCosts:
        """What :meth:`write` wrote; ComflpError names the file where it holds something else."""
        found = read_json(path)
        try:
            units = {unit: found[unit] and Costs(**found[unit]) for unit in ("parameters", "bytes", "multiply_adds", "seconds")}
            return cls(**{**found, **units})
        except (TypeError, AttributeError, KeyError) as error:
            raise ComflpError(f"{path} does not hold the costs of a model ({error}); remove it, and it is made again") from None

    def measured_here(self, batch_size: int, processor: str) -> bool:
        """Whether the seconds were measured on this machine and this ``processor`` of it, of so many utterances at a time."""
        where = self.measured_on.startswith(f"{processor}, ") and self.measured_on.endswith(f", {platform.node()}")
        return self.seconds is not None and self.batch_size == batch_size and where

    @property
    def halved(self) -> dict[str, int]:
        """Half of the layers of each stack, as far as they may be removed."""
        return {stack: min(size // 2, self.removable[stack]) for stack, size in self.num_layers.items()}

    @property
    def ceiling(self) -> str:
        """One line on how fast removing half of the layers can make the model, and what keeps it from being faster."""
        halved = self.halved
        whose = " and ".join(f"the {stack}'s" for stack, number in halved.items() if number)
        costs, by = (self.multiply_adds, "by multiply-adds") if self.seconds is None else (self.seconds, "as measured here")
        if not whose:
            return "no layer of this model can be removed"
        kept = costs.whole - sum(size * costs.layer[stack] for stack, size in self.num_layers.items())
        share, what = kept / costs.whole, "front end and head stay"
        if costs.front is not None and costs.front > 0.8 * kept:
            share, what = costs.front / costs.whole, "front end stays"
        reason = f": its {what}, {share:.0%} of the work" if share >= _SMALL else ""
        return (f"removing half of {whose} layers can make this model at most {costs.ratio(halved):.2f} times as fast "
                f"({by}){reason}")


def quantity(value: float, unit: str = "") -> str:
    """A large number in words of three digits.

    >>> quantity(94_371_712, "parameters"), quantity(6.9e9, "multiply-adds a second"), quantity(812)
    ('94.4M parameters', '6.9G multiply-adds a second', '812')
    """
    scaled: Any = value
    letters = ["", "k", "M", "G" if unit.startswith("multiply") else "B"]
    while scaled >= 999.5 and len(letters) > 1:
        scaled, letters = scaled / 1000, letters[1:]
    return f"{scaled:.3g}{letters[0]} {unit}".rstrip()
