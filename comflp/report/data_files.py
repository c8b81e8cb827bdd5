"""Every number of the report as CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from comflp.report.document import Commands, Document, Table


def as_csv(table: Table) -> str:
    """A table as CSV with all digits; an empty field is a value that is not there."""
    records = table.records()
    written = io.StringIO()
    writer = csv.DictWriter(written, list(dict.fromkeys(key for record in records for key in record)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return written.getvalue()


def as_json(document: Document) -> dict[str, Any]:
    """The report as a JSON-able value: the answer, the commands, and each table as a list of records."""
    return {
        "title": document.title,
        "subtitle": document.subtitle,
        "note": document.note,
        "warnings": len(document.warnings),
        "answer": _finite(document.facts),
        "commands": [line for part in document.every(Commands) for _, line in part.steps],
        "tables": {table.name: _finite(table.records()) for table in document.every(Table)},
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: an error rate against an empty reference becomes null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
