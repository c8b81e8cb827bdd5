"""CTC models as a front end, layers and a head: loading, pruning and saving."""

from __future__ import annotations

from pathlib import Path

from comflp.artifacts import read_json
from comflp.errors import ComflpError
from comflp.models.layered import LayeredModel, Output, Stack, State, Step, Tokenizer

__all__ = ["LayeredModel", "Output", "Stack", "State", "Step", "Tokenizer", "load"]


def load(name_or_dir: str | Path, trust_hyperparams: bool = False) -> LayeredModel:
    """Load a CTC model of any supported kind, in evaluation mode.

    Parameters
    ----------
    name_or_dir
        A model directory, or a name on the Hugging Face hub. What it holds decides: a recipe's own model
        (``config.json`` of type comflp_transformer_ctc), a SpeechBrain model (``hyperparams.yaml``), or a model of
        transformers (``config.json`` of one of the families in ``huggingface_families.FAMILIES``).
    trust_hyperparams
        Let a SpeechBrain ``hyperparams.yaml`` be executed; without it such a model is refused.

    Raises
    ------
    ComflpError
        The directory or name does not exist, is of another kind, or lacks a part.
    """
    # Each kind imports its library only when it is needed: transformers alone takes seconds.
    directory = Path(name_or_dir)
    if directory.is_dir():
        if (directory / "hyperparams.yaml").exists():
            return _load_speechbrain(directory, trust_hyperparams)
        if not (directory / "config.json").exists():
            raise ComflpError(f"{directory} is not a model directory: it has neither config.json nor hyperparams.yaml")
        config = read_json(directory / "config.json")
    else:
        config = _hub_config(str(name_or_dir))
        if config is None or "speechbrain_interface" in config:
            return _load_speechbrain(str(name_or_dir), trust_hyperparams)
    model_type = config.get("model_type")
    if model_type == "comflp_transformer_ctc":
        from comflp.models.own.transformer_ctc import TransformerCTC

        return TransformerCTC.load(directory)
    from comflp.models.transformers.loading import load_huggingface

    return load_huggingface(name_or_dir, model_type)


def _hub_config(name: str) -> dict | None:
    """config.json of a hub repository, None where it has only hyperparams.yaml."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return read_json(hf_hub_download(name, "config.json"))
    except LocalEntryNotFoundError as error:
        fault = f"the Hugging Face hub cannot be reached and {name} has not been downloaded before: {error}"
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        fault = str(error)
    raise ComflpError(f"{name} is neither a directory nor a model of the Hugging Face hub ({fault})")


def _load_speechbrain(name_or_dir: str | Path, trust_hyperparams: bool) -> LayeredModel:
    from comflp.models.speechbrain.model import load_speechbrain

    return load_speechbrain(name_or_dir, trust_hyperparams)
