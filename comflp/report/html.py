"""The report as one HTML page that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import re
from functools import singledispatch
from html import escape
from pathlib import Path
from typing import Any, Sequence

from comflp.report.document import Column, Commands, Document, Drawing, Figure, Fold, Part, Section, Switch, Table, Text
from comflp.report.palette import css_variables
from comflp.report.rates import Rate

_STYLE = Path(__file__).with_name("page.css")


def page(document: Document) -> str:
    """The whole document."""
    style = css_variables() + _STYLE.read_text(encoding="utf-8")
    links = "".join(f'<a href="#{section.key}">{escape(section.title)}</a>' for section in document.sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<header>\n"
        f'<p class="subtitle">{escape(document.subtitle)}</p>\n<h1>{escape(document.title)}</h1>\n'
        f'{_answer(document)}\n{_first(document)}\n{_parts(document.next)}\n</header>\n<nav aria-label="Sections">{links}</nav>\n'
        f"<main>\n{''.join(map(_section, document.sections))}</main>\n</body>\n</html>\n"
    )


def _answer(document: Document) -> str:
    first, *others = document.headline
    warned = "".join(f'<p class="warning">{_inline(line)}</p>' for line in document.warnings)
    lines = f'<p class="lead">{escape(first)}</p>' + f"<p>{_inline(' '.join(others))}</p>" * bool(others)
    tiles = "".join(
        f'<div><span class="label">{escape(label)}</span><span class="value">{escape(value)}</span>'
        f'<span class="label">{escape(detail)}</span></div>'
        for label, value, detail in document.tiles
    )
    note = f'<p class="note">{escape(document.note)}</p>' if document.note else ""
    return f'<div class="answer">{warned}{lines}{f"""<div class="tiles">{tiles}</div>""" if tiles else ""}</div>\n{note}'


def _first(document: Document) -> str:
    """What the reader switches stands beside the rest, where there is room."""
    left, right = ([part for part in document.first if isinstance(part, Switch) == switched] for switched in (False, True))
    if not right:
        return _parts(left)
    return f'<div class="first"><div>{_parts(left)}</div><div>{_parts(right)}</div></div>'


def _section(section: Section) -> str:
    inner = _parts(section.parts)
    if section.folded:
        inner = f"<details><summary>Show</summary>\n{inner}</details>\n"
    return f'<section id="{section.key}" aria-labelledby="{section.key}-title">\n<h2 id="{section.key}-title">{escape(section.title)}</h2>\n{inner}</section>\n'


def _parts(parts: Sequence[Part]) -> str:
    """All parts; figures that follow each other stand side by side."""
    made, row = [], []
    for part in [*parts, None]:
        if isinstance(part, Figure):
            row.append(_html(part))
            continue
        if row:
            made.append(f'<div class="figures">{"".join(row)}</div>')
            row = []
        if part is not None:
            made.append(_html(part))
    return "\n".join(made) + "\n"


@singledispatch
def _html(part: Any) -> str:
    raise TypeError(f"{part!r} is no part of a report")


@_html.register
def _text(part: Text) -> str:
    return f'<p{" class=missing" if part.missing else ""}>{_inline(part.text)}</p>'


@_html.register
def _fold(part: Fold) -> str:
    return f"<details><summary>{escape(part.title)}</summary>\n{_parts(part.parts)}</details>"


@_html.register
def _commands(part: Commands) -> str:
    steps = "".join(f"<li>{_inline(what)}<pre><code>{escape(line)}</code></pre></li>" for what, line in part.steps)
    return f'<ol class="commands">{steps}</ol>'


@_html.register
def _figure(part: Figure) -> str:
    data = f"<details><summary>The numbers</summary>\n{_html(part.data)}</details>" if part.data is not None and part.data.rows else ""
    return f"<figure>{part.svg}<figcaption>{escape(part.caption)}</figcaption>{data}</figure>"


@_html.register
def _switch(part: Switch) -> str:
    """Radio buttons before the figures; the style sheet shows the figure of the one that is chosen."""
    buttons = "".join(
        f'<input type="radio" name="{part.name}" id="{part.name}-{number}"{" checked" if not number else ""}>'
        f'<label for="{part.name}-{number}">{escape(label)}</label>'
        for number, (label, _) in enumerate(part.choices)
    )
    figures = "".join(_html(figure) for _, figure in part.choices)
    return f'<fieldset class="switch"><legend>{escape(part.label)}</legend>{buttons}{figures}</fieldset>'


@_html.register
def _table(part: Table) -> str:
    """With the roles spelled out, which the layout for narrow screens would take away."""
    heads = "".join(f'<th scope="col" role="columnheader"{_side(column)}>{escape(column.title)}</th>' for column in part.columns)
    rows = "".join(
        f'<tr role="row"{" class=strong" if number in part.strong else ""}>'
        + "".join(_cell(column, value, first=not place) for place, (column, value) in enumerate(zip(part.columns, row))) + "</tr>\n"
        for number, row in enumerate(part.rows)
    )
    title = f"<p class=caption>{escape(part.caption)}</p>" if part.caption else ""
    kind = "matrix" if part.matrix else "wide" if len(part.columns) > 3 else "narrow"
    return (f'{title}<div class="scroll" tabindex="0" role="region" aria-label="{escape(part.caption or part.name, quote=True)}">'
            f'<table role="table" class="{kind}"><thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
            f'<tbody role="rowgroup">\n{rows}</tbody></table></div>')


def _side(column: Column) -> str:
    return " class=number" if column.spec else ""


def _cell(column: Column, value: object, first: bool) -> str:
    if isinstance(value, Drawing):
        content = f"{value.svg}<small>{escape(value.text)}</small>"
    elif isinstance(value, Rate) and value.low is not None:
        content = f"{value.value:{column.spec}} <small>{value.low:{column.spec}}–{value.high:{column.spec}}</small>"
    else:
        content = escape(column.show(value))
    tag, role = ('th scope="row"', "rowheader") if first else ("td", "cell")
    return f'<{tag} role="{role}" data-of="{escape(column.title, quote=True)}"{_side(column)}>{content}</{tag[:2]}>'


def _inline(line: str) -> str:
    """Escaped text with ``code`` between backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(line))
