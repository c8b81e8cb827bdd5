"""Load a CTC model of transformers from a directory or the hub, and refuse what would load wrongly."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from transformers import AutoModelForCTC, PreTrainedModel, ProcessorMixin

from comflp.errors import ComflpError
from comflp.models.transformers import head as huggingface_head
from comflp.models.transformers.model import TransformersModel
from comflp.models.transformers.families import FAMILIES
from comflp.models.transformers.logging import quiet

_MAY_BE_MISSING = ("masked_spec_embed",)
"""Weights of SpecAugment, which fine-tuned checkpoints often lack and recognition never reads."""

_MAY_BE_LEFT_OVER = ("quantizer.", "project_q.", "project_hid.", "masked_spec_embed")
"""Weights of pre-training that fine-tuned checkpoints may still carry."""


def load_huggingface(name_or_dir: str | Path, model_type: str) -> TransformersModel:
    """The model and its processor, in evaluation mode, in float32.

    No code comes with a model: trust_remote_code is off, and weights are read
    from safetensors or with torch.load(weights_only=True), which is what the
    library does by default. ComflpError for an unknown family, a directory
    without processor, or weights that do not fill the model.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        raise ComflpError(
            f"{name_or_dir} is a {model_type!r} model; CTC models of these families can be loaded: "
            f"{', '.join(FAMILIES)}"
        )
    model = _load_model(str(name_or_dir))
    origin = getattr(model.config, "comflp", None) or _origin(name_or_dir)
    return family(model, _load_processor(family, str(name_or_dir)), origin).eval()


def _origin(name_or_dir: str | Path) -> dict:
    """Name of a directory, or name and commit of a hub repository."""
    if Path(name_or_dir).is_dir():
        return {"source": Path(name_or_dir).resolve().name}
    snapshot = Path(hf_hub_download(str(name_or_dir), "config.json")).parent
    return {"source": str(name_or_dir), "revision": snapshot.name}


def _load_model(name: str) -> PreTrainedModel:
    model, report = _from_pretrained(AutoModelForCTC, name)
    if huggingface_head.recognise(report["unexpected_keys"]):
        model, report = _from_pretrained(huggingface_head.NormedHeadForCTC, name)
    missing = [key for key in report["missing_keys"] if not key.endswith(_MAY_BE_MISSING)]
    left_over = [key for key in report["unexpected_keys"] if not any(part in key for part in _MAY_BE_LEFT_OVER)]
    for keys, fault in ((missing, "lacks"), (left_over, "has, besides what the model holds,")):
        if keys:
            shown = ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise ComflpError(
                f"{name}: the checkpoint {fault} the weights {shown}, so it is not the CTC model that its config.json "
                f"describes; a pre-trained model needs to be fine-tuned for CTC first"
            )
    return huggingface_head.from_library_form(model)


def _from_pretrained(model_class: type, name: str) -> tuple[PreTrainedModel, dict]:
    try:
        with quiet(), torch.random.fork_rng(devices=[]):  # the library draws weights before it reads them
            return model_class.from_pretrained(
                name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise ComflpError(f"{name} cannot be loaded as a CTC model: {error}") from error


def _load_processor(family: type[TransformersModel], name: str) -> ProcessorMixin:
    parts = []
    for part_class, files in (
        (family.feature_extractor_class, "preprocessor_config.json"),
        (family.tokenizer_class, "tokenizer_config.json and vocabulary"),
    ):
        try:
            with quiet():
                parts.append(part_class.from_pretrained(name))
        except (OSError, ValueError, TypeError) as error:
            raise ComflpError(
                f"{name} has no {part_class.__name__} that can be loaded ({error}); a model directory needs {files} "
                f"beside its weights"
            ) from error
    return family.processor_class(*parts)
