"""Where the numbers come from: commands, seeds, versions and dates."""

from __future__ import annotations

import json

from comflp.report.collect import Experiment
from comflp.report.document import Column, Section, Table


def section(experiment: Experiment, metric: str) -> Section:
    """A row a record, in order of time; versions below."""
    rows, versions = [], {}
    for path, record in experiment.records:
        options = record.get("options", {})
        rows.append((record.get("finished"), record["stage"], path, options.get("seed"), record.get("seconds"),
                     record.get("command"), json.dumps(options, sort_keys=True, ensure_ascii=False)))
        for package, version in record.get("versions", {}).items():
            versions.setdefault(package, set()).add(version)
    columns = [Column("Finished (UTC)"), Column("Stage"), Column("Record"), Column("Seed"), Column("Seconds", ".1f"),
               Column("Command"), Column("Options")]
    tables = []
    if rows:
        tables = [
            Table("versions", [Column("Package"), Column("Version")],
                  [(package, ", ".join(sorted(found))) for package, found in sorted(versions.items())], "Versions"),
            Table("records", columns, rows, f"The {len(rows)} records that the stages left", folded=True),
        ]
    text = []
    if rows:
        text.append(f"Made between {rows[0][0]} and {rows[-1][0]} (UTC). Each result has a record with its options, the "
                    "fingerprints of what it was made from, and its command; all are listed here.")
    return Section("provenance", "Provenance", text, tables=tables, missing=[] if rows else ["No stage has left a record yet."])
