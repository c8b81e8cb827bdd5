"""What a library gives its first layer, caught from the library's own forward pass.

Layer 1 is replaced by a stand-in that keeps its arguments and ends the pass. Whatever comes before the layers
(convolutions, masks, positions, biases) is thereby the library's own code, and needs no copy of it here.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, NamedTuple

import torch

_OFF_IN_TRAINING = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop", "mask_time_prob", "mask_feature_prob")


class Caught(NamedTuple):
    """hidden: what enters layer 1, (B, T, D). args, kwargs: what layer 1 was given besides."""

    hidden: torch.Tensor
    args: tuple
    kwargs: dict[str, Any]


class _Stop(Exception):
    """Ends a forward pass at layer 1."""


class _StandIn(torch.nn.Module):
    """Layer 1's place; attributes that the library asks of a layer are those of the real one."""

    def __init__(self, layer: torch.nn.Module):
        super().__init__()
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "caught", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "layer"), name)

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Keep the arguments and end the pass."""
        hidden, args = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
        object.__setattr__(self, "caught", Caught(hidden, args, kwargs))
        raise _Stop


def catch(call: Callable[[], Any], owner: torch.nn.Module, attribute: str) -> Caught:
    """Run ``call``, a forward pass of the library, up to the first layer of ``owner.attribute``, a ModuleList.

    Raises RuntimeError where the pass never comes to the layers.
    """
    layers = getattr(owner, attribute)
    stand_in = _StandIn(layers[0])
    setattr(owner, attribute, torch.nn.ModuleList([stand_in]))
    try:
        call()
    except _Stop:
        return stand_in.caught
    finally:
        setattr(owner, attribute, layers)
    raise RuntimeError(f"the forward pass of {type(owner).__name__} does not come to its {attribute}")


@contextlib.contextmanager
def without_random_skipping(*configurations: Any) -> Iterator[None]:
    """Within the block the library drops no layer and masks no features in training mode (SpecAugment)."""
    before = [(config, name, getattr(config, name)) for config in configurations
              for name in _OFF_IN_TRAINING if hasattr(config, name)]
    try:
        for config, name, _ in before:
            setattr(config, name, 0.0)
        yield
    finally:
        for config, name, value in before:
            setattr(config, name, value)
