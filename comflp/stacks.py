"""The stacks of a model as its record says them, for what has to know its layers and needs no weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Protocol

from comflp.errors import ComflpError, shown


class Layers(Protocol):
    """What a stack says of its layers: how many there are, and which must stay, with the reasons."""

    @property
    def num_layers(self) -> int: ...

    @property
    def must_stay(self) -> Mapping[int, str]: ...


Stacks = Mapping[str, Layers]
"""The stacks of a model by their names, in its order."""


@dataclass(frozen=True)
class RecordedLayers:
    """Layers of a stack, without the stack. must_stay: layer number (from 1) -> why this layer cannot be removed."""

    num_layers: int
    must_stay: Mapping[int, str] = field(default_factory=dict)


def depths_of(stacks: Stacks) -> dict[str, int]:
    """Stack -> number of its layers.

    >>> depths_of({"encoder": RecordedLayers(6), "decoder": RecordedLayers(4)})
    {'encoder': 6, 'decoder': 4}
    """
    return {name: layers.num_layers for name, layers in stacks.items()}


def depth_of(stacks: Stacks) -> int | dict[str, int]:
    """How deep a model is, as files have it: its layers where it has one stack, else those of each.

    >>> depth_of({"encoder": RecordedLayers(6)})
    6
    """
    depths = depths_of(stacks)
    return depths if len(depths) > 1 else sum(depths.values())


def depth_in_words(depth: int | Mapping[str, int], between: str = ", ") -> str:
    """What :func:`depth_of` gives, as people read it: the encoder first, whatever order a file has kept.

    >>> depth_in_words({"encoder": 6, "decoder": 4}), depth_in_words(12)
    ('6 encoder, 4 decoder', '12')
    """
    return between.join(f"{layers} {name}" for name, layers in sorted(depth.items(), reverse=True)) if isinstance(depth, Mapping) else str(depth)


def as_json(stacks: Stacks) -> dict[str, Any]:
    """What a record keeps of the stacks of a model.

    >>> as_json({"encoder": RecordedLayers(12, {1: "it owns what all share"})})
    {'encoder': {'num_layers': 12, 'must_stay': {'1': 'it owns what all share'}}}
    """
    return {
        name: {"num_layers": layers.num_layers, "must_stay": {str(layer): why for layer, why in layers.must_stay.items()}}
        for name, layers in stacks.items()
    }


def from_json(content: Any) -> dict[str, RecordedLayers]:
    """What :func:`as_json` gave; ComflpError where it is something else."""
    try:
        return {
            name: RecordedLayers(int(layers["num_layers"]), {int(layer): str(why) for layer, why in layers["must_stay"].items()})
            for name, layers in content.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ComflpError(f"{shown(content)} does not say how many layers a model has") from None
