"""``export.json``: what an export says of the model, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping

import torch
from transformers import Wav2Vec2PhonemeCTCTokenizer

from comflp.errors import ComflpError
from comflp.models.directory import EXPORT
from comflp.models.layered import LayeredModel
from comflp.models.own.tokenizer import SentencePieceTokenizer
from comflp.models.transformers.processor import ProcessorTokenizer
from comflp.stacks import depth_of

DESCRIPTION = EXPORT
NOT_OF_THE_EXPORT = ("hyp", "record.json", "README.md")
"""Files in an export's directory that no runtime reads."""

_OF_A_CHECK = ("runtime", "runtime_version", "num_utterances", "same_texts", "same_text_share", "rtf", "peak_megabytes", "megabytes",
               "metric", "normaliser", "error_rate", "reference_error_rate")

_TOKENIZERS = {SentencePieceTokenizer: "sentencepiece", ProcessorTokenizer: "processor"}


def describe(model: LayeredModel, form: str, **more: Any) -> dict[str, Any]:
    """What export.json says of a model in the format of this name, before anything is checked.

    Of encoder-decoder models num_layers holds the layers of each stack.
    """
    about = {
        "format": form,
        "sample_rate": model.sample_rate,
        "num_layers": depth_of(model.stacks),
        "num_parameters": model.num_parameters,
        "origin": model.origin,
    }
    if len(model.stacks) > 1:
        about["window_seconds"] = model.window
    else:
        about |= {
            "samples_per_frame": samples_per_frame(model),
            "minimum_samples": minimum_samples(model),
            **({} if model.longest is None else {"longest": model.longest}),
            "tokenizer": _TOKENIZERS.get(type(model.tokenizer)),
            "vocab_size": model.tokenizer.vocab_size,
        }
    return {**about, **more}


def unchecked(about: Mapping[str, Any]) -> dict[str, Any]:
    """What export.json says of the model, without what a check of this export found; another export is made of it."""
    return {key: value for key, value in about.items() if key not in _OF_A_CHECK}


def minimum_samples(model: LayeredModel) -> int:
    """The fewest samples that make two frames; shorter audio is padded with silence before it is recognised."""
    low, high = 1, model.sample_rate
    while low < high:
        middle = (low + high) // 2
        if int(model.num_frames(torch.tensor([middle]))) >= 2:
            high = middle
        else:
            low = middle + 1
    return low


def samples_per_frame(model: LayeredModel) -> int:
    """Samples from one frame of logits to the next.

    Raises ComflpError where frames are not a whole number of samples apart.
    """
    near, far = 20 * model.sample_rate, 60 * model.sample_rate
    frames = model.num_frames(torch.tensor([near, far]))
    step = (far - near) / int(frames[1] - frames[0])
    if step != int(step):
        step = round(step)
        if abs(int(frames[1] - frames[0]) * step - (far - near)) > 2 * step:
            raise ComflpError(f"frames of this {model.family} model are no whole number of samples apart")
    return int(step)


def labels(model: LayeredModel) -> list[str]:
    """The text of each label of a CTC model as tables of tokens have it: ``<blk>`` for the blank, ``▁`` for a space.

    Raises ComflpError for a tokenizer of another kind than those of exports.
    """
    tokenizer = model.tokenizer
    if type(tokenizer) not in _TOKENIZERS:
        raise ComflpError(f"ONNX export does not support a {type(tokenizer).__name__}")
    written = _as_decoded(getattr(tokenizer, "tokenizer", None))
    return ["<blk>" if label == tokenizer.blank_id else written(text) for label, text in enumerate(tokenizer.pieces())]


def _as_decoded(tokenizer: Any) -> Callable[[str], str]:
    """What a piece is in texts: small letters where the tokenizer lowers what it decodes, a word of its own where it is a phoneme."""
    if isinstance(tokenizer, Wav2Vec2PhonemeCTCTokenizer):
        return lambda text: "\u2581" + text.removeprefix("\u2581")
    return str.lower if getattr(tokenizer, "do_lower_case", False) else str


def files_of(directory: Path) -> list[Path]:
    """The files of an export, those of what was checked and of the record left out."""
    folders = [directory, *(path for path in directory.iterdir() if path.is_dir() and path.name == "onnx")]
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file() and path.name not in NOT_OF_THE_EXPORT]
