"""Speech in whatever form it is at hand: a data directory, a table, a folder of audio files, a dataset, file names, arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np
import soundfile

from comflp.data import manifests
from comflp.data.audio import mixed
from comflp.data.data_dir import DataDir, read_data_dir
from comflp.data.loading import load
from comflp.data.rows import COLUMNS, find_columns, metadata_of, numbered_unless_ids, table_utterances, words_of
from comflp.data.saved_datasets import column_names, find_files, find_tables, is_audio, is_saved, read_rows, splits_of, write_audio
from comflp.data.tables import Fault, id_fault, stop_at_faults
from comflp.data.utterance import Segment, Utterance
from comflp.errors import ComflpError

SUFFIXES = (".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".sph",
            ".nist", ".voc", ".ircam", ".avr", ".paf", ".pvf", ".wve", ".8svx")
"""What files of a folder are taken for audio by."""
UNREADABLE = (".m4a", ".webm", ".aac", ".wma", ".amr")
"""What audio is known by that libsndfile cannot read."""

_IN_DATASETS = {**COLUMNS, "wav": ("audio", "wav", "path", "file")}
"""What a dataset's may be: Common Voice has both, the audio itself in ``audio``."""


def read_speech(
    speech: Any, made: str | Path, sample_rate: int | None = None, allow_pipes: bool = False, progress: Any = None
) -> DataDir:
    """The utterances of ``speech``, with their texts where it has them.

    speech: a Kaldi data directory (a folder with ``wav.scp``); a .csv or .tsv table with a column ``wav`` (or ``path``, ``audio``, ``file``,
        ``file_name``) and, if there are texts, ``text`` (or ``sentence``, ``transcript``, ``transcription``, ``wrd``), if there are speakers
        ``speaker`` (or ``speaker_id``, ``spk_id``, ``client_id``); a manifest of NeMo or WeNet (.json, .jsonl, .list); a folder, of which all
        audio files are taken, those in folders within it too, or those that its ``metadata.csv`` names (an AudioFolder of the library
        datasets); what ``save_to_disk`` of that library wrote, or a folder of parquet files; a Dataset of it or a stream of one
        (IterableDataset), or a list of dicts, with a column ``audio`` and, if there are texts, ``text`` (or as above); a list of audio files;
        a list of arrays (num_samples,) of floats in [-1, 1]; or a DataDir.
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
        saved = path.is_dir() and is_saved(path)
        path = path if saved else metadata_of(path) or path
        if path.suffix.lower() in (".csv", ".tsv", *manifests.SUFFIXES) and not path.is_dir():
            utterances, places = table_utterances(path)
            return _as_data_dir(utterances, Path(made) / "data", progress, str(path), places)
        if path.is_dir():
            utterances = _saved(path, Path(made) / "audio") if saved else _folder(path)
        elif not path.exists():
            raise ComflpError(f"there is no {path}")
        else:
            what = "one audio file" if path.suffix.lower() in SUFFIXES else "no speech"
            raise ComflpError(f"{path} is {what}: give a Kaldi data directory, a .csv or .tsv table, a .jsonl manifest, a folder of audio files, "
                              "or a saved dataset")
    else:
        if isinstance(getattr(speech, "column_names", None), Mapping):
            raise ComflpError(f"the dataset has several splits, {', '.join(speech)}; give one of them, such as dataset[{next(iter(speech))!r}]")
        speech = _undecoded(speech)
        if not hasattr(speech, "__len__") or not hasattr(speech, "column_names"):  # a Dataset is read row by row, as its audio may not fit into memory
            speech = list(speech)
        if not len(speech):
            raise ComflpError("there is no speech: the list of utterances is empty")
        if isinstance(speech[0], Mapping):
            utterances = _dataset(speech, Path(made) / "audio")
        elif all(isinstance(item, (str, Path)) for item in speech):
            utterances = _files([Path(item) for item in speech], None)
        else:
            utterances = _arrays(speech, Path(made) / "audio", sample_rate)
    named = str(speech) if isinstance(speech, (str, Path)) else "the speech given"
    return _as_data_dir(utterances, Path(made) / "data", progress, named, [f"number {number:,}" for number in range(1, len(utterances) + 1)])


def _as_data_dir(utterances: list[Utterance], path: Path, progress: Any, named: str, places: Sequence[str]) -> DataDir:
    """Written as a data directory and read back, so that durations and faults are found in the one way that there is.

    places: where the user finds each utterance, such as ``table.csv:3``. Faults are told there, and not in the directory, which nobody has written.
    """
    stop_at_faults("the speech is not usable", [Fault(ascii(utterance.wav), 0, "the name is not in UTF-8, or has a line break; rename the file")
                                                for utterance in utterances if not _is_one_line(utterance.wav)])
    stop_at_faults(f"{named} is not usable", list(_faults_of_values(utterances, places)))
    parts, recordings = [""] * len(utterances), [(utterance.utt_id, utterance.wav) for utterance in utterances]
    if any(utterance.segment for utterance in utterances):
        names = {wav: f"recording{number:06d}" for number, wav in enumerate(dict.fromkeys(utterance.wav for utterance in utterances), start=1)}
        recordings = [(name, wav) for wav, name in names.items()]
        cuts = [utterance.segment or Segment("", 0.0, -1.0) for utterance in utterances]
        parts = [f"{names[utterance.wav]} {cut.start!r} {cut.end!r}" for utterance, cut in zip(utterances, cuts)]
    path.mkdir(parents=True, exist_ok=True)
    (path / "wav.scp").write_text("".join(f"{name} {wav}\n" for name, wav in recordings), encoding="utf-8")
    speakers = _as_ids([utterance.speaker for utterance in utterances])
    stated = [f"{utterance.duration!r}" if utterance.duration else "" for utterance in utterances]
    stated = stated if all(stated) else [""] * len(stated)
    for name, values in (("text", [utterance.text for utterance in utterances]), ("utt2spk", speakers), ("segments", parts), ("utt2dur", stated)):
        (path / name).unlink(missing_ok=True)
        rows = "".join(f"{utterance.utt_id} {value}\n" for utterance, value in zip(utterances, values) if value)
        if rows:
            (path / name).write_text(rows, encoding="utf-8")
    found, faults = load(path, require_text=False, allow_pipes=False, progress=progress)
    first = {utterance.wav: place for utterance, place in zip(reversed(utterances), reversed(places))}
    lines = {str(path / "wav.scp"): [first[wav] for _, wav in recordings]}
    stop_at_faults(f"{named} is not usable", list(dict.fromkeys(_told_there(fault, lines.get(fault.file, places)) for fault in faults)))
    return DataDir(path, found)


def _faults_of_values(utterances: Sequence[Utterance], places: Sequence[str]) -> Iterator[Fault]:
    """What a data directory could not hold: names that are no ids, names that are there twice, texts that are no Unicode."""
    first: dict[str, str] = {}
    for utterance, place in zip(utterances, places):
        fault = id_fault(utterance.utt_id)
        if fault is None and utterance.utt_id in first:
            fault = f"duplicate id {utterance.utt_id!r}, first at {first[utterance.utt_id]}"
        if fault is None and not _is_one_line(utterance.text + utterance.speaker):
            fault = f"the text {utterance.text + utterance.speaker!a} holds half a character (a surrogate), which UTF-8 cannot write"
        first.setdefault(utterance.utt_id, place)
        if fault is not None:
            yield Fault(place, 0, fault)


def _told_there(fault: Fault, places: Sequence[str]) -> Fault:
    """A fault of a line of the data directory, told at the place that the line was made from."""
    return Fault(places[fault.line - 1], 0, fault.message.replace("utt2dur says", "the row says")) if fault.line else fault


def _as_ids(speakers: Sequence[str]) -> Sequence[str]:
    """The speakers as they are called, or by number where these names are no ids; nothing where not every one is known."""
    if not all(speakers):
        return [""] * len(speakers)
    numbers = {name: f"speaker{number:04d}" for number, name in enumerate(dict.fromkeys(speakers), start=1)}
    return [numbers[name] for name in speakers] if any(map(id_fault, numbers)) else speakers


def _is_one_line(name: str) -> bool:
    """Whether a file's name can be written as a line in UTF-8, which one that was written in another encoding cannot."""
    return not any("\ud800" <= character <= "\udfff" or character in "\r\n" for character in name)


