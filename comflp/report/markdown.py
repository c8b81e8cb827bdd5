"""The report as Markdown: RESULTS.md."""

from __future__ import annotations

from comflp.report.document import Document, Section, Table


def text(document: Document) -> str:
    """The whole document; figures are links to figures/*.svg, folded tables to tables/*.csv."""
    parts = [f"# {document.title}", document.subtitle + ".", *document.headline]
    if document.note:
        parts.append(f"> {document.note}")
    parts.append("The same with figures to point at: [report.html](report.html). All numbers: [report.json](report.json).")
    for section in document.sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {section.title}", *section.text]
    parts += [f"*{line}*" for line in section.missing]
    for table in section.tables:
        if table.folded:
            parts.append(f"[{table.caption or table.name}](tables/{table.name}.csv)")
        else:
            parts.append(_table(table))
    for figure in section.figures:
        bitmap = f" ([PNG](figures/{figure.name}.png))" if figure.bitmap else ""
        parts.append(f"![{figure.caption}](figures/{figure.name}.svg)\n{figure.caption}{bitmap}")
    return parts


def _table(table: Table) -> str:
    heading = f"{table.caption}:\n\n" if table.caption else ""
    lines = [
        "| " + " | ".join(_cell(column.title) for column in table.columns) + " |",
        "|" + "|".join("---:" if column.spec else "---" for column in table.columns) + "|",
    ]
    for row in table.rows:
        lines.append("| " + " | ".join(_cell(column.show(value)) for column, value in zip(table.columns, row)) + " |")
    return heading + "\n".join(lines)


def _cell(content: str) -> str:
    return content.replace("|", "\\|").replace("\n", " ")
