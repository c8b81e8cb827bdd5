"""Whether the weights of a directory of transformers can be those of its configuration, before the model is built."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig

from comflp.errors import ComflpError
from comflp.models.transformers.logging import one_line, quiet

_SMALL = 5 * 10**8
"""Parameters that may be built to find out what is wrong with the weights: 2 GB."""

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def check_weights(directory: Path, auto_class: type) -> None:
    """Build the model without memory, and ComflpError for a large one with more parameters than the weights have bytes."""
    size = sum(path.stat().st_size for pattern in _WEIGHTS for path in directory.glob(pattern))
    try:
        with quiet(), torch.device("meta"), torch.random.fork_rng(devices=[]):
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
            model = auto_class.from_config(config, trust_remote_code=False)
    except Exception as error:  # a configuration can be wrong in any way, and the library checks little of it
        raise ComflpError(f"{directory} cannot be loaded as a recogniser: {one_line(error)}") from error
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > max(size, _SMALL):
        raise ComflpError(
            f"{directory}: config.json describes a model of {count:,} parameters, its weights are {size:,} bytes; "
            f"they do not belong together"
        )
