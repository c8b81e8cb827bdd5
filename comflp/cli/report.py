"""``comflp report EXP ...``: the report of a recipe's experiment, or the comparison of several."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from comflp.cli.options import parser
from comflp.errors import ComflpError


def run(arguments: Sequence[str]) -> None:
    """Write the report on one experiment, as stage 7 does but for the commands; or one that compares several."""
    options = parser("report", "Write the report of a recipe's experiment, or compare several: RESULTS.md, report.html, figures and tables.")
    options.add_argument("exp", type=Path, nargs="+", help="experiment directories, such as recipes/fsdd/exp/transformer12")
    options.add_argument("--out", type=Path, help="directory of the report; EXP/report if left out and there is one EXP")
    options.add_argument("--metric", choices=("cer", "wer"), help="error rate that is shown; the searches' own if left out")
    options.add_argument("--title", default="", help="title of the report; the model's name if left out")
    given = options.parse_args(arguments)
    from comflp import report
    from comflp.experiment import Layout
    from comflp.report.collect import metric_of

    if given.out is None and len(given.exp) > 1:
        raise ComflpError("a comparison of several experiments belongs to none of them: give its directory with --out")
    out = given.out or Layout(given.exp[0]).report
    metric = given.metric or metric_of(given.exp[0])
    experiments = [report.collect(exp, metric) for exp in given.exp]
    if len(experiments) > 1:
        document = report.compare(experiments, given.title, metric)
    else:
        document = report.build(experiments[0], given.title, metric=metric)
    report.write(document, out)
    print(f"wrote {out}/report.html and RESULTS.md: {document.headline[0]}")
