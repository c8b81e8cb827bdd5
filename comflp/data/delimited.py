"""Tables with a header as text files: .csv with commas and quotes, .tsv with tabs and none."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import Any, Iterable, Sequence

from comflp.data.tables import DataError, Fault, stop_at_faults


_NEWLINE = b"\n"
_SEPARATORS = {
    ",": ("commas", "call the table .csv"), "\t": ("tabs", "call the table .tsv"), ";": (";", "write commas and call the table .csv, or tabs and .tsv"),
}  # fmt: skip
"""What may stand between columns: how to call it, and what to do about it where another is read."""


def read_lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(header, [(line number, values)]) of the table. Raises DataError with file and line for a row that is not as the header."""
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix.lower() == ".tsv" else {"delimiter": ",", "strict": True}
    header: list[str] | None = None
    line = 0
    rows: list[tuple[int, list[str]]] = []
    faults: list[Fault] = []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
        raise DataError(f"{path} is UTF-16: save it as UTF-8")
    try:
        table = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), **dialect)
        for values in table:
            first, line = line + 1, table.line_num
            if not values:
                continue
            if header is None:
                header = [name.strip() for name in values]
                _check_separator(f"{path}:{first}", header, dialect["delimiter"])
            elif line > first:
                faults.append(Fault(str(path), first, f"the row goes on until line {line}; is a quotation mark left open?"))
            elif len(values) != len(header):
                faults.append(Fault(str(path), first, f"the row has {len(values)} values, the header {len(header)} columns"))
            else:
                rows.append((first, values))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{content.count(_NEWLINE, 0, error.start) + 1}: the line is not UTF-8; save the table as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1} cannot be read as a table: {error}") from error
    stop_at_faults(f"{path} is not usable", faults)
    return header or [], rows


def _check_separator(place: str, header: Sequence[str], expected: str) -> None:
    """DataError where a header that reads as one column is several, with another separator between them."""
    for separator, (called, remedy) in _SEPARATORS.items():
        if len(header) == 1 and separator in header[0] and separator != expected:
            raise DataError(f"{place}: columns are separated by {called} here: {remedy}")


def check_once(path: Path, header: Sequence[str], columns: Iterable[str]) -> None:
    """DataError where one of ``columns``, those that are read, is in the header twice: nothing tells which is meant."""
    twice = sorted({name for name in columns if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: there are two columns {' and '.join(twice)}")


def file_of(table: Path, named: str) -> Path:
    """The audio file that a row of a table or manifest names: from the table's folder on, or from ``clips`` in it, where Common Voice keeps it.

    One that is in neither is returned as from the table's folder.
    """
    beside, in_clips = table.parent / named, table.parent / "clips" / named
    return in_clips if not is_file(beside) and is_file(in_clips) else beside


def is_file(path: Path) -> bool:
    """Whether there is such a file; no name is too long or too odd to ask."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
