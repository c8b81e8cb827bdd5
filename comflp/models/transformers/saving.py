"""Model directories of transformers, in the type that the weights came in."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import torch
from transformers import PreTrainedModel

from comflp.artifacts import atomic_directory, write_json
from comflp.models.layered import LayeredModel
from comflp.models.model_card import lasting_origin, model_card
from comflp.models.transformers.logging import quiet

_HALF = ("float16", "bfloat16")


def weight_type(model: PreTrainedModel, config: dict, drawn: tuple[str, ...] = ()) -> torch.dtype:
    """The type that a checkpoint has its parameters in: float16 or bfloat16 where its configuration says so and all of them are such numbers.

    config: the content of config.json, which has the type under its name of today or of transformers 4. model: what was loaded, in float32.
    drawn: endings of the names of parameters that the checkpoint may lack, which the library then draws.
    """
    stated = config.get("dtype", config.get("torch_dtype"))
    if stated in _HALF:
        half = getattr(torch, stated)
        if all(torch.equal(parameter, parameter.to(half).float()) for name, parameter in model.named_parameters() if not name.endswith(drawn)):
            return half
    return torch.float32


@contextmanager
def _parameters_in(dtype: torch.dtype, model: PreTrainedModel) -> Iterator[None]:
    """Within, the parameters are of this type; in float32 again, and rounded to it, after."""
    try:
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
        yield
    finally:
        for parameter in model.parameters():
            parameter.data = parameter.data.float()


def write(model: PreTrainedModel, made: LayeredModel, directory: str | Path) -> None:
    """Write config, safetensors weights, processor and model card, for the library to load alone; the parameters in ``made.weight_type``.

    model: the library's form of ``made``, which has its ``origin`` and ``processor``.
    """
    model.config.comflp = lasting_origin(made.origin)
    processor = made.processor
    with atomic_directory(directory) as temporary, quiet():
        with _parameters_in(made.weight_type, model):
            model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        processor.feature_extractor.save_pretrained(temporary)  # the file that transformers 4 reads
        if (spelling := getattr(processor.tokenizer, "english_spelling_normalizer", None)) is not None:  # transformers 5 leaves it out
            write_json(temporary / "normalizer.json", spelling)
        (temporary / "README.md").write_text(model_card(made), encoding="utf-8")
