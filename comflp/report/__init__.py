"""The report on one deep model, or on several: read what the stages left, lay it out, write it (stage 7).

``build`` makes a Document from an Experiment, ``compare`` one from several, ``write`` puts it on disk as
RESULTS.md, report.html, figures/*.svg, tables/*.csv and report.json.
"""

from __future__ import annotations

from pathlib import Path

from comflp.artifacts import atomic_directory, write_json, write_text
from comflp.replacing import REPORT
from comflp.report import answer, commands, html, markdown
from comflp.report.choices import choices
from comflp.report.collect import Experiment, collect
from comflp.report.commands import Recipe
from comflp.report.compare import compare
from comflp.report.data_files import as_csv, as_json
from comflp.report.document import Document, Figure, Section, Table
from comflp.report.palette import as_light
from comflp.report.sections import candidates, deployment, first, measures, models, provenance, replication, search, training

__all__ = ["Document", "Experiment", "Recipe", "build", "collect", "compare", "write"]

EVIDENCE = (deployment, measures, training, search, replication, provenance)
"""The sections below those that one decides by, in order."""


def build(experiment: Experiment, title: str = "", note: str = "", metric: str = "cer", max_increase: float = 1.0,
          recipe: Recipe | None = None) -> Document:
    """The whole report on one experiment as a value.

    title: empty for one with the model's name. note: what a reader has to know of the data, such as that it is synthetic.
    metric: ``cer`` or ``wer``, the error rate of the searches and scores. max_increase: how much higher than the
    deep one's the error rate of the recommended model may be, in percentage points. recipe: what the commands are made with; None for no commands.
    """
    shown = metric.upper()
    found = choices(experiment)
    given = answer.answer(experiment, found, max_increase)
    layers = " and ".join(f"{number} {stack + ' ' if len(experiment.stacks) > 1 else ''}layers" for stack, number in experiment.stacks.items())
    sections: list[Section] = [models.section(experiment, found, given, shown), candidates.section(experiment, shown)]
    return Document(
        title or f"Layer pruning of {experiment.name}",
        f"Model {experiment.name}, {layers or 'number of layers not known yet'}",
        note,
        answer.warnings(experiment, found, given, shown),
        answer.headline(experiment, given, shown),
        answer.tiles(given, shown),
        {**answer.facts(given, max_increase), "stacks": experiment.stacks},
        first.parts(experiment, found, given, shown),
        commands.parts(experiment, found, given, recipe),
        [*sections, *(part.section(experiment, shown) for part in EVIDENCE)],
    )


def write(document: Document, out: str | Path, force: bool = False) -> list[Path]:
    """Write every form of a document as the directory ``out``; returns the paths.

    A report that is there is replaced as a whole, with ``force`` also one that somebody added files to
    (:func:`comflp.replacing.check_replaceable`); anything else is a ComflpError.
    """
    out = Path(out)
    files = {"report.html": html.page(document), "RESULTS.md": markdown.text(document)}
    files |= {f"figures/{figure.name}.svg": as_light(figure.svg) + "\n" for figure in document.every(Figure)}
    files |= {f"tables/{table.name}.csv": as_csv(table) for table in document.every(Table)}
    with atomic_directory(out, REPORT, force) as temporary:
        for name, content in files.items():
            write_text(temporary / name, content)
        write_json(temporary / "report.json", as_json(document))
    return [*(out / name for name in files), out / "report.json"]
