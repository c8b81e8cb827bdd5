"""Where a model runs, and in which mode."""

from __future__ import annotations

import contextlib
import platform
from typing import Iterator, TypeVar

import torch

from comflp.errors import ComflpError
from comflp.inference.speech import PRECISIONS

_Model = TypeVar("_Model", bound=torch.nn.Module)


def placed(model: _Model, device: str | None) -> _Model:
    """``model`` itself, in evaluation mode on a device such as ``cpu`` or ``cuda:1``; on a GPU if there is one, where none is named.

    Raises ComflpError for a device that cannot be used.
    """
    try:
        return model.to(device or _usual()).eval()
    except (RuntimeError, AssertionError) as error:
        raise ComflpError(f"--device {device or _usual()} cannot be used: {error}") from None


def processor_of(device: str | torch.device | None) -> str:
    """The GPU, or the kind of CPU, that a model runs on which is :func:`placed` on ``device``, as its maker calls it."""
    where = torch.device(device or _usual())
    return torch.cuda.get_device_name(where) if where.type == "cuda" else platform.processor() or platform.machine()


def _usual() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def evaluation(model: torch.nn.Module, precision: str = "fp32") -> Iterator[None]:
    """Eval mode without gradients for the time of the block; the mode before it comes back after.

    precision: a name of PRECISIONS. Weights stay as they are; what torch.autocast allows is computed in this type.
    """
    was_training, dtype = model.training, getattr(torch, PRECISIONS[precision])
    if any(module.training for module in model.modules()):  # setting every module anew is a tenth of a small model's pass over an utterance
        model.eval()
    try:
        with torch.no_grad(), torch.autocast(next(model.parameters()).device.type, dtype, enabled=precision != "fp32"):
            yield
    finally:
        if was_training:
            model.train()
