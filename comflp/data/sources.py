"""Speech in whatever form it is at hand: a data directory, a table, a folder of audio files, a dataset, file names, arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import soundfile

from comflp.data.data_dir import DataDir, read_data_dir
from comflp.data.delimited import read_lines
from comflp.data.saved_datasets import column_names, find_files, find_tables, is_audio, is_saved, read_rows, write_audio
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
        audio files are taken, those in folders within it too; what ``save_to_disk`` of the library datasets wrote, or a folder of
        parquet files; a Dataset of it, or a list of dicts, with a column ``audio`` and, if there are texts, ``text`` (or
        as above); a list of audio files; a list of arrays (num_samples,) of floats in [-1, 1]; or a DataDir.
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
            utterances = _saved(path, Path(made) / "audio") if is_saved(path) else _folder(path)
        else:
            raise ComflpError(f"{path} is no speech: give a Kaldi data directory, a .csv or .tsv table, a folder of audio files, or a saved dataset")
    else:
        if not hasattr(speech, "column_names"):  # a dataset is read row by row, as its audio may not fit into memory
            speech = list(speech)
        if not len(speech):
            raise ComflpError("there is no speech: the list of utterances is empty")
        if isinstance(speech[0], Mapping):
            utterances = _dataset(speech, Path(made) / "audio")
        elif all(isinstance(item, (str, Path)) for item in speech):
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


def _folder(path: Path) -> list[Utterance]:
    """All audio files of a folder."""
    found = [file for file in find_files(path, "**/*") if file.suffix.lower() in SUFFIXES]
    if not found:
        raise ComflpError(f"{path} holds neither wav.scp nor audio files ({', '.join(SUFFIXES)}), and is no saved dataset")
    return _files(found, path)


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


def _saved(path: Path, folder: Path) -> list[Utterance]:
    """Utterances of a saved dataset of one split; audio inside its files is written to ``folder``."""
    if (path / "dataset_dict.json").exists():
        raise ComflpError(f"{path} holds several splits; give the folder of one of them, such as {path / 'train'}")
    tables = find_tables(path)
    wav, text = _columns(column_names(tables[0]), str(path))
    rows = (row for table in tables for row in read_rows(table, [wav, text] if text else [wav]))
    return _utterances(rows, wav, text, path, folder)


def _dataset(rows: Any, folder: Path) -> list[Utterance]:
    """Utterances of a Dataset or of a list of dicts; audio in memory is written to ``folder``."""
    names = getattr(rows, "column_names", None) or list(rows[0])
    wav, text = _columns(names, "the dataset")
    return _utterances((rows[number] for number in range(len(rows))), wav, text, Path(), folder)


def _columns(names: Sequence[str], what: str) -> tuple[str, str | None]:
    """The columns of audio and of texts, if there is one."""
    wav, text = (next((name for name in _COLUMNS[kind] if name in names), None) for kind in ("wav", "text"))
    if wav is None:
        raise DataError(f"{what}: there is no column {' or '.join(_COLUMNS['wav'])}; the columns are {', '.join(names)}")
    return wav, text


def _utterances(rows: Iterable[Mapping[str, Any]], wav: str, text: str | None, place: Path, folder: Path) -> list[Utterance]:
    folder.mkdir(parents=True, exist_ok=True)
    utterances, faults = [], []
    for number, row in enumerate(rows, start=1):
        name, said = f"u{number:06d}", " ".join((row[text] or "").split()) if text else ""
        path = _audio_file(row[wav], place, folder / name)
        if path is None or (text and not said):
            faults.append(Fault(f"row {number}", 0, "there is no audio" if path is None else "there is no text"))
        else:
            utterances.append(Utterance(name, str(path.absolute()), said, "", 0.0))
    stop_at_faults("the dataset is not usable", faults)
    return utterances


def _audio_file(audio: Any, place: Path, target: Path) -> Path | None:
    """The file of a row's audio, in any of the forms that the library datasets has or had; None for anything else."""
    if hasattr(audio, "get_all_samples"):  # torchcodec's decoder
        samples = audio.get_all_samples()
        audio = {"array": np.asarray(samples.data).mean(axis=0), "sampling_rate": samples.sample_rate}
    if isinstance(audio, (str, Path)):
        return place / audio
    if isinstance(audio, dict) and audio.get("array") is not None:
        wav = target.with_name(f"{target.name}.wav")
        soundfile.write(wav, np.asarray(audio["array"], dtype=np.float32), int(audio["sampling_rate"]), subtype="FLOAT")
        return wav
    return write_audio(audio, place, target) if is_audio(audio) else None


def _rows(path: Path) -> list[Utterance]:
    """Utterances of a table; relative paths start from its folder."""
    header, lines = read_lines(path)
    wav_column, text_column = _columns(header, f"{path}:1")
    if not lines:
        raise DataError(f"{path}:1: there are no rows")
    id_column = next((name for name in _COLUMNS["id"] if name in header), None)
    faults: list[Fault] = []
    utterances: list[Utterance] = []
    for number, values in lines:
        row = dict(zip(header, values))
        wav, text = row[wav_column].strip(), " ".join(row[text_column].split()) if text_column else ""
        name = (row[id_column] if id_column else "") or "_".join(Path(wav).with_suffix("").parts)
        if not (path.parent / wav).is_file():
            faults.append(Fault(str(path), number, f"there is no file {path.parent / wav}"))
        elif text_column and not text:
            faults.append(Fault(str(path), number, "the row has no text"))
        utterances.append(Utterance("_".join(name.strip("_/ ").split()), str((path.parent / wav).absolute()), text, "", 0.0))
    stop_at_faults(f"{path} is not usable", faults)
    return utterances
