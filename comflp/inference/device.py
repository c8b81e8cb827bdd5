"""Where a model runs, and in which mode."""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name -> the type that torch.autocast computes in; None where it computes in the weights' own."""


def device_of(model: torch.nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device


@contextlib.contextmanager
def evaluation(model: torch.nn.Module, precision: str = "fp32") -> Iterator[None]:
    """Eval mode without gradients for the time of the block; the mode before it comes back after.

    precision: a name of PRECISIONS. Weights stay as they are; what torch.autocast allows is computed in this type.
    """
    was_training, dtype = model.training, PRECISIONS[precision]
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device_of(model).type, dtype, enabled=dtype is not None):
            yield
    finally:
        model.train(was_training)
