"""``comflp report EXP``: the report of a recipe's experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from comflp.cli.options import parser


def run(arguments: Sequence[str]) -> None:
    """Write the report, as stage 7 does."""
    options = parser("report", "Write the report of a recipe's experiment: RESULTS.md, report.html, figures and tables.")
    options.add_argument("exp", type=Path, help="experiment directory, such as recipes/fsdd/exp/transformer12")
    options.add_argument("--out", type=Path, help="directory of the report; EXP/report if left out")
    options.add_argument("--metric", choices=("cer", "wer"), default="cer", help="error rate of the searches and scores")
    options.add_argument("--title", default="", help="title of the report; the model's name if left out")
    given = options.parse_args(arguments)
    from comflp import report

    out = given.out or given.exp / "report"
    report.write(report.build(report.collect(given.exp), given.title, metric=given.metric), out)
    print(f"wrote {out}/report.html and RESULTS.md")
