"""Measuring what the parts of a model cost: counted multiply-adds, and seconds on the machine at hand."""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from comflp.costs import Costs, ModelCosts
from comflp.inference.device import evaluation, processor_of
from comflp.models.layered import ENTER, LayeredModel
from comflp.models.verify import noise_batch
from comflp.proposal import Proposal, PruningProposal, joined
from comflp.stacks import depths_of

AUDIO_SECONDS = 10.0
"""Length of the one utterance that is counted and timed."""
TOKENS_A_SECOND = 3
"""Tokens that a decoder, where there is one, reads of it for each second; people speak about as many."""
_ROUNDS = 5
_FRONT, _HEAD = "front", "head"


def measure_costs(model: LayeredModel) -> ModelCosts:
    """Parameters, bytes and multiply-adds of a model; multiply-adds for :data:`AUDIO_SECONDS` of audio, a second of it.

    One layer of each stack is run; multiply-adds are those of matrix products and convolutions (torch.utils.flop_counter).
    """
    # WavLM's first layer owns what all share, and hands it on when it goes: the median layer is what is saved.
    removable = {
        name: min(stack.num_layers - len(stack.must_stay), stack.num_layers - 1) for name, stack in model.stacks.items()
    }
    num_layers = depths_of(model.stacks)
    layers = {name: _removable_layers(model, name) for name in model.stacks}
    counts = {name: [sum(p.numel() for p in layer.parameters()) for layer in found] for name, found in layers.items()}
    size = model.weight_type.itemsize
    return ModelCosts(
        num_layers=num_layers,
        removable=removable,
        parameters=Costs(float(model.num_parameters), {name: statistics.median_low(sizes) for name, sizes in counts.items()}),
        bytes=Costs(float(size * model.num_parameters), {name: size * statistics.median_low(found) for name, found in counts.items()}),
        multiply_adds=_by_parts(model, multiply_adds),
    )


def measure_seconds(model: LayeredModel, costs: ModelCosts, batch_size: int = 1) -> ModelCosts:
    """``costs`` with the seconds that the model takes on this machine for a second of audio, in utterances of :data:`AUDIO_SECONDS`.

    batch_size: utterances that it recognises together. PyTorch has one thread on the CPU. Each part is timed five times, and the median counts.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = _by_parts(model, partial(_seconds, model), batch_size, model.recognition_path)
    finally:
        torch.set_num_threads(before)
    batch = "one utterance" if batch_size == 1 else f"{batch_size} utterances"
    way = ", decoder as it writes" if model.teacher_forced else ""
    measured = f"{processor_of(model.device)}, batch of {batch} of {AUDIO_SECONDS:g} s{way}, 1 CPU thread, {platform.node()}"
    return replace(costs, seconds=seconds, measured_on=measured, batch_size=batch_size)


def costs_of(model: LayeredModel, batch_size: int | None, path: Path) -> ModelCosts:
    """The costs of a model; seconds come from ``path`` where a model of the same costs was measured, and go there.

    batch_size: with how many utterances at a time its speed has to be measured; None where it has not.
    """
    costs = measure_costs(model)
    if batch_size is None:
        return costs
    if path.exists():
        known = ModelCosts.read(path)
        if known.measured_here(batch_size, processor_of(model.device)) and replace(known, seconds=None, measured_on="", batch_size=1) == costs:
            return known
    costs = measure_seconds(model, costs, batch_size)
    costs.write(path)
    return costs


@contextlib.contextmanager
def unfused_attention() -> Iterator[None]:
    """Keep torch.nn.TransformerEncoderLayer from its fused kernel, which tracers and counters cannot look into."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def multiply_adds(call: Callable[[], Any]) -> tuple[Any, float]:
    """(what ``call()`` returned, the multiply-adds of its matrix products and convolutions)."""
    # The fused kernel of scaled_dot_product_attention on the CPU is one that the counter does not know.
    with unfused_attention(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops() / 2


def _removable_layers(model: LayeredModel, name: str) -> list[torch.nn.Module]:
    stack = model.stacks[name]
    return [layer for number, layer in enumerate(stack.layers, start=1) if number not in stack.must_stay] or list(stack.layers)


def _by_parts(model: LayeredModel, cost_of: Callable, batch_size: int = 1, path_of: Callable | None = None) -> Costs:
    """The costs of a pass through the parts: front end, one layer of each stack that may go, and head, a second of audio.

    cost_of: function to call -> (what it returned, its cost). path_of: proposal -> the steps that are run one by one, all without it. Where it
    leaves out a decoder, which writes token by token in its library's search, the layers of that are what the search takes less without them.
    """
    # Without a name nothing refuses it for its length: an extractor with a window cuts it to that.
    batch = replace(noise_batch(model.sample_rate, (AUDIO_SECONDS,) * batch_size), utterances=())
    if model.teacher_forced:
        batch = batch.with_targets(model.example_targets(batch_size, round(TOKENS_A_SECOND * AUDIO_SECONDS)))
    batch = batch.to(model.device)
    found: dict[str, float] = defaultdict(float)
    layer: dict[str, list[float]] = defaultdict(list)
    staying: dict[str, float] = defaultdict(float)
    with evaluation(model):
        state, cost = cost_of(partial(model.begin, batch))
        found[_FRONT] += cost
        shortest = _shortest(model)
        path = (path_of or model.path)(shortest)
        for step in path:
            state, cost = cost_of(partial(model.run, state, step))
            if step.layer <= ENTER:
                found[_HEAD] += cost
            elif step.layer in model.stacks[step.stack].must_stay:
                staying[step.stack] += cost
            else:
                layer[step.stack].append(cost)
        if path == model.path(shortest):
            _, cost = cost_of(partial(model.spell if path_of else model.finish, state))  # a transducer's search is more than its head
        else:
            tokens = min(round(TOKENS_A_SECOND * AUDIO_SECONDS), model.most_tokens)
            spell: Callable[..., Any] = model.spell
            whole, least = (cost_of(partial(spell, state, proposal, tokens, tokens))[1] for proposal in (model.nothing, shortest))
            (decoder,) = model.stacks.keys() - {step.stack for step in path}
            gone = shortest.of(decoder).num_removed
            layer[decoder] = [max(whole - least, 0.0) / gone if gone else 0.0]
            cost = least - layer[decoder][0]
        found[_HEAD] += cost
    seconds = AUDIO_SECONDS * batch_size
    mean = {name: statistics.fmean(layer[name]) / seconds if layer[name] else 0.0 for name in model.stacks}
    may_go = {name: stack.num_layers - len(stack.must_stay) for name, stack in model.stacks.items()}
    rest = (sum(found.values()) + sum(staying.values())) / seconds
    return Costs(rest + sum(may_go[name] * mean[name] for name in mean), mean, found[_FRONT] / seconds)


def _shortest(model: LayeredModel) -> Proposal:
    """The proposal that leaves of each stack the layers that must stay and one of the others."""
    parts = {}
    for name, stack in model.stacks.items():
        may_go = [number for number in range(1, stack.num_layers + 1) if number not in stack.must_stay]
        parts[name] = PruningProposal.from_layers(may_go[1:], stack.num_layers)
    return joined(parts)


def _seconds(model: LayeredModel, call: Callable[[], Any]) -> tuple[Any, float]:
    result, taken = call(), []
    wait = torch.cuda.synchronize if model.device.type == "cuda" else lambda: None  # a GPU computes while the clock is read
    for _ in range(_ROUNDS):
        wait()
        start = time.perf_counter()
        result = call()
        wait()
        taken.append(time.perf_counter() - start)
    return result, statistics.median(taken)
