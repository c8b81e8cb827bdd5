"""Load the tokenizer that a model directory names, with the settings that it names."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin, Wav2Vec2CTCTokenizer
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from comflp.errors import ComflpError
from comflp.models.transformers.logging import one_line, quiet

_OLD_NAME = "Wav2Vec2Tokenizer"
"""What Wav2Vec2CTCTokenizer was called in 2021."""


def load_tokenizer(name: str) -> tuple[PreTrainedTokenizerBase, str | None]:
    """The tokenizer of a directory or hub repository, and its language where the directory holds several.

    No code that lies in the directory runs. A vocabulary of several languages (MMS) is narrowed to the ``target_lang``
    of tokenizer_config.json, so that what is saved later is a plain tokenizer of that language.

    Raises ComflpError where there is no tokenizer, where it is of another class than the directory names, or where the
    directory holds several languages and says of none that it is meant.
    """
    try:
        with quiet():
            settings = get_tokenizer_config(name)
            if settings.get("tokenizer_class") == _OLD_NAME:
                tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(name)
            else:
                tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the library raises whatever its parts raise, KeyErrors and ImportErrors among them
        _check_files(Path(name), error)
        raise ComflpError(
            f"{name} has no tokenizer that can be loaded ({one_line(error)}); a model directory needs "
            f"tokenizer_config.json and vocabulary beside its weights, and where vocab.json holds several languages, "
            f"target_lang in tokenizer_config.json has to be one of them"
        ) from error
    _check_class(name, tokenizer, settings.get("tokenizer_class"))
    language = None
    if isinstance(tokenizer, Wav2Vec2CTCTokenizer):
        _restore_delimiter(tokenizer)
        language = _narrow(tokenizer, name)
    return tokenizer, language


def with_own_settings(processor: ProcessorMixin, name: str) -> ProcessorMixin:
    """A processor in memory as :func:`load_tokenizer` would give it: with its word delimiter, and of the one language that it is set to, whose
    weights the model has. What was given stays as it was.
    """
    if not isinstance(processor.tokenizer, Wav2Vec2CTCTokenizer):
        return processor
    processor = copy.copy(processor)
    processor.tokenizer = copy.deepcopy(processor.tokenizer)
    _restore_delimiter(processor.tokenizer)
    _narrow(processor.tokenizer, name)
    return processor


def _check_files(directory: Path, error: Exception) -> None:
    """ComflpError for a directory in which no file of a tokenizer lies, as in the Trainer's checkpoints."""
    if not directory.is_dir():
        return
    names = [path.name for path in directory.iterdir()]
    if not any("token" in name or "vocab" in name or name.endswith(".model") for name in names):
        trainer = ", as the Trainer writes its checkpoints unless it is given the processor as processing_class" if "trainer_state.json" in names else ""
        raise ComflpError(
            f"{directory} holds a model without its processor{trainer}; copy the processor's files into it, from the folder above or "
            f"the base model: AutoProcessor.from_pretrained(BASE).save_pretrained({str(directory)!r})"
        ) from error


def _check_class(name: str, tokenizer: PreTrainedTokenizerBase, wanted: str | None) -> None:
    """ComflpError unless the tokenizer is of the class that the directory names."""
    names = {base.__name__ for base in type(tokenizer).__mro__}
    if wanted not in (None, _OLD_NAME) and not tokenizer.is_fast and wanted.removesuffix("Fast") not in names:
        raise ComflpError(
            f"{name} names the tokenizer {wanted}, and transformers makes a {type(tokenizer).__name__} of it, which "
            f"spells text in another way; this model cannot be used with this version of transformers"
        )


def _restore_delimiter(tokenizer: Wav2Vec2CTCTokenizer) -> None:
    """Set the word delimiter that the tokenizer's settings name; transformers 5 takes it for an additional special token."""
    token = tokenizer.special_tokens_map.get("word_delimiter_token")
    if token is not None:
        tokenizer._word_delimiter_token = tokenizer.init_kwargs["word_delimiter_token"] = str(token)


def _narrow(tokenizer: Wav2Vec2CTCTokenizer, name: str) -> str | None:
    """Make a tokenizer of several languages one of its target language, and return that; None for any other tokenizer."""
    language = tokenizer.target_lang
    if language is None:
        return None
    if not (isinstance(language, str) and re.fullmatch(r"[A-Za-z0-9_-]+", language)):  # a part of a file's name
        raise ComflpError(f"{name}: target_lang in tokenizer_config.json is {language!r}, which is no language's name")
    several = len(tokenizer.vocab) > 1
    tokenizer.vocab = dict(tokenizer.encoder)
    tokenizer.target_lang = tokenizer.init_kwargs["target_lang"] = None
    return language if several else None
