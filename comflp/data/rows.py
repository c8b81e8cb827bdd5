"""Rows of tables and manifests as utterances: which column is what, which file a row means, and what it is called."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from comflp.data import manifests
from comflp.data.delimited import check_once, file_of, is_file, read_lines
from comflp.data.saved_datasets import as_text
from comflp.data.tables import DataError, Fault, id_fault, stop_at_faults
from comflp.data.utterance import Utterance

COLUMNS = {
    "wav": ("wav", "path", "audio", "file", "audio_filepath", "file_name"), "text": ("text", "txt", "wrd", "sentence", "transcript", "transcription", "words"),
    "speaker": ("speaker", "speaker_id", "spk_id", "client_id"), "id": ("id", "ID", "utt_id", "key"),
}  # fmt: skip
"""What a table's columns may be called."""
_OF_AUDIOFOLDER = "file_name"
_NAMED = 20
"""Columns that a message lists."""


def table_utterances(path: Path) -> tuple[list[Utterance], list[str]]:
    """Utterances of a table or a manifest, and the file and line of each. Relative paths start from its folder.

    What a manifest says of durations is held to the audio. The audio files of an AudioFolder (:func:`is_metadata`) are in its ``file_name``.
    """
    is_manifest = path.suffix.lower() in manifests.SUFFIXES
    if is_manifest:
        header, rows = manifests.read_manifest(path)
    else:
        header, lines = read_lines(path)
        rows = [(number, dict(zip(header, values))) for number, values in lines]
    if not rows:
        raise DataError(f"{path}:1: there are no rows")
    columns = find_columns(header, f"{path}:1", {**COLUMNS, "wav": (_OF_AUDIOFOLDER,)} if is_metadata(path) else COLUMNS)
    check_once(path, header, filter(None, columns.values()))
    faults: list[Fault] = []
    utterances: list[Utterance] = []
    places: list[str] = []
    pieces: list[tuple[str, ...]] = []
    with_texts = bool(columns["text"]) and (not is_manifest or any(words_of(row, columns["text"]) for _, row in rows))  # NeMo writes "" where none is known
    for number, row in rows:
        wav = as_text(row.get(columns["wav"])).strip()
        text, speaker, utt_id = (words_of(row, columns[kind]) for kind in ("text", "speaker", "id"))
        file = file_of(path, wav)
        if not wav or not is_file(file):
            faults.append(Fault(str(path), number, f"there is no file {file}" if wav else "the row names no audio file"))
            continue
        if with_texts and not text:
            faults.append(Fault(str(path), number, "the row has no text"))
        try:
            part = manifests.part_of(row)
        except ValueError as error:
            faults.append(Fault(str(path), number, str(error)))
            continue
        utterances.append(Utterance("_".join(utt_id.split()), str(file.absolute()), text, speaker,
                                    manifests.seconds_of(row, part) if is_manifest else 0.0, part))
        places.append(f"{path}:{number}")
        *folders, stem = Path(wav).with_suffix("").parts
        pieces.append((*folders, f"{stem}_{1000 * part.start:07.0f}" if part else stem))
    stop_at_faults(f"{path} is not usable", [*faults, *_repeated(utterances, places)])
    if not all(utterance.utt_id for utterance in utterances):
        utterances = [replace(utterance, utt_id=utterance.utt_id or name) for utterance, name in zip(utterances, _names(pieces))]
    return utterances, places


def metadata_of(folder: Path) -> Path | None:
    """The table of an AudioFolder of the library datasets (:func:`is_metadata`) in a folder; None where there is none."""
    return next(filter(is_metadata, (folder / "metadata.csv", folder / "metadata.jsonl")), None)


def is_metadata(path: Path) -> bool:
    """Whether a file is the table of an AudioFolder: ``metadata.csv`` or ``metadata.jsonl``, of which the first line has a column ``file_name``.

    Other programs call other tables so, such as LJSpeech its texts.
    """
    if path.name not in ("metadata.csv", "metadata.jsonl"):
        return False
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            line = file.readline(1 << 16)
    except OSError:
        return False
    if path.suffix == ".jsonl":
        return re.search(rf'"{_OF_AUDIOFOLDER}"\s*:', line) is not None
    return _OF_AUDIOFOLDER in [name.strip() for name in next(csv.reader([line]), [])]


def _repeated(utterances: Sequence[Utterance], places: Sequence[str]) -> Iterator[Fault]:
    """Rows without an id that mean the same audio as an earlier one."""
    first: dict[Any, str] = {}
    for utterance, place in zip(utterances, places):
        audio = (utterance.wav, utterance.segment)
        if audio in first and not utterance.utt_id:
            yield Fault(place, 0, f"the row means the same audio as {first[audio]}; remove one, or give both an id")
        first.setdefault(audio, place)


def _names(pieces: Sequence[tuple[str, ...]]) -> list[str]:
    """Utterance ids of the parts of paths; the folders that all have in common are left out where paths are too long for names."""
    names = ["_".join(parts).strip("_/ ") for parts in pieces]
    if any(map(id_fault, names)):
        levels = zip(*(parts[:-1] for parts in pieces))
        common = len(list(takewhile(lambda folders: len(set(folders)) == 1, levels)))
        names = ["_".join(parts[common:]).strip("_/ ") for parts in pieces]
    return numbered_unless_ids(names)


def numbered_unless_ids(names: Sequence[str]) -> list[str]:
    """``names``, which files gave, as utterance ids: with their numbers where one is there twice or is no id, or the numbers where that is too long."""
    names = ["_".join(name.split()) for name in names]
    if len(set(names)) == len(names) and not any(map(id_fault, names)):
        return names
    numbered = [f"{number:06d}_{name}" for number, name in enumerate(names, start=1)]
    return [name[:6] if id_fault(name) else name for name in numbered]


def find_columns(names: Sequence[str], what: str, called: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Kind -> the column of it, empty where there is none. called: what columns may be called, what goes first first; small letters may be capitals."""
    found = {}
    for kind, words in called.items():
        alike = [[name for name in names if str(name).lower() == word.lower()] for word in words]
        candidates = [[word] for word in words if word in names] or list(filter(None, alike)) or [[""]]
        if len(set(candidates[0])) > 1:
            raise DataError(f"{what}: the columns {' and '.join(candidates[0])} differ in capitals only; rename or remove one")
        found[kind] = candidates[0][0]
    if not found["wav"]:
        named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
        raise DataError(f"{what}: there is no column {' or '.join(called['wav'])}; the columns are {named}")
    return found


def words_of(row: Mapping[str, Any], column: str) -> str:
    """The words of a row's column; none where there is no such column. (The index that pandas writes has a column without a name.)"""
    return " ".join(as_text(row.get(column)).split()) if column else ""
