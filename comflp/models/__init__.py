"""Recognisers as stacks of layers: loading, pruning and saving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from comflp.artifacts import read_json
from comflp.errors import ComflpError, NoLanguageError
from comflp.models.directory import EXPORT, check_directory, lfs_pointers
from comflp.models.layered import LayeredModel, Output, Stack, State, Step
from comflp.models.tokenizer import Tokenizer

__all__ = ["LayeredModel", "Output", "Stack", "State", "Step", "Tokenizer", "load"]


def load(
    model: str | Path | Any, processor: Any = None, *, trust_hyperparams: bool = False, language: str | None = None
) -> LayeredModel:
    """A recogniser of any supported kind, in evaluation mode.

    model: a model directory, or a name on the Hugging Face hub. What it holds decides: a recipe's own model
        (``config.json`` of type comflp_transformer_ctc), a SpeechBrain model (``hyperparams.yaml``), or a model of
        transformers of one of the families in docs/models.md. Or a model of transformers in memory, with its processor.
    trust_hyperparams: let a SpeechBrain ``hyperparams.yaml`` be executed; without it such a model is refused.
    language: which language a multilingual model such as Whisper is to recognise; a saved directory knows its own. Encoder-decoder
        models of one language, but for Whisper's, do not look at it.

    Raises ComflpError where the directory or name does not exist, is of another kind or lacks a part, for a directory
    that leads out of itself or describes what no model can be (:func:`comflp.models.directory.check_directory`), and for a
    language where the model does not take one.
    """
    try:
        made = _load(model, processor, trust_hyperparams, language)
    except NoLanguageError:
        raise
    except ComflpError as error:
        if isinstance(model, (str, Path)) and (pointers := lfs_pointers(Path(model))):
            raise ComflpError(f"{', '.join(pointers)} in {model}: a pointer of Git LFS lies in the place of the file; run 'git lfs pull' there, or "
                              f"download the model again ({error})") from error
        raise
    if language is not None and len(made.stacks) == 1:
        raise ComflpError(f"a {made.family} model recognises what it was trained on; leave the language {language!r} out (where a directory "
                          "holds several, as those of MMS do, target_lang in its tokenizer_config.json says which)")
    return made


def _load(model: str | Path | Any, processor: Any, trust_hyperparams: bool, language: str | None) -> LayeredModel:
    # Each kind imports its library only when it is needed: transformers alone takes seconds.
    if not isinstance(model, (str, Path)):
        from comflp.models.transformers.loading import layered

        return layered(model, processor, language)
    directory = Path(model)
    if directory.is_dir():
        check_directory(directory)
        if (directory / EXPORT).exists():
            raise ComflpError(f"{directory} is an export ({EXPORT} lies in it), which comflp transcribe and its runtime read; take the model "
                              "directory that it was made of")
        if (directory / "hyperparams.yaml").exists():
            return _load_speechbrain(directory, trust_hyperparams)
        _refuse_adapter(directory)
        if not (directory / "config.json").exists():
            raise ComflpError(f"{directory} is not a model directory: it has neither config.json nor hyperparams.yaml")
        config = read_json(directory / "config.json")
    else:
        _refuse_paths(str(model))
        published = _hub_config(str(model))
        if published is None or "speechbrain_interface" in published:
            return _load_speechbrain(str(model), trust_hyperparams)
        config = published
    model_type = config.get("model_type")
    if model_type == "comflp_transformer_ctc":
        from comflp.models.own.transformer_ctc import TransformerCTC

        return TransformerCTC.load(directory)
    from comflp.models.transformers.loading import load_transformers

    return load_transformers(model, model_type, language)


def _refuse_adapter(directory: Path) -> None:
    """ComflpError for an adapter of peft: alone it is no model, and whether one beside whole weights counts depends on what is installed."""
    if not (directory / "adapter_config.json").exists():
        return
    merged = "save that with the adapter in it (model.merge_and_unload().save_pretrained(...)), and its processor beside it"
    if not (directory / "config.json").exists():
        raise ComflpError(f"{directory} holds an adapter of peft, and not the model that it is for; {merged}")
    raise ComflpError(f"{directory} holds an adapter of peft (adapter_config.json) beside a model, which is not applied here; {merged}. "
                      "Where the weights have the adapter in them already, remove adapter_config.json")


def _refuse_paths(name: str) -> None:
    """ComflpError for what is a path and no directory: the hub would be asked for it, and speak of names of repositories."""
    if os.path.exists(name):
        raise ComflpError(f"{name} is a file; a model is a directory, or a name on the Hugging Face hub")
    if "://" in name:
        raise ComflpError(f"{name} is an address; give the name on the Hugging Face hub, owner/name")
    if name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1:
        raise ComflpError(f"there is no directory {name}")


def _hub_config(name: str) -> dict | None:
    """config.json of a hub repository, None where it has only hyperparams.yaml."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # each try to reach the hub would be a warning
    try:
        return read_json(hf_hub_download(name, "config.json"))
    except LocalEntryNotFoundError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        unasked = "HF_HUB_OFFLINE keeps the Hugging Face hub from being asked" if constants.HF_HUB_OFFLINE else \
            f"the Hugging Face hub, {constants.ENDPOINT}, cannot be reached ({reason})"
        raise ComflpError(f"{name} is no directory and has not been downloaded before, and {unasked}") from None
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ComflpError(f"{name} is neither a directory nor a model of the Hugging Face hub ({error})") from None
    finally:
        logging.set_verbosity(verbosity)


def _load_speechbrain(name_or_dir: str | Path, trust_hyperparams: bool) -> LayeredModel:
    from comflp.models.speechbrain.model import load_speechbrain

    return load_speechbrain(name_or_dir, trust_hyperparams)
