"""What a report is made of, before it is HTML, Markdown or CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence


@dataclass(frozen=True)
class Figure:
    """A drawing. svg: an ``<svg>`` element in the page's CSS variables. name: also its file name.

    bitmap: a PNG of the same thing that lies somewhere already, or None; it is copied beside.
    """

    name: str
    svg: str
    caption: str
    bitmap: Path | None = None


@dataclass(frozen=True)
class Drawing:
    """A table cell that is drawn on the page and written as ``text`` elsewhere."""

    svg: str
    text: str


@dataclass(frozen=True)
class Column:
    """spec: how a number is shown (``.2f``); the data files keep all digits. A column with a spec is aligned right."""

    title: str
    spec: str = ""

    def show(self, value: Any) -> str:
        """The text of a cell; a dash for what is not there."""
        if value is None:
            return "–"
        if isinstance(value, Drawing):
            return value.text
        return format(value, self.spec) if self.spec and not isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Table:
    """rows: values in the order of ``columns``; None where there is none.

    name: also its file's. folded: data behind a figure, shown on request.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    folded: bool = False

    def records(self) -> list[dict[str, Any]]:
        """The rows as dicts of plain values."""
        titles = [column.title for column in self.columns]
        return [
            dict(zip(titles, (value.text if isinstance(value, Drawing) else value for value in row))) for row in self.rows
        ]


@dataclass(frozen=True)
class Section:
    """One part of the report.

    text: paragraphs; ``code`` is written between backticks. missing: what is not there, and which stage makes it.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Document:
    """headline: the answer, one sentence a line. tiles: (label, value, detail) of the numbers that matter most.

    facts: the same as plain values, for report.json.
    """

    title: str
    subtitle: str
    note: str
    headline: Sequence[str]
    tiles: Sequence[tuple[str, str, str]]
    facts: dict[str, Any]
    sections: Sequence[Section] = field(default_factory=tuple)
