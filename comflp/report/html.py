"""The report as one HTML page that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from comflp.report.document import Column, Document, Drawing, Figure, Section, Table
from comflp.report.palette import css_variables

_STYLE = Path(__file__).with_name("page.css")


def page(document: Document) -> str:
    """The whole document."""
    style = css_variables() + _STYLE.read_text(encoding="utf-8")
    sections = "\n".join(_section(section) for section in document.sections)
    links = "".join(f'<a href="#{section.key}">{escape(section.title)}</a>' for section in document.sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<header>\n"
        f'<p class="subtitle">{escape(document.subtitle)}</p>\n<h1>{escape(document.title)}</h1>\n'
        f"{_answer(document)}\n</header>\n<nav aria-label=\"Sections\">{links}</nav>\n<main>\n{sections}\n</main>\n</body>\n</html>\n"
    )


def _answer(document: Document) -> str:
    first, *others = document.headline
    lines = f'<p class="lead">{escape(first)}</p>' + "".join(f"<p>{escape(line)}</p>" for line in others)
    tiles = "".join(
        f'<div><span class="label">{escape(label)}</span><span class="value">{escape(value)}</span>'
        f'<span class="detail">{escape(detail)}</span></div>'
        for label, value, detail in document.tiles
    )
    note = f'<p class="note">{escape(document.note)}</p>' if document.note else ""
    return f'<div class="answer">{lines}{f"""<div class="tiles">{tiles}</div>""" if tiles else ""}</div>\n{note}'


def _section(section: Section) -> str:
    parts = [f'<section id="{section.key}">', f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{_inline(line)}</p>" for line in section.text]
    parts += [_table(table) for table in section.tables if not table.folded]
    if section.figures:
        parts.append(f'<div class="figures">{"".join(map(_figure, section.figures))}</div>')
    parts += [f'<p class="missing">{_inline(line)}</p>' for line in section.missing]
    parts += [f"<details><summary>{escape(table.caption or table.name)}</summary>{_table(table, caption=False)}</details>"
              for table in section.tables if table.folded]
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure) -> str:
    return f'<figure><div class="scroll">{figure.svg}</div><figcaption>{escape(figure.caption)}</figcaption></figure>'


def _table(table: Table, caption: bool = True) -> str:
    heads = "".join(f"<th{_side(column.spec)}>{escape(column.title)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td{_side(column.spec)}>{_cell(column, value)}</td>" for column, value in zip(table.columns, row)) + "</tr>\n"
        for row in table.rows
    )
    title = f"<caption>{escape(table.caption)}</caption>" if caption and table.caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _side(spec: str) -> str:
    return ' class="number"' if spec else ""


def _cell(column: Column, value: object) -> str:
    if isinstance(value, Drawing):
        return f"{value.svg}<small>{escape(value.text)}</small>"
    return escape(column.show(value))


def _inline(line: str) -> str:
    """Escaped text with ``code`` between backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(line))
