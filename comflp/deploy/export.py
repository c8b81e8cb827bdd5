"""Models in the forms that devices run, written and checked.

Every form is a whole directory: graphs or weights, tokenizer, and ``export.json``, which says what it is and, where speech
was given, what was checked on it. :func:`comflp.deploy.recognition.load` reads all of them.

The packages onnx, onnxscript and onnxruntime are needed (``pip install comflp[export]``), and those of the runtime.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from comflp.artifacts import read_json, write_json, write_text
from comflp.data.audio import AudioWarning, read_audio
from comflp.data.utterance import Utterance
from comflp.deploy import recognition, weights
from comflp.deploy.ctc_onnx import for_sherpa, write_ctc
from comflp.deploy.ctranslate2_files import write_ctranslate2
from comflp.deploy.description import DESCRIPTION, files_of
from comflp.deploy.formats import SHERPA_RATE, Format, check_reader, check_writers, reads, refuse
from comflp.deploy.int8_torch import save_int8
from comflp.deploy.measuring import measure, recognise
from comflp.deploy.whisper_onnx import write_whisper
from comflp.errors import ComflpError
from comflp.inference.hypothesis_files import kaldi_text
from comflp.locks import working
from comflp.models.layered import LayeredModel
from comflp.replacing import MODEL, check_replaceable, write_mark
from comflp.scoring import check_references, error_rate, normalise

THREADS = (1, 2)


@dataclass(frozen=True)
class Check:
    """What exports are checked on.

    utterances: with their texts; without any of them no error rate is given. metric, normaliser: as in scoring.
    allow_pipes: run the commands of wav.scp.
    """

    utterances: Sequence[Utterance]
    metric: str = "cer"
    normaliser: str = "none"
    allow_pipes: bool = False


def export(
    model: LayeredModel, out: Path, formats: Sequence[Format], check: Check | None = None, calibration: Sequence[Utterance] = (),
    done: Callable[[Path, Mapping[str, Any]], None] = lambda directory, about: None, force: bool = False, allow_pipes: bool = False,
) -> None:
    """Write ``out/<format>`` for each format, and check it where there is something to check it on.

    check: real utterances. calibration: utterances whose activations a static quantisation looks at.
    done: called with the directory and the content of export.json as each of them is there. force: replace an export that
    somebody added files to. allow_pipes: run the commands of the calibration's wav.scp.

    Raises ComflpError before any work where the model cannot have a format, a static quantisation has no calibration, a package is
    missing, the texts of ``check`` are none that the model can write, or where a place is not to be replaced or is in use by another export.
    """
    places = {form: Path(out) / form.name for form in formats}
    for form, directory in places.items():
        refuse(model, form)
        if form.precision == "int8_static" and not calibration:
            raise ComflpError(f"{form.name} needs speech to calibrate on, such as data/probe")
        check_writers(form.runtime)
        if check is not None:
            check_reader(model, form.runtime)
        check_replaceable(directory, MODEL, force)
    if check is not None and any(utterance.text for utterance in check.utterances):
        check_references({utterance.utt_id: utterance.text for utterance in check.utterances}, model.tokenizer, check.normaliser)
    with contextlib.ExitStack() as held, tempfile.TemporaryDirectory() as temporary:
        for directory in places.values():
            held.enter_context(working(directory))
        expected = {} if check is None else _expected(model, check)
        plain: dict[str, Path] = {}
        for form, directory in places.items():
            _write(model, directory, form, plain, Path(temporary), calibration, force, allow_pipes)
            if check is not None:
                _checked(model, directory, check, expected)
            done(directory, read_json(directory / DESCRIPTION))


def refuse_own_place(source: str | Path, out: str | Path, formats: Sequence[Format]) -> None:
    """ComflpError where an export would take the place of the model directory that it is made of."""
    for target in (Path(out) / form.name for form in formats):
        if Path(source).exists() and Path(source).resolve().is_relative_to(target.resolve()):
            raise ComflpError(f"{target} is where the model itself lies; give another --out")


def _write(
    model: LayeredModel, directory: Path, form: Format, plain: dict[str, Path], temporary: Path, calibration: Sequence[Utterance], force: bool,
    allow_pipes: bool,
) -> None:
    """Write a format; the float32 graphs of a runtime are made once and lie in ``plain`` (runtime -> directory)."""
    if form.runtime == "torch":
        return save_int8(model, directory, force)
    if form.runtime == "ctranslate2":
        return write_ctranslate2(model, directory, form, force)
    if form.precision == "float32":
        _write_plain(model, form.runtime, directory, plain, temporary, force)
        return None
    if form.runtime not in plain:
        _write_plain(model, form.runtime, temporary / form.runtime, plain, temporary)
    source = plain[form.runtime]
    heard = calibration if form.precision == "int8_static" else ()
    inputs = [_inputs(utterance, read_json(source / DESCRIPTION), allow_pipes) for utterance in heard]
    return weights.convert(source, directory, form.name, form.precision, inputs, force)


def _write_plain(model: LayeredModel, runtime: str, directory: Path, plain: dict[str, Path], temporary: Path, force: bool = False) -> None:
    """Write a runtime's float32 graphs to ``directory``; a CTC model is traced once for all runtimes."""
    if reads(model) == "a window":
        write_whisper(model, directory, Format(runtime, "float32"), force)
    elif runtime == "onnx":
        write_ctc(model, directory, force)
    else:
        if "onnx" not in plain:
            _write_plain(model, "onnx", temporary / "onnx", plain, temporary)
        for_sherpa(plain["onnx"], directory, force)
    plain[runtime] = directory


