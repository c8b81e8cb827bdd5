"""``python -m comflp.transcribe MODEL_DIR FILE ...``: the text of audio files, one line each.

MODEL_DIR is any model directory: the recipes' own, one of transformers, or
what local/export.py wrote (ONNX, int8). Files may have any format that
libsndfile reads, any sampling rate and length.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from comflp.deploy import recognition
from comflp.data.audio import AudioError, AudioWarning, read_audio
from comflp.errors import ComflpError


def main(arguments: list[str] | None = None) -> int:
    """Print ``FILE<tab>TEXT`` for each file; returns 0, 1 for an unusable model, 2 where a file cannot be recognised."""
    options = _options(arguments)
    warnings.simplefilter("ignore", AudioWarning)  # any rate and number of channels is welcome here
    try:
        recognizer = recognition.load(options.model, trust_hyperparams=options.trust_hyperparams)
    except ComflpError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    status = 0
    for file in options.files:
        try:
            text = recognizer.text(read_audio(file, recognizer.sample_rate), options.chunk_seconds)
        except AudioError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        except ComflpError as error:
            print(f"error: {file}: {error}", file=sys.stderr)
            status = 2
        else:
            print(f"{file}\t{text}", flush=True)
    return status


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m comflp.transcribe", description="Print the text of audio files.", allow_abbrev=False
    )
    parser.add_argument("model", type=Path, help="model directory: the library's, transformers', ONNX or int8")
    parser.add_argument("files", nargs="+", metavar="file", help="audio files")
    parser.add_argument("--chunk-seconds", type=_positive, default=recognition.CHUNK_SECONDS,
                        help="longer files are recognised in overlapping pieces of this length (default %(default)s)")
    parser.add_argument("--trust-hyperparams", action="store_true",
                        help="allow a model's HyperPyYAML file, which can run code")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
