"""What a report is made of, before it is HTML, Markdown or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Sequence, Union

from comflp.report.rates import Rate


@dataclass(frozen=True)
class Drawing:
    """A table cell that is drawn on the page and written as ``text`` elsewhere."""

    svg: str
    text: str


@dataclass(frozen=True)
class Column:
    """spec: how a number is shown (``.2f``); the data files keep all digits. A column with a spec is aligned right.

    A Rate in a column is shown with its interval, and is three fields in the data files.
    """

    title: str
    spec: str = ""

    def show(self, value: Any) -> str:
        """The text of a cell; a dash for what is not there."""
        if value is None:
            return "–"
        if isinstance(value, Drawing):
            return value.text
        if isinstance(value, Rate):
            interval = "" if value.low is None else f" ({value.low:{self.spec}}–{value.high:{self.spec}})"
            return f"{value.value:{self.spec}}{interval}"
        return format(value, self.spec) if self.spec and not isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Table:
    """rows: values in the order of ``columns``; None where there is none. name: also its file's.

    strong: numbers of the rows that stand out. matrix: a square of numbers, which is never broken into lines.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    strong: Sequence[int] = ()
    matrix: bool = False

    def records(self) -> list[dict[str, Any]]:
        """The rows as dicts of plain values."""
        titles = [column.title for column in self.columns]  # an experiment may be called like another column
        titles = [title if title not in titles[:number] else f"{title} ({number + 1})" for number, title in enumerate(titles)]
        return [dict(pair for title, value in zip(titles, row) for pair in _fields(title, value)) for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A drawing. svg: an ``<svg>`` element in the page's CSS variables. name: also its file name. data: the numbers in it."""

    name: str
    svg: str
    caption: str
    data: Table | None = None


@dataclass(frozen=True)
class Switch:
    """Figures of which the reader sees one at a time. choices: (what the button says, figure)."""

    name: str
    label: str
    choices: Sequence[tuple[str, Figure]]


@dataclass(frozen=True)
class Text:
    """A paragraph; ``code`` is written between backticks. missing: it says what is not there, and which stage makes it."""

    text: str
    missing: bool = False


@dataclass(frozen=True)
class Commands:
    """What to type. steps: (what it does, the command line)."""

    steps: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Fold:
    """Parts that are shown on request."""

    title: str
    parts: Sequence[Part]


Part = Union[Text, Table, Figure, Switch, Commands, Fold]


@dataclass(frozen=True)
class Section:
    """One part of the report. folded: shown on request."""

    key: str
    title: str
    parts: Sequence[Part]
    folded: bool = False

    def every(self, kind: type) -> list[Any]:
        """All parts of a kind, those within others too."""
        return list(_every(self.parts, kind))


@dataclass(frozen=True)
class Document:
    """headline: the answer, one sentence a line. tiles: (label, value, detail) of the numbers that matter most.

    warnings: what has to be read before. first: what follows on the first screen. next: what to do then. facts: the answer as plain
    values, for report.json.
    """

    title: str
    subtitle: str
    note: str
    warnings: Sequence[str]
    headline: Sequence[str]
    tiles: Sequence[tuple[str, str, str]]
    facts: dict[str, Any]
    first: Sequence[Part]
    next: Sequence[Part]
    sections: Sequence[Section]

    def every(self, kind: type) -> Iterator[Any]:
        """All parts of a kind, those within others too."""
        for parts in (self.first, self.next, *(section.parts for section in self.sections)):
            yield from _every(parts, kind)


def _every(parts: Sequence[Part], kind: type) -> Iterator[Any]:
    for part in parts:
        if isinstance(part, kind):
            yield part
        inner = part.parts if isinstance(part, Fold) else [figure for _, figure in part.choices] if isinstance(part, Switch) else ()
        data = [part.data] if isinstance(part, Figure) and part.data is not None else ()
        yield from _every([*inner, *data], kind)


def _fields(title: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Rate):
        return [(title, value.value), (f"{title}, low", value.low), (f"{title}, high", value.high)]
    return [(title, value.text if isinstance(value, Drawing) else value)]