def _inputs(utterance: Utterance, about: Mapping[str, Any], allow_pipes: bool) -> dict[str, np.ndarray]:
    """The inputs of a graph of waveforms for one utterance, at the rate that the graph takes; short ones are filled up as in recognition."""
    rate = SHERPA_RATE if about["format"] == "sherpa-onnx" else about["sample_rate"]
    with warnings.catch_warnings():
        if rate != about["sample_rate"]:
            warnings.simplefilter("ignore", AudioWarning)  # of audio at the model's own rate, which the graph is to bring down again
        waveform = read_audio(utterance, rate, allow_pipes)
    waveform = np.pad(waveform, (0, max(about["minimum_samples"] * rate // about["sample_rate"] - len(waveform), 0)))
    return {"waveforms": waveform[None], **({"num_samples": np.array([len(waveform)])} if about["batch"] else {})}


def _expected(model: LayeredModel, check: Check) -> dict[str, str]:
    """utterance -> the text that the model gives in PyTorch."""
    found, _ = recognise(recognition.of_model(model), list(_speech(model, check).values()))
    return dict(zip((utterance.utt_id for utterance in check.utterances), found))


def _speech(model: LayeredModel, check: Check) -> dict[str, np.ndarray]:
    return {utterance.utt_id: read_audio(utterance, model.sample_rate, check.allow_pipes) for utterance in check.utterances}


def _checked(model: LayeredModel, directory: Path, check: Check, expected: Mapping[str, str]) -> None:
    """Recognise with an export in its own runtime, and say in its export.json what came of it."""
    measured = measure(directory, _speech(model, check), THREADS)
    write_text(directory / "hyp", kaldi_text(measured.texts))
    write_mark(directory, MODEL)  # at once, so that the next export may replace this one whatever becomes of this check
    seconds = sum(utterance.duration for utterance in check.utterances)
    same = sum(normalise(measured.texts[utt_id]) == normalise(text) for utt_id, text in expected.items())
    package, _, version = measured.runtime.rpartition(" ")
    about = {
        "runtime": package,
        "runtime_version": version,
        "num_utterances": len(expected),
        "same_texts": same,
        "same_text_share": same / len(expected),
        "rtf": {threads: taken / seconds for threads, taken in measured.seconds.items()},
        "peak_megabytes": measured.peak_megabytes,
        "megabytes": megabytes(directory),
    }
    references = {utterance.utt_id: utterance.text for utterance in check.utterances}
    if any(references.values()):
        about |= {"metric": check.metric, "normaliser": check.normaliser}
        for key, texts in (("error_rate", measured.texts), ("reference_error_rate", expected)):
            about[key] = error_rate(references, texts, check.metric, check.normaliser).rate
    write_json(directory / DESCRIPTION, {**read_json(directory / DESCRIPTION), **about})


def megabytes(directory: Path) -> float:
    """Size of the files that a model directory or an export consists of, in 10^6 bytes."""
    return sum(path.stat().st_size for path in files_of(directory)) / 1e6
