"""Manifests: a JSON object a line for each utterance, as NeMo (``audio_filepath``, ``text``) and WeNet (``key``, ``wav``, ``txt``) write them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Mapping

from comflp.data.tables import DataError, Fault, stop_at_faults
from comflp.data.utterance import Segment

SUFFIXES = (".json", ".jsonl", ".list")
"""What manifests are taken for by; NeMo's end in .json though the lines are the objects."""


def read_manifest(path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """(names of all columns, [(line number, row)]). Raises DataError with file and line for what is not one JSON object."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8, from byte {error.start} on") from None
    rows, faults = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            faults.append(Fault(str(path), number, "the line is not one JSON object, such as {\"audio_filepath\": \"a.wav\", \"text\": \"hello\"}"))
    if faults or len(rows) == 1:
        found, lines = _one_value(text)
        if found:
            raise DataError(f"{path} is one JSON {found}, and a manifest has one object a line: "
                            f"jq -c '{lines}' {shlex.quote(str(path))} > NEW.jsonl makes it, in the same folder where the names of files are relative")
    stop_at_faults(f"{path} is not usable", faults)
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows


def _one_value(text: str) -> tuple[str, str]:
    """(what it is, jq's words for its rows) where the whole text is one array of rows, or one object of a row for each id; else nothing."""
    if not text.lstrip().startswith(("[", "{")):
        return "", ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "", ""
    rows = list(value.values() if isinstance(value, dict) else value)
    if not rows or not all(isinstance(row, dict) for row in rows):
        return "", ""
    return ("array", ".[]") if isinstance(value, list) else ("object of all utterances, as SpeechBrain has it", "to_entries[] | {id: .key} + .value")


def part_of(row: Mapping[str, Any]) -> Segment | None:
    """The part of its recording that a row means: ``offset`` and ``duration`` of NeMo, ``start`` and ``end`` of WeNet, in seconds; None for all of it.

    A ``duration`` or ``end`` of null, or in a table of nothing, is the recording's end, as in NeMo.

    Raises ValueError, with what to say of it, for a row whose part is not two such numbers, or holds
    nothing; SpeechBrain's ``start`` and ``stop`` are of samples.
    """
    names = next((names for names in (("offset", "duration"), ("start", "end")) if row.get(names[0]) not in (None, "")), None)
    if names is None:
        return None
    if "stop" in row and "end" not in row:
        raise ValueError("start and stop, as SpeechBrain has them, are samples; divide them by the sampling rate and call the columns start and end")
    try:
        start, end = (float("inf") if name in row and row[name] in (None, "") else float(row[name]) for name in names)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"the row has {names[0]}, and {' and '.join(names)} are not both numbers of seconds") from None
    end = start + end if names[0] == "offset" else end
    if not 0 <= start < end:
        said = " and ".join(f"{name} {row[name]}" for name in names)
        raise ValueError(f"{said} are no part of a recording: one begins at 0 s or later, and ends after that")
    return Segment("", start, end)


def seconds_of(row: Mapping[str, Any], part: Segment | None) -> float:
    """How long the audio that a row means is by what it says; 0 where it says nothing of it. NeMo's ``duration`` alone is of the whole recording."""
    try:
        seconds = part.end - part.start if part else float(row.get("duration") or 0)
        return seconds if seconds < float("inf") else 0.0
    except (TypeError, ValueError):
        return 0.0
