"""The report on one deep model: read what the stages left, lay it out, write it (stage 7).

``build`` makes a Document from an Experiment, ``write`` puts it on disk as
RESULTS.md, report.html, figures/*.svg, tables/*.csv and report.json.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from comflp.artifacts import atomic_path, write_json, write_text
from comflp.report import answer, html, markdown
from comflp.report.collect import Experiment, collect
from comflp.report.data_files import as_csv, as_json
from comflp.report.document import Document
from comflp.report.palette import as_light
from comflp.report.sections import (
    agreement,
    bars,
    beam,
    correlation,
    cost,
    deployment,
    depth,
    dynamics,
    layers,
    provenance,
    results,
)

__all__ = ["Document", "Experiment", "build", "collect", "write"]

SECTIONS = (layers, results, deployment, correlation, bars, agreement, depth, dynamics, beam, cost, provenance)
"""The parts of a report below the answer, in order."""


def build(experiment: Experiment, title: str = "", note: str = "", metric: str = "cer", max_increase: float = 1.0) -> Document:
    """The whole report as a value.

    title: empty for one with the model's name. note: what a reader has to know of the data, such as that it is synthetic.
    metric: ``cer`` or ``wer``, the error rate of the searches and scores. max_increase: of the error rate that the
    recommended model may have over the deep one, in percentage points.
    """
    shown = metric.upper()
    found = answer.recommend(experiment, max_increase)
    depth_text = f"{experiment.num_layers} layers" if experiment.num_layers else "number of layers not known yet"
    return Document(
        title or f"Layer pruning of {experiment.name}",
        f"Model {experiment.name}, {depth_text}",
        note,
        answer.headline(experiment, found, max_increase, shown),
        answer.tiles(experiment, found, shown),
        answer.facts(experiment, found, max_increase),
        [part.section(experiment, shown) for part in SECTIONS],
    )


def write(document: Document, out: str | Path) -> list[Path]:
    """Write every form of a document into the directory ``out``; returns the paths."""
    out = Path(out)
    files = {"report.html": html.page(document), "RESULTS.md": markdown.text(document)}
    for section in document.sections:
        files |= {f"figures/{figure.name}.svg": as_light(figure.svg) + "\n" for figure in section.figures}
        files |= {f"tables/{table.name}.csv": as_csv(table) for table in section.tables}
    for name, content in files.items():
        write_text(out / name, content)
    write_json(out / "report.json", as_json(document))
    bitmaps = {f"figures/{figure.name}.png": figure.bitmap for section in document.sections for figure in section.figures}
    for name, source in bitmaps.items():
        if source is not None:
            with atomic_path(out / name) as temporary:
                shutil.copyfile(source, temporary)
            files[name] = ""
    return [*(out / name for name in files), out / "report.json"]
