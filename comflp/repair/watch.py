"""What flows inside a layer of a library, seen by hooks on the library's own modules."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Callable, Iterable, Iterator

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

    step: the layer. names: which modules within it. to_end: finish the pass; otherwise it ends at the last of the modules,
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


class Replay:
    """A module within a layer of which only the last map has to run again, such as an attention whose output map is fitted.

    What the map reads is settled by then, and does not change while later maps of the layer are fitted. It is kept batch by
    batch, where the module gives what the map makes of it and nothing else; so a pass with it is the same pass, but for the time.
    """

    def __init__(self, layer: torch.nn.Module, writer: str):
        self.module, self.map = layer.get_submodule(writer.rpartition(".")[0]), layer.get_submodule(writer)
        self.kept: dict[int, Callable[[], Any]] = {}

    @contextlib.contextmanager
    def recording(self, batch: int) -> Iterator[None]:
        """Within the block the module's pass is kept, under the number of a batch."""
        seen: dict[str, torch.Tensor] = {}

        def of_map(module: torch.nn.Module, arguments: tuple, output: torch.Tensor) -> None:
            seen.update(read=arguments[0], gave=output)

        def of_module(module: torch.nn.Module, arguments: tuple, output: Any) -> None:
            first, rest = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
            if first is seen.get("gave") and not any(isinstance(part, torch.Tensor) for part in rest or ()):
                read = seen["read"]
                self.kept[batch] = lambda: self.map(read) if rest is None else (self.map(read), *rest)

        handles = [self.map.register_forward_hook(of_map), self.module.register_forward_hook(of_module)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def replaying(self, batch: int) -> Iterator[None]:
        """Within the block the module gives what it gave for this batch, through its map as it is now, where that was kept."""
        if batch not in self.kept:
            yield
            return
        own = vars(self.module).get("forward")
        self.module.forward = lambda *arguments, **options: self.kept[batch]()
        try:
            yield
        finally:
            if own is None:
                del self.module.forward
            else:
                self.module.forward = own


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
