"""``comflp transcribe MODEL FILE ...``: the text of audio files, one line each.

MODEL is any model directory: the recipes' own, one of transformers, or
what an export wrote (ONNX, int8). Files may have any format that libsndfile
reads, any sampling rate and length.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Sequence

from comflp.cli.numbers import real
from comflp.cli.options import parser
from comflp.cli.terminal import named, say
from comflp.data.audio import AudioError, AudioWarning, read_audio
from comflp.errors import ComflpError


def run(arguments: Sequence[str]) -> int:
    """Print ``FILE<tab>TEXT`` for each file, control characters of its name escaped; returns 0, or 2 where a file cannot be recognised."""
    from comflp.deploy import recognition

    options = _options(arguments, recognition.CHUNK_SECONDS)
    warnings.simplefilter("ignore", AudioWarning)  # any rate and number of channels is welcome here
    recognizer = recognition.load(options.model, trust_hyperparams=options.trust_hyperparams, language=options.language)
    status = 0
    for file in options.files:
        try:
            text = recognizer.text(read_audio(file, recognizer.sample_rate), options.chunk_seconds)
        except AudioError as error:
            say("comflp", f"error: {error}")
            status = 2
        except ComflpError as error:
            say("comflp", f"error: {file}: {error}")
            status = 2
        else:
            print(f"{named(file)}\t{text}", flush=True)
    return status


def _options(arguments: Sequence[str], chunk_seconds: float) -> argparse.Namespace:
    options = parser("transcribe", "Print the text of audio files.")
    options.add_argument("model", type=Path, help="model directory: the library's, transformers', ONNX or int8")
    options.add_argument("files", nargs="+", metavar="file", help="audio files")
    options.add_argument("--chunk-seconds", type=real(0, open_low=True), default=chunk_seconds,
                         help="longer files are recognised in pieces of this length, or of what the model bears; those of CTC models in PyTorch and "
                              "onnxruntime overlap, and faster-whisper cuts files itself")
    options.add_argument("--language", help="which language a multilingual model such as Whisper is to recognise")
    options.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    return options.parse_args(arguments)