def _folder(path: Path) -> list[Utterance]:
    """All audio files of a folder. Raises ComflpError where it holds audio that cannot be read and was not converted to a file of the same name."""
    files = find_files(path, "**/*")
    found = [file for file in files if file.suffix.lower() in SUFFIXES]
    converted = {file.with_suffix("") for file in found}
    left_out = [file for file in files if file.suffix.lower() in UNREADABLE and file.with_suffix("") not in converted]
    if left_out:
        count = f"{len(left_out):,} audio files" if len(left_out) > 1 else "an audio file"
        raise ComflpError(f"{path} holds {count} that cannot be read ({left_out[0]}): convert what is {' or '.join(UNREADABLE)}, "
                          "for example with ffmpeg -i OLD NEW.wav, or move it away")
    if not found:
        raise ComflpError(f"{path} holds neither wav.scp nor audio files ({', '.join(SUFFIXES)}), and is no saved dataset")
    return _files(found, path)


def _files(paths: Sequence[Path], folder: Path | None) -> list[Utterance]:
    """Utterances named by their files: by the path below ``folder``, with a number where names repeat or are no ids, being too long."""
    names = ["_".join((path.relative_to(folder) if folder else Path(path.name)).with_suffix("").parts) for path in paths]
    return [Utterance(name, str(path.absolute()), "", "", 0.0) for name, path in zip(numbered_unless_ids(names), paths)]


