"""The runtimes that people read exports with, as functions from a waveform to its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

from comflp.deploy.onnx_files import ONNX_FILE, session_options
from comflp.deploy.quiet import needed

Text = Callable[[np.ndarray], str]


def sherpa_onnx(directory: Path, about: Mapping[str, Any], num_threads: int | None) -> tuple[Text, str]:
    """sherpa-onnx, and its version."""
    package = needed("sherpa_onnx", f"{directory} is an export for sherpa-onnx; reading it", "runtimes")
    kind, threads, tokens = about["sherpa_type"], num_threads or 1, str(directory / "tokens.txt")
    recognizer = package.OfflineRecognizer
    if kind == "whisper":
        made = recognizer.from_whisper(encoder=str(directory / "encoder.onnx"), decoder=str(directory / "decoder.onnx"), tokens=tokens,
                                       language=about["language"], task=about["task"], num_threads=threads)
    elif kind == "nemo_ctc":
        made = recognizer.from_nemo_ctc(model=str(directory / ONNX_FILE), tokens=tokens, num_threads=threads,
                                        sample_rate=about["sample_rate"], feature_dim=about["num_features"])
    else:
        made = recognizer.from_omnilingual_asr_ctc(model=str(directory / ONNX_FILE), tokens=tokens, num_threads=threads)

    def text(waveform: np.ndarray) -> str:
        stream = made.create_stream()
        stream.accept_waveform(about["sample_rate"], waveform)
        made.decode_stream(stream)
        return stream.result.text.strip()

    return text, package.__version__


def onnx_asr(directory: Path, about: Mapping[str, Any], num_threads: int | None) -> tuple[Text, str]:
    """onnx-asr, and its version."""
    package = needed("onnx_asr", f"{directory} is an export for onnx-asr; reading it", "runtimes")
    made = package.load_model("whisper" if about["reads"] == "a window" else "nemo-conformer-ctc", directory,
                              sess_options=session_options(needed("onnxruntime", "onnx-asr"), num_threads), providers=["CPUExecutionProvider"])
    more = {"language": about["language"]} if about["reads"] == "a window" else {}
    return lambda waveform: made.recognize(waveform, sample_rate=about["sample_rate"], **more).strip(), _version("onnx-asr")


def faster_whisper(directory: Path, about: Mapping[str, Any], num_threads: int | None) -> tuple[Text, str]:
    """faster-whisper, which runs CTranslate2, and the version of the latter; greedy, and nothing tried a second time.

    Waveforms are filled up with silence to whole windows, as in training: the package itself puts zeros beside features.
    """
    package = needed("faster_whisper", f"{directory} is an export for CTranslate2; reading it", "runtimes")
    made = package.WhisperModel(str(directory), device="cpu", compute_type=about["compute_type"], cpu_threads=num_threads or 0,
                                local_files_only=True)

    window = round(about["window_seconds"] * about["sample_rate"])

    def text(waveform: np.ndarray) -> str:
        segments, _ = made.transcribe(
            np.pad(waveform, (0, -len(waveform) % window)), language=about["language"], task=about["task"], beam_size=1, temperature=0.0,
            without_timestamps=True, condition_on_previous_text=False, compression_ratio_threshold=None, log_prob_threshold=None, no_speech_threshold=None,
        )
        return "".join(segment.text for segment in segments).strip()

    return text, _version("ctranslate2")


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
