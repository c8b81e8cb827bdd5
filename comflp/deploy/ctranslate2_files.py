"""Whisper for CTranslate2 and faster-whisper, by CTranslate2's own converter."""

from __future__ import annotations

import tempfile
from pathlib import Path

from comflp.artifacts import atomic_directory, write_json
from comflp.deploy.description import DESCRIPTION, describe
from comflp.deploy.formats import Format, check_writers
from comflp.deploy.quiet import quiet
from comflp.models.transformers.seq2seq import TransformersSeq2Seq

_READ_BESIDE = ("tokenizer.json", "preprocessor_config.json")
"""What faster-whisper reads beside the weights; without the first it would fetch one from the hub."""


def write_ctranslate2(model: TransformersSeq2Seq, directory: Path, form: Format, force: bool = False) -> None:
    """Write the model as CTranslate2's converter makes it of the transformers directory.

    force: as :func:`comflp.artifacts.atomic_directory` takes it.
    """
    check_writers("ctranslate2")
    from ctranslate2.converters import TransformersConverter

    with tempfile.TemporaryDirectory() as plain, atomic_directory(directory, force=force) as temporary, quiet():
        model.save(plain)
        model.processor.feature_extractor.save_pretrained(plain)
        TransformersConverter(plain, copy_files=list(_READ_BESIDE)).convert(str(temporary), quantization=form.precision, force=True)
        write_json(temporary / DESCRIPTION, describe(model, form.name, reads="a window", language=model.language or "en", task=model.task,
                                                     compute_type=form.precision))
