"""What the values of a training configuration have to be, as option_types.py says it of options."""

from __future__ import annotations

import math
from typing import Any, Callable, Mapping

from comflp.errors import ComflpError
from comflp.measures import HIDDEN, MEASURES


def _whole(low: int, high: int = 10**9, or_null: bool = False) -> tuple[Callable[[Any], bool], str]:
    """(whether a value is one, what it has to be)"""
    words = f"a whole number from {low:,} to {high:,}" + (", or null" if or_null else "")
    return lambda value: (or_null and value is None) or (_is_whole(value) and low <= value <= high), words


def _real(above: float = -math.inf, low: float = -math.inf, high: float = math.inf, below: float = math.inf, endless: bool = False):
    words = [f"above {above:g}" if above > -math.inf else f"from {low:g}"]
    words += [f"to below {below:g}"] if below < math.inf else [f"to {high:g}"] if high < math.inf else []

    def is_one(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
        return number and above < value < below + endless and low <= value <= high or (endless and value == math.inf)

    return is_one, f"a number {' '.join(words)}"


def _one_of(*known: Any) -> tuple[Callable[[Any], bool], str]:
    return lambda value: any(type(value) is type(one) and value == one for one in known), f"one of {', '.join(map(str, known))}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_architecture(value: Any) -> bool:
    from comflp.models.own.transformer_ctc import Architecture  # imports torch, which takes seconds

    return isinstance(value, Architecture)


_TYPES = {
    "optimizer": (callable, "a class of optimizers, as !name:torch.optim.AdamW"),
    "scheduler": (callable, "a class of schedules, as !name:torch.optim.lr_scheduler.ReduceLROnPlateau"),
    "augmentation": (lambda value: value is None or callable(value), "an object, as !new:speechbrain.augment.augmenter.Augmenter, or null"),
    "architecture": (_is_architecture, "an object, !new:comflp.models.own.transformer_ctc.Architecture"),
    "seed": _whole(0, 2**32 - 1),
    "number_of_epochs": _whole(0, 1_000_000),
    "lr": _real(above=0, high=100),
    "layerdrop": _real(low=0, below=1),
    "subnetworks": (lambda value: _is_whole(value) or isinstance(value, str), "proposals with a slash between two, such as 7-12/2,4,6"),
    "subnetwork_weight": _real(low=0, below=1),
    "max_batch_seconds": _real(above=0, high=1e6),
    "max_batch_utterances": _whole(1, or_null=True),
    "batch_order": _one_of("random", "ascending", "descending", "sortagrad"),
    "grad_accumulation_factor": _whole(1),
    "max_grad_norm": _real(above=0, endless=True),
    "freeze_feature_extractor": _one_of(True, False),
    "gradient_checkpointing": _one_of(True, False),
    "monitor": _one_of("error_rate", "loss"),
    "average": _whole(1, 10_000),
    "early_stopping": _whole(1, or_null=True),
    "stop_below": (lambda value: value is None or _real(above=0, high=100)[0](value), "a percentage above 0, or null"),
    "snapshot_epochs": (lambda value: isinstance(value, list) and all(_is_whole(one) and one >= 0 for one in value)
                        and len(set(value)) == len(value), "a list of epochs from 0, none of them twice"),
    "snapshot_measure": _one_of(*(name for name, measure in MEASURES.items() if measure.source == HIDDEN)),
    "snapshot_utterances": _whole(1),
    "distill_ctc_weight": _real(low=0, high=1e6),
    "distill_hidden_weight": _real(low=0, high=1e6),
    "distill_temperature": _real(above=0, high=1e6),
}


_STEPS = 10_000
"""Of the training that a schedule is made for to see whether it can be."""


def check_values(config: str, values: Mapping[str, Any]) -> None:
    """ComflpError that names the first value of a configuration that is not what it has to be.

    >>> check_values("conf.yaml", {"layerdrop": 2})
    Traceback (most recent call last):
    ...
    comflp.errors.ComflpError: conf.yaml: layerdrop is 2 and has to be a number from 0 to below 1
    """
    for key, (is_one, words) in _TYPES.items():
        if key in values and not is_one(values[key]):
            raise ComflpError(f"{config}: {key} is {str(values[key])[:40]} and has to be {words}")


def check_objects(config: str, values: Mapping[str, Any]) -> None:
    """ComflpError where the optimizer or the schedule of a configuration cannot be made; both are, for a single weight."""
    import torch

    from comflp.train.fit import schedule_of

    make_optimizer, make_schedule = values["optimizer"], values["scheduler"]
    made: Any = [torch.nn.Parameter(torch.zeros(1))]
    for key, make in (("optimizer", make_optimizer), ("scheduler", lambda optimizer: schedule_of(make_schedule, optimizer, _STEPS))):
        try:
            made = make(made)
            for method in ("step", "state_dict"):
                getattr(made, method)
        except Exception as error:  # a class that a file names raises anything
            raise ComflpError(f"{config}: {key} cannot be used: {error}; correct its class or its arguments") from error
