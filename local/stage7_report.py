#!/usr/bin/env python3
"""Stage 7: the report on one deep model, from everything that the other stages left."""

import os
from pathlib import Path

import option_types
from cli import parser, run

import comflp
from comflp.artifacts import fingerprint_file, fingerprint_value
from comflp.experiment import Layout
from comflp.record import Stage
from comflp.replacing import REPORT, check_replaceable
from comflp.scoring import METRICS

OF_REPORTS = (".json", ".npy", ".csv")
"""What a report is made of, beside links."""
BENCHMARKS = "../../benchmarks"
"""As seen from a recipe's folder."""


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--exp", type=option_types.path, required=True, help="experiment directory of the deep model")
    arguments.add_argument("--out", type=option_types.new_path, help="directory of the report, made anew; EXP/report if left out")
    arguments.add_argument("--title", default="", help="title of the report; one with the model's name if left out")
    arguments.add_argument("--note", default="", help="what a reader has to know of the data, such as that it is synthetic")
    arguments.add_argument("--metric", choices=METRICS, default="cer", help="error rate of the searches and scores")
    arguments.add_argument("--max-cer-increase", type=option_types.real(0, 1000), default=1.0,
                           help="increase of the error rate that the recommended model may have, in percentage points")
    arguments.add_argument("--run", default="./run.sh", help="how the recipe is run, with its options, for the commands that the report gives")
    options = arguments.parse_args()
    out = options.out or Layout(options.exp).report
    check_replaceable(out, REPORT, options.force)

    settings = {"title": options.title, "note": options.note, "metric": options.metric,
                "max_increase": options.max_cer_increase}
    stage = Stage(
        out / "record.json", "stage7_report", {**settings, "run": options.run, "comflp": comflp.__version__},
        inputs={"experiment": fingerprint_of_results(Layout(options.exp))}, force=options.force,
    )
    if stage.is_current():
        print(f"{out} is up to date")
        return
    from comflp import report  # its charts take seconds to import

    # there are commands for those who work in a recipe's folder
    recipe = report.Recipe(str(options.exp), options.run, BENCHMARKS if Path(BENCHMARKS).is_dir() else "") if Path("run.sh").is_file() else None
    document = report.build(report.collect(options.exp, options.metric), **settings, recipe=recipe)
    stage.finish(report.write(document, out, options.force))
    print(f"wrote {out}/report.html and RESULTS.md: {document.headline[0]}")


def fingerprint_of_results(layout: Layout) -> str:
    """SHA-256 over everything under an experiment that a report is made of: results, tables, pictures and links, but no weights."""
    found, reports = {}, layout.reports()
    for path in sorted(layout.root.rglob("*")):
        name = path.relative_to(layout.root)
        if any(map(path.is_relative_to, reports)) or any(part.startswith(".") for part in name.parts):
            continue
        if path.is_symlink():
            found[str(name)] = os.readlink(path)
        elif path.suffix in OF_REPORTS and path.is_file():
            found[str(name)] = fingerprint_file(path)
    return fingerprint_value(found)


run(main)
