"""What flows inside a layer of a library, seen by hooks on the library's own modules."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Iterable, Iterator

import torch

from comflp.models.layered import LayeredModel, State, Step


def layer_of(model: LayeredModel, step: Step) -> torch.nn.Module:
    """The library's module that a step runs."""
    return model.stacks[step.stack].layers[step.layer - 1]


class _Stop(Exception):
    """Ends a layer's pass when all that was asked for has been seen."""


def inputs_of(
    model: LayeredModel, state: State, step: Step, names: Iterable[str], to_end: bool = False
) -> tuple[dict[str, torch.Tensor], State | None]:
    """The first argument of modules of a layer in one pass, and the state after it.

    step: the layer. names: of modules within it. to_end: finish the pass; otherwise it ends at the last of the modules,
    and None is returned in place of the state.

    A module that was not called, or more than once, is left out of the inputs when the pass runs to its end.
    """
    layer, names = layer_of(model, step), set(names)
    seen: dict[str, torch.Tensor] = {}
    calls = dict.fromkeys(names, 0)

    def keep(name: str, module: torch.nn.Module, arguments: tuple) -> None:
        seen[name] = arguments[0]
        calls[name] += 1
        if not to_end and len(seen) == len(names):
            raise _Stop

    handles = [layer.get_submodule(name).register_forward_pre_hook(partial(keep, name)) for name in names]
    try:
        after = model.run(state, step)
    except _Stop:
        return seen, None
    finally:
        for handle in handles:
            handle.remove()
    return {name: tensor for name, tensor in seen.items() if calls[name] == 1}, after


@contextlib.contextmanager
def calling_output_map(attention: torch.nn.Module | None) -> Iterator[None]:
    """Within the block an attention module calls its ``out_proj``, so that hooks see it; it computes the same.

    For modules that hand the weights of their maps to a function of torch (nn.MultiheadAttention, WavLM's attention).
    They run with the identity in place of ``out_proj``, which then gets what they return.
    """
    if attention is None:
        yield
        return
    output_map, forward = attention.out_proj, attention.forward
    identity = torch.nn.Linear(output_map.in_features, output_map.in_features, device=output_map.weight.device)
    identity.weight.data, identity.bias.data = torch.eye(output_map.in_features).to(identity.weight), torch.zeros_like(identity.bias)

    def call(*arguments, **options):
        attention.out_proj = identity
        try:
            result = forward(*arguments, **options)
        finally:
            attention.out_proj = output_map
        return (output_map(result[0]), *result[1:])

    attention.forward = call
    try:
        yield
    finally:
        del attention.forward
