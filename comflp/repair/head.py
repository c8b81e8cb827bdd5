"""The output projection, fitted to the deep model's posteriors."""

from __future__ import annotations

from typing import Sequence

import torch

from comflp.data.batching import own_frames
from comflp.models.layered import LayeredModel, State
from comflp.repair.fit import Changes
from comflp.repair.maps import LinearMap, shared_parameters
from comflp.repair.watch import inputs_of

ITERATIONS = 30


def projection_of(model: LayeredModel, state: State) -> str | None:
    """The name of the linear map that makes the logits; None where there is none, or where its weights are used elsewhere."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d)
    candidates = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    seen, logits = inputs_of(model, candidates, lambda: model.finish(state).logits, to_end=True)
    shared = shared_parameters(model)
    weights = {name: LinearMap(model, name).weight for name in seen}
    found = [name for name, weight in weights.items() if len(weight) == logits.shape[-1] and id(weight) not in shared]
    return found[-1] if found else None


def projection_inputs(model: LayeredModel, name: str, states: Sequence[State]) -> list[torch.Tensor]:
    """(rows, D) of each batch: what the projection reads of the utterances' own rows."""
    channels_first = LinearMap(model, name).channels_first
    rows = []
    for state in states:
        seen, _ = inputs_of(model, [name], lambda: model.finish(state).logits)
        hidden = seen[name].transpose(1, 2) if channels_first else seen[name]
        rows.append(hidden[own_frames(model.finish(state).num_frames, hidden.shape[1])])
    return rows


def fitted_projection(
    own: LinearMap, inputs: Sequence[torch.Tensor], deep: LinearMap, deep_inputs: Sequence[torch.Tensor]
) -> Changes:
    """New values that bring the posteriors nearest to the deep model's (L-BFGS; the penalty counts as one frame).

    inputs, deep_inputs: (rows, D) of each batch, what the projection reads in either model.
    """
    rows = sum(len(batch) for batch in inputs)
    weight, bias = own.matrix.float(), own.offset.float()
    deep_weight, deep_bias = deep.matrix.float(), deep.offset.float()
    matrix = torch.zeros_like(weight, requires_grad=True)
    offset = torch.zeros_like(bias, requires_grad=own.bias is not None)
    free = [matrix, offset] if own.bias is not None else [matrix]
    optimizer = torch.optim.LBFGS(free, max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = (matrix**2).sum() / rows
        penalty.backward()
        total = float(penalty.detach())
        for read, deep_read in zip(inputs, deep_inputs):
            target = torch.softmax(torch.nn.functional.linear(deep_read, deep_weight, deep_bias), dim=-1)
            log_probs = torch.log_softmax(torch.nn.functional.linear(read, weight + matrix, bias + offset), dim=-1)
            loss = -(target * log_probs).sum() / rows
            loss.backward()
            total += float(loss.detach())
        return torch.tensor(total, device=weight.device)

    with torch.enable_grad():
        optimizer.step(closure)
    return own.changed(matrix.detach().double(), offset.detach().double())