def _arrays(arrays: Sequence[Any], folder: Path, sample_rate: int | None) -> list[Utterance]:
    """Utterances whose audio is written to ``folder``."""
    if sample_rate is None:
        raise ComflpError("arrays of samples need sample_rate, in Hz")
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number, array in enumerate(arrays, start=1):
        wav = _write_array(array, sample_rate, folder / f"u{number:06d}.wav", f"utterance {number}")
        utterances.append(Utterance(wav.stem, str(wav.absolute()), "", "", 0.0))
    return utterances


def _write_array(array: Any, sample_rate: int, wav: Path, what: str) -> Path:
    """``wav``, with the samples in 32-bit floating point; ComflpError for an array that is not of one channel of floats."""
    samples = np.asarray(array)
    if samples.dtype.kind != "f":
        raise ComflpError(f"{what} is an array of {samples.dtype}, and samples are floats in [-1, 1]; divide 16-bit ones by 32768")
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ComflpError(f"{what} is not an array (num_samples,) of finite numbers, but of shape {samples.shape}")
    soundfile.write(wav, samples.astype(np.float32), sample_rate, subtype="FLOAT")
    return wav


def _saved(path: Path, folder: Path) -> list[Utterance]:
    """Utterances of a saved dataset of one split; audio inside its files is written to ``folder``."""
    if (path / "dataset_dict.json").exists():
        raise ComflpError(f"{path} holds several splits; give the folder of one of them: {', '.join(str(path / split) for split in splits_of(path))}")
    tables = find_tables(path)
    columns = find_columns(column_names(tables[0]), str(path), _IN_DATASETS)
    wanted = list(filter(None, (columns[kind] for kind in ("wav", "text", "speaker"))))
    return _utterances((row for table in tables for row in read_rows(table, wanted)), columns, path, folder)


def _undecoded(dataset: Any) -> Any:
    """``dataset``, whose audio comes as it is stored, where it is one of the library datasets: what decodes it there need not be installed."""
    for name, feature in (getattr(dataset, "features", None) or {}).items():
        if getattr(feature, "decode", False) and type(feature).__name__ == "Audio":
            dataset = dataset.cast_column(name, replace(feature, decode=False))
    return dataset


def _dataset(rows: Any, folder: Path) -> list[Utterance]:
    """Utterances of a Dataset or of a list of dicts; audio in memory is written to ``folder``."""
    names = getattr(rows, "column_names", None) or list(dict.fromkeys(name for row in rows for name in row))
    columns = find_columns(names, "the dataset", _IN_DATASETS)
    return _utterances((rows[number] for number in range(len(rows))), columns, Path(), folder)


def _utterances(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], place: Path, folder: Path) -> list[Utterance]:
    folder.mkdir(parents=True, exist_ok=True)
    utterances, faults = [], []
    for number, row in enumerate(rows, start=1):
        name, said, speaker = f"u{number:06d}", *(words_of(row, columns[kind]) for kind in ("text", "speaker"))
        path = _audio_file(row.get(columns["wav"]), place, folder / name, f"row {number}")
        if path is None or (columns["text"] and not said):
            faults.append(Fault(f"row {number}", 0, "there is no audio" if path is None else "there is no text"))
        else:
            utterances.append(Utterance(name, str(path.absolute()), said, speaker, 0.0))
    stop_at_faults("the dataset is not usable", faults)
    return utterances


def _audio_file(audio: Any, place: Path, target: Path, what: str) -> Path | None:
    """The file of a row's audio, in any of the forms that the library datasets has or had; None for anything else."""
    if hasattr(audio, "get_all_samples"):  # torchcodec's decoder
        samples = audio.get_all_samples()
        audio = {"array": mixed(np.asarray(samples.data).T), "sampling_rate": samples.sample_rate}
    if isinstance(audio, (str, Path)):
        return place / audio
    if isinstance(audio, dict) and audio.get("array") is not None:
        return _write_array(audio["array"], int(audio["sampling_rate"]), target.with_name(f"{target.name}.wav"), what)
    return write_audio(audio, place, target) if is_audio(audio) else None
