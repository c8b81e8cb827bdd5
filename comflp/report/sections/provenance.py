"""Where the numbers come from: commands, seeds, versions and dates."""

from __future__ import annotations

import json

from comflp.report.collect import Experiment
from comflp.report.document import Column, Fold, Section, Table, Text


def section(experiment: Experiment, metric: str) -> Section:
    """A row a record, in order of time; versions before."""
    rows, versions = [], {}
    for path, record in experiment.records:
        options = record.get("options", {})
        rows.append((path, record["stage"], record.get("finished"), options.get("seed"), record.get("seconds"),
                     record.get("command"), json.dumps(options, sort_keys=True, ensure_ascii=False)))
        for package, version in record.get("versions", {}).items():
            versions.setdefault(package, set()).add(version)
    if not rows:
        return Section("provenance", "Provenance", [Text("No stage has left a record yet.", missing=True)])
    columns = [Column("Record"), Column("Stage"), Column("Finished (UTC)"), Column("Seed"), Column("Seconds", ".1f"),
               Column("Command"), Column("Options")]
    return Section("provenance", "Provenance", [
        Text("Each result has a record with its options, the fingerprints of what it was made from, and its command."),
        Fold("Versions", [Table("versions", [Column("Package"), Column("Version")],
                                [(package, ", ".join(sorted(found))) for package, found in sorted(versions.items())])]),
        Fold("All records", [Table("records", columns, rows)]),
    ])
