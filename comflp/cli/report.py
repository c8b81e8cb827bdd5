"""``comflp report EXP ...``: the report of a recipe's experiment, or the comparison of several."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from comflp.cli.numbers import real
from comflp.cli.options import add_metric, parser
from comflp.errors import ComflpError


def run(arguments: Sequence[str]) -> None:
    """Write the report on one experiment, as stage 7 does but for the commands; or one that compares several."""
    options = parser("report", "Write the report of a recipe's experiment, or compare several: RESULTS.md, report.html, figures and tables.")
    options.add_argument("exp", type=Path, nargs="+", help="experiment directories, such as recipes/fsdd/exp/transformer12")
    options.add_argument("--out", type=Path, help="directory of the report; EXP/report if left out and there is one EXP")
    add_metric(options, "error rate that is shown; the searches' own if left out", default=None)
    options.add_argument("--title", default="", help="title of the report; the model's name if left out")
    options.add_argument("--note", default="", help="what a reader has to know of the data of one EXP, such as that it is synthetic")
    options.add_argument("--max-increase", type=real(0, 1000), default=1.0, metavar="POINTS",
                         help="increase of the error rate that the recommended model may have, in percentage points")
    options.add_argument("--force", action="store_true", help="replace a report at --out that somebody added files to")
    given = options.parse_args(arguments)
    from comflp import report
    from comflp.experiment import Layout
    from comflp.replacing import MODEL, REPORT, check_replaceable
    from comflp.report.collect import metric_of

    if given.out is None and len(given.exp) > 1:
        raise ComflpError("a comparison of several experiments belongs to none of them: give its directory with --out")
    if given.note and len(given.exp) > 1:
        raise ComflpError("--note is of the data of one experiment, and a comparison has several: leave it out, or say it in --title")
    for exp in given.exp:
        if MODEL.is_signed(exp):
            raise ComflpError(f"{exp} is a model directory; give the experiment that it is of")
    out = given.out or Layout(given.exp[0]).report
    check_replaceable(out, REPORT, given.force)
    metric = given.metric or metric_of(given.exp[0])
    experiments = [report.collect(exp, metric) for exp in given.exp]
    if len(experiments) > 1:
        document = report.compare(experiments, given.title, metric, given.max_increase)
    else:
        document = report.build(experiments[0], given.title, given.note, metric, given.max_increase)
    report.write(document, out, given.force)
    print(f"wrote {out}/report.html and RESULTS.md: {document.headline[0]}")
