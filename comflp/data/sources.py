"""Speech in whatever form it is at hand: a data directory, a table, a folder of audio files, file names, arrays."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import soundfile

from comflp.data.data_dir import DataDir, read_data_dir
from comflp.data.tables import DataError, Fault, stop_at_faults
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".au", ".sph", ".w64")
"""What files of a folder are taken for audio by."""

_COLUMNS = {"wav": ("wav", "path", "audio", "file"), "text": ("text", "sentence", "transcript"), "id": ("id", "utt_id")}
"""What a table's columns may be called."""


def read_speech(
    speech: Any, made: str | Path, sample_rate: int | None = None, allow_pipes: bool = False, progress: Any = None
) -> DataDir:
    """The utterances of ``speech``, with their texts where it has them.

    speech: a Kaldi data directory (a folder with ``wav.scp``); a .csv or .tsv table with a column ``wav`` (or ``path``,
        ``audio``, ``file``) and, if there are texts, ``text`` (or ``sentence``, ``transcript``); a folder, of which all
        audio files are taken, those in folders within it too; a list of audio files; a list of arrays (num_samples,) of
        floats in [-1, 1]; or a DataDir.
    made: a directory to write the data directory to, and arrays as audio files; not used for what is one already.
    sample_rate: Hz, of arrays.

    Raises ComflpError that names the file, line or array that cannot be used.
    """
    if isinstance(speech, DataDir):
        return speech
    if isinstance(speech, (str, Path)):
        path = Path(speech)
        if (path / "wav.scp").exists():
            return read_data_dir(path, require_text=False, allow_pipes=allow_pipes, progress=progress)
        if path.suffix in (".csv", ".tsv"):
            utterances = _rows(path)
        elif path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not found:
                raise ComflpError(f"{path} holds neither wav.scp nor audio files ({', '.join(SUFFIXES)})")
            utterances = _files(found, path)
        else:
            raise ComflpError(f"{path} is no speech: give a Kaldi data directory, a .csv or .tsv table, or a folder of audio files")
    else:
        speech = list(speech)
        if not speech:
            raise ComflpError("there is no speech: the list of utterances is empty")
        if all(isinstance(item, (str, Path)) for item in speech):
            utterances = _files([Path(item) for item in speech], None)
        else:
            utterances = _arrays(speech, Path(made) / "audio", sample_rate)
    return _as_data_dir(utterances, Path(made) / "data", progress)


def _as_data_dir(utterances: list[Utterance], path: Path, progress: Any) -> DataDir:
    """Written as a data directory and read back, so that durations and faults are found in the one way that there is."""
    lines = "".join(f"{utterance.utt_id} {utterance.wav}\n" for utterance in utterances)
    path.mkdir(parents=True, exist_ok=True)
    (path / "wav.scp").write_text(lines, encoding="utf-8")
    texts = "".join(f"{utterance.utt_id} {utterance.text}\n" for utterance in utterances if utterance.text)
    (path / "text").unlink(missing_ok=True)
    if texts:
        (path / "text").write_text(texts, encoding="utf-8")
    return read_data_dir(path, require_text=False, progress=progress)


def _files(paths: Sequence[Path], folder: Path | None) -> list[Utterance]:
    """Utterances named by their files: by the path below ``folder``, or by number where names repeat."""
    names = ["_".join((path.relative_to(folder) if folder else Path(path.name)).with_suffix("").parts) for path in paths]
    names = ["_".join(name.split()) for name in names]
    if len(set(names)) < len(names):
        names = [f"{number:06d}_{name}" for number, name in enumerate(names, start=1)]
    return [Utterance(name, str(path.absolute()), "", name, 0.0) for name, path in zip(names, paths)]


def _arrays(arrays: Sequence[Any], folder: Path, sample_rate: int | None) -> list[Utterance]:
    """Utterances whose audio is written to ``folder`` as 32-bit floating point."""
    if sample_rate is None:
        raise ComflpError("arrays of samples need sample_rate, in Hz")
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number, array in enumerate(arrays, start=1):
        samples = np.asarray(array, dtype=np.float32)
        if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
            raise ComflpError(f"utterance {number} is not an array (num_samples,) of finite numbers, but of shape {samples.shape}")
        wav = folder / f"u{number:06d}.wav"
        soundfile.write(wav, samples, sample_rate, subtype="FLOAT")
        utterances.append(Utterance(wav.stem, str(wav.absolute()), "", wav.stem, 0.0))
    return utterances


def _rows(path: Path) -> list[Utterance]:
    """Utterances of a table; relative paths start from its folder."""
    faults: list[Fault] = []
    utterances: list[Utterance] = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            header = table.fieldnames or []
            column = {what: next((name for name in names if name in header), None) for what, names in _COLUMNS.items()}
            if column["wav"] is None:
                raise DataError(f"{path}:1: there is no column {' or '.join(_COLUMNS['wav'])}; the columns are {', '.join(header)}")
            for row in table:
                wav = (row[column["wav"]] or "").strip()
                if not (path.parent / wav).is_file():
                    faults.append(Fault(str(path), table.line_num, f"there is no file {path.parent / wav}"))
                    continue
                text = " ".join((row.get(column["text"]) or "").split())
                name = (row.get(column["id"]) or "_".join(Path(wav).with_suffix("").parts)).strip("_/ ")
                if column["text"] is not None and not text:
                    faults.append(Fault(str(path), table.line_num, "the row has no text"))
                utterances.append(Utterance("_".join(name.split()), str((path.parent / wav).absolute()), text, "", 0.0))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8: {error}") from error
    if not utterances and not faults:
        faults.append(Fault(str(path), 1, "there are no rows"))
    stop_at_faults(f"{path} is not usable", faults)
    return utterances
