"""The output projection, fitted to the deep model's posteriors."""

from __future__ import annotations

from typing import Sequence

import torch

from comflp.models.layered import LayeredModel, State
from comflp.repair.fit import Changes
from comflp.repair.maps import LinearMap, shared_parameters

ITERATIONS = 30


def projection_of(model: LayeredModel, state: State) -> str | None:
    """The name of the linear map that makes the logits, the last one; None where there is none, or where its weights are used elsewhere."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d)
    called: list[str] = []
    handles = [module.register_forward_pre_hook(lambda _, __, name=name: called.append(name))
               for name, module in model.named_modules() if isinstance(module, kinds)]
    try:
        width = model.finish(state).logits.shape[-1]
    finally:
        for handle in handles:
            handle.remove()
    weight = LinearMap(model, called[-1]).weight if called else None
    makes_logits = weight is not None and len(weight) == width
    return called[-1] if makes_logits and id(weight) not in shared_parameters(model) else None


def projection_inputs(model: LayeredModel, name: str, states: Sequence[State]) -> list[torch.Tensor]:
    """(rows, D) of each batch: what the projection reads of the utterances' own rows."""
    channels_first = LinearMap(model, name).channels_first
    batches = []
    for state in states:
        read: list[torch.Tensor] = []
        handle = model.get_submodule(name).register_forward_pre_hook(lambda _, arguments, read=read: read.append(arguments[0]))
        try:
            output = model.finish(state)
        finally:
            handle.remove()
        hidden = [tensor.transpose(1, 2) if channels_first else tensor for tensor in read]
        # A head that reads padding runs utterance by utterance.
        batches.append(hidden[0][output.own()] if len(hidden) == 1 else torch.cat([alone[0] for alone in hidden]))
    return batches


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
