#!/usr/bin/env python3
"""What weak_models.py measured of several deep models, as a table, a csv file and a figure.

    python ../../benchmarks/weak_tables.py table exp/weak/*                          Markdown, means over the deep models
    python ../../benchmarks/weak_tables.py bands measures.csv                        the same for deep models of some strengths each
    python ../../benchmarks/weak_tables.py csv exp/weak/* --out measures.csv         a line for each deep model, N and score
    python ../../benchmarks/weak_tables.py figure exp/weak/* --out measures.png      rank correlation against the deep model's CER

A deep model is named after its folder. A csv file made so stands for the folders it was made of: more deep models join those of
another machine by `csv measures.csv exp/weak/* --out measures.csv`.
"""

import argparse
import csv as comma_separated
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from measuring import table as markdown

from comflp.artifacts import read_json

NAMES = ("deep model", "score")
COUNTS = ("N", "pool", "last rank")
PLAIN = "skip_kl"
BANDS = (0, 2.5, 6, 11, 22, float("inf"))
"""Error rates on valid between which deep models are taken together."""
DRAWN = {"dc": "^", "skip_kl": "s", "near+text": "o"}


def points_of(sources):
    """A dict for each deep model, N and score: what was measured of it, and of the score by which no proposal is run whole."""
    return [point for source in map(Path, sources) for point in (_of_file(source) if source.suffix == ".csv" else _of_folder(source))]


def _of_file(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: value if key in NAMES or not value else int(value) if key in COUNTS else float(value) for key, value in row.items()}
                for row in comma_separated.DictReader(file)]


def _of_folder(folder):
    found, summary = [], read_json(folder / "summary.json")
    deep = summary.pop("deep")
    for num_prune, case in summary.items():
        for name, row in case["methods"].items():
            found.append({
                "deep model": folder.name, "deep, valid": deep["valid"], "deep, test": deep["test"], "N": int(num_prune), "score": name,
                "spearman": row["spearman"], "above plain": row["spearman"] - case["methods"][PLAIN]["spearman"],
                "first": row["first"], "ten": row["ten"], "random": case["random"][1], "winner": row["winner"],
                "glp": case["glp"]["test"], "winner less glp, low": row["winner_less_glp"][0],
                "winner less glp, high": row["winner_less_glp"][1], "pool": case["pool"], "last rank": row.get("last_rank", ""),
            })
    return found


def means(points, key, form=".1f"):
    """Means over the deep models at each N, as text."""
    nums = sorted({point["N"] for point in points})
    return " / ".join(format(np.mean([point[key] for point in points if point["N"] == num]), form) for num in nums)


def table(options):
    points = points_of(options.sources)
    nums, models = sorted({point["N"] for point in points}), {point["deep model"] for point in points}
    print(f"{len(models)} deep models, {min(p['deep, valid'] for p in points):.1f} to {max(p['deep, valid'] for p in points):.1f}% CER on "
          f"valid; figures are means at N={' / '.join(map(str, nums))}\n")
    rows = []
    for name in dict.fromkeys(point["score"] for point in points):
        of_name = [point for point in points if point["score"] == name]
        spearman = [point["spearman"] for point in of_name]
        rows.append({
            "score": name, "Spearman": means(of_name, "spearman", ".2f"), "mean (lowest)": f"{np.mean(spearman):.3f} ({min(spearman):.2f})",
            "below plain skip_kl's": sum(point["above plain"] < 0 for point in of_name),
            "first": means(of_name, "first"), "ten best": means(of_name, "ten"), "winner, test": means(of_name, "winner"),
            "winner worse than GLP's, better": f"{sum(point['winner less glp, low'] > 0 for point in of_name)}, "
                                               f"{sum(point['winner less glp, high'] < 0 for point in of_name)}",
        })
    of_one = [point for point in points if point["score"] == PLAIN]
    for key, into in (("random", "ten best"), ("glp", "winner, test")):
        rows.append({column: {"score": key, into: means(of_one, key)}.get(column, "") for column in rows[0]})
    print(markdown(rows))


def bands(options):
    points, rows = points_of(options.sources), []
    for low, high in zip(BANDS, BANDS[1:]):
        inside = [point for point in points if low <= point["deep, valid"] < high]
        for name in DRAWN if inside else ():
            of_name = [point for point in inside if point["score"] == name]
            rows.append({
                "deep models": f"from {low:g}%: {len({point['deep model'] for point in of_name})}", "score": name,
                "Spearman": means(of_name, "spearman", ".2f"), "first": means(of_name, "first"), "ten best": means(of_name, "ten"),
                "winner, test": means(of_name, "winner"), "GLP": means(of_name, "glp"),
            })
    print(markdown(rows))


def csv(options):
    points = points_of(options.sources)
    with open(options.out, "w", encoding="utf-8", newline="") as file:
        writer = comma_separated.DictWriter(file, list(points[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in point.items()} for point in points)


def figure(options):
    points = points_of(options.sources)
    nums = sorted({point["N"] for point in points})
    drawing = Figure(figsize=(3.2 * len(nums), 3.2), layout="constrained")
    for panel, num in zip(drawing.subplots(1, len(nums), squeeze=False, sharey=True)[0], nums):
        for name, marker in DRAWN.items():
            of_name = [point for point in points if (point["N"], point["score"]) == (num, name)]
            panel.plot([point["deep, valid"] for point in of_name], [point["spearman"] for point in of_name], marker, label=name, markersize=5)
        panel.set(title=f"N={num}", xlabel="CER of the deep model (%)", xscale="log", ylim=(0, 1.02))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
    drawing.axes[0].set_ylabel("rank correlation with CER")
    drawing.axes[0].legend(fontsize=8, loc="lower left")
    drawing.savefig(options.out, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, what in (
        (table, "Markdown"), (bands, "Markdown, a row for each strength and score"), (csv, "every figure"),
        (figure, "rank correlation against the deep model's CER"),
    ):
        command = commands.add_parser(function.__name__, help=what)
        command.add_argument("sources", nargs="+", help="--out folders of weak_models.py, and csv files that were made of others")
        if function in (csv, figure):
            command.add_argument("--out", required=True, help="file to write")
        command.set_defaults(function=function)
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
