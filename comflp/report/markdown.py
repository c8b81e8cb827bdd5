"""The report as Markdown: RESULTS.md."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from comflp.report.document import Commands, Document, Figure, Fold, Switch, Table, Text


def text(document: Document) -> str:
    """The whole document; figures are links to figures/*.svg, what the page folds away is a link to tables/*.csv."""
    parts = [f"# {document.title}", document.subtitle + "."]
    parts += [f"> **{line}**" for line in document.warnings]
    parts += document.headline
    if document.note:
        parts.append("> " + document.note.replace("\n", "\n> "))
    if document.tiles:
        parts.append("\n".join(f"- {label}: {value}" + (f" ({detail})" if detail else "") for label, value, detail in document.tiles))
    parts.append("The same with figures to point at: [report.html](report.html). All numbers: [report.json](report.json).")
    parts += [_markdown(part) for part in (*document.first, *document.next)]
    for section in document.sections:
        parts += [f"## {section.title}", *(_markdown(part) for part in section.parts)]
    return "\n\n".join(parts) + "\n"


@singledispatch
def _markdown(part: Any) -> str:
    raise TypeError(f"{part!r} is no part of a report")


@_markdown.register
def _text(part: Text) -> str:
    return f"*{part.text}*" if part.missing else part.text


@_markdown.register
def _commands(part: Commands) -> str:
    return "\n\n".join(f"{what}\n\n    {line}" for what, line in part.steps)


@_markdown.register
def _figure(part: Figure) -> str:
    return f"![{part.caption}](figures/{part.name}.svg)\n{part.caption}"


@_markdown.register
def _switch(part: Switch) -> str:
    return _markdown(part.choices[0][1])


@_markdown.register
def _fold(part: Fold) -> str:
    return "\n\n".join(_link(inner) if isinstance(inner, Table) else _markdown(inner) for inner in part.parts)


@_markdown.register
def _table(part: Table) -> str:
    heading = f"{part.caption}:\n\n" if part.caption else ""
    lines = [
        "| " + " | ".join(_cell(column.title) for column in part.columns) + " |",
        "|" + "|".join("---:" if column.spec else "---" for column in part.columns) + "|",
    ]
    lines += ["| " + " | ".join(_cell(column.show(value)) for column, value in zip(part.columns, row)) + " |" for row in part.rows]
    return heading + "\n".join(lines)


def _link(table: Table) -> str:
    return f"[{table.caption or table.name}](tables/{table.name}.csv)"


def _cell(content: str) -> str:
    return content.replace("|", "\\|").replace("\n", " ")
