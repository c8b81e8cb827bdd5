"""Files of ``<id> <value>`` lines, as Kaldi's data directories and corpora have them, and the faults found in such files."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from comflp.errors import ComflpError
from comflp.names import name_fault

FAULTS_SHOWN = 20

Table = dict[str, tuple[str, int]]
"""Id -> (value, line number)."""


class DataError(ComflpError):
    """A data directory has faults; the message lists the first of them with file and line."""


@dataclass(frozen=True, order=True)
class Fault:
    """One fault of a data directory: ``line`` is 1-based, and 0 when the fault is of the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


def stop_at_faults(what: str, faults: Sequence[Fault | Exception]) -> None:
    """Raise a DataError that says ``what`` is wrong and lists the first 20 of ``faults``; do nothing if there are none."""
    if not faults:
        return
    shown = [str(fault) for fault in faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        shown.append(f"and {len(faults) - FAULTS_SHOWN:,} more")
    raise DataError(f"{what}:\n  " + "\n  ".join(shown))


def id_fault(name: str) -> str | None:
    """Why ``name`` cannot be an utterance or speaker id (ids name files later), or None. A leading dash does no harm here."""
    if not name:
        return "an id is empty"
    fault = name_fault(name.lstrip("-") or name)
    return None if fault is None else f"the id {fault}"


def read_table(path: Path, faults: list[Fault]) -> Table:
    """Read a UTF-8 file of ``<id> <value>`` lines; a value may be empty.

    faults: gets a Fault for each line that is empty, not UTF-8, repeats an id or begins with an unusable one.
    """
    table: Table = {}
    name = str(path)
    if path.exists() and not path.is_file():  # reading a named pipe would wait for ever
        faults.append(Fault(name, 0, "cannot be read: it is a folder, a device or a named pipe, and not a file"))
        return table
    try:
        content = path.read_bytes()
    except OSError as error:
        faults.append(Fault(name, 0, f"cannot be read: {error.strerror}"))
        return table
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        fields = line.split(None, 1)
        if not fields:
            faults.append(Fault(name, number, "the line is empty"))
            continue
        try:
            key = fields[0].decode()
            value = fields[1].strip().decode() if len(fields) == 2 else ""
        except UnicodeDecodeError:
            faults.append(Fault(name, number, "the line is not UTF-8"))
            continue
        fault = id_fault(key)
        if fault is not None:
            faults.append(Fault(name, number, fault))
        elif key in table:
            faults.append(Fault(name, number, f"duplicate id {key!r}, first on line {table[key][1]}"))
        else:
            table[key] = (value, number)
    return table
