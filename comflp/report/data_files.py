"""Every number of the report as CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from comflp.report.document import Document, Drawing, Table


def as_csv(table: Table) -> str:
    """A table as CSV with all digits; an empty field is a value that is not there."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([column.title for column in table.columns])
    for row in table.rows:
        writer.writerow([value.text if isinstance(value, Drawing) else value for value in row])
    return written.getvalue()


def as_json(document: Document) -> dict[str, Any]:
    """The report as a JSON-able value: the answer, and each section's tables as lists of records."""
    return {
        "title": document.title,
        "note": document.note,
        "answer": document.facts,
        "sections": {
            section.key: {
                "title": section.title,
                "missing": list(section.missing),
                "tables": {table.name: [_finite(record) for record in table.records()] for table in section.tables},
            }
            for section in document.sections
        },
    }


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: an error rate against an empty reference becomes null."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()}
