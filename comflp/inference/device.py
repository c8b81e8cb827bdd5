"""Where a model runs, and in which mode."""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch


def device_of(model: torch.nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device


@contextlib.contextmanager
def evaluation(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode without gradients for the time of the block; the mode before it comes back after."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
