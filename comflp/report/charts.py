"""Charts as SVG, drawn by matplotlib in the palette's light colours and recoloured by the page.

Every function takes values and returns an ``<svg>`` element. Marks carry a
``<title>``, which browsers show while the pointer rests on them.
"""

from __future__ import annotations

import html
import io
import math
import re
import statistics
from dataclasses import dataclass
from typing import Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from comflp.report.palette import as_variables, light

_SIZE = (4.4, 3.1)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "comflp",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": light("ink"),
    "axes.edgecolor": light("rule"),
    "axes.labelcolor": light("muted"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "grid.color": light("rule"),
    "grid.linewidth": 0.6,
    "xtick.color": light("rule"),
    "ytick.color": light("rule"),
    "xtick.labelcolor": light("muted"),
    "ytick.labelcolor": light("muted"),
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.labelcolor": light("ink"),
    "lines.linewidth": 1.6,
}

Bar = tuple[str, Sequence[float], str]
"""Label, values, and the palette's name of its colour."""
Point = tuple[float, float, str]
"""x, y, and what is said while the pointer rests on it."""


@dataclass(frozen=True)
class Series:
    """Points of one kind. colour: the palette's name. line: ``solid``, ``dashed``, ``steps`` or none. marker: one of matplotlib's, or none."""

    label: str
    points: Sequence[Point]
    colour: str
    line: str = ""
    marker: str = "o"
    filled: bool = True


class _Canvas:
    """One pair of axes, and the titles of its marks."""

    def __init__(self, size: tuple[float, float] = _SIZE):
        self.figure = Figure(figsize=size, layout="constrained")
        self.axes = self.figure.add_subplot()
        self.titles: dict[str, str] = {}

    def name(self, artist: Artist, title: str) -> None:
        """Give a mark its tooltip."""
        gid = f"mark{len(self.titles)}"
        artist.set_gid(gid)
        self.titles[gid] = title

    def svg(self, name: str, description: str) -> str:
        """The finished element, its ids made unique by ``name``."""
        written = io.StringIO()
        self.figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = written.getvalue()
        text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg"):], flags=re.DOTALL)
        for gid, title in self.titles.items():
            text = text.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{html.escape(title)}</title>', 1)
        text = re.sub(r'\bid="', f'id="{name}-', text)
        text = re.sub(r"url\(#", f"url(#{name}-", text)
        text = re.sub(r'href="#', f'href="#{name}-', text)
        text = text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description, quote=True)}" ', 1)
        return as_variables(text)


def bars(
    name: str, groups: Sequence[Bar], lines: Sequence[tuple[str, float, str]], metric: str, description: str
) -> str:
    """Mean and standard deviation of each group with its single values as dots; horizontal lines for references (Fig. 2 a)."""
    with matplotlib.rc_context(_STYLE):
        canvas = _Canvas()
        axes = canvas.axes
        for position, (label, values, colour) in enumerate(groups):
            mean, deviation = statistics.fmean(values), statistics.pstdev(values)
            bar = axes.bar(position, mean, width=0.62, color=light(colour), alpha=0.35, linewidth=0)[0]
            canvas.name(bar, f"{label}: {mean:.2f} ± {deviation:.2f}% {metric}, {len(values)} proposals")
            axes.errorbar(position, mean, [[min(deviation, mean)], [deviation]], color=light("ink"), capsize=4, linewidth=1)
            spread = [position + 0.36 * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))]
            axes.plot(spread, values, ".", color=light(colour), markersize=5, markeredgewidth=0, clip_on=False)
        for label, value, colour in lines:
            line = axes.axhline(value, color=light(colour), linestyle=(0, (5, 3)), linewidth=1.4, label=f"{label} {value:.2f}")
            canvas.name(line, f"{label}: {value:.2f}% {metric}")
        axes.set_xticks(range(len(groups)), [label.replace(" ", "\n", 1) for label, _, _ in groups])
        axes.tick_params(length=0)
        axes.set_ylabel(f"{metric} (%)")
        _scale(axes, [])
        _legend_below(canvas)
        return canvas.svg(name, description)


def chart(name: str, series: Sequence[Series], x_label: str, y_label: str, description: str, whole: bool = False) -> str:
    """Points and lines; a wide range of y is drawn on a log scale. whole: x is a whole number. What is not finite is left out."""
    with matplotlib.rc_context(_STYLE):
        canvas = _Canvas((4.4, 3.4))
        axes, values = canvas.axes, []
        for each in series:
            points = [point for point in each.points if all(map(math.isfinite, point[:2]))]
            colour, face = light(each.colour), light(each.colour) if each.filled else light("page")
            values += [y for _, y, _ in points]
            shown = {"color": colour, "markersize": 5, "markerfacecolor": face, "clip_on": False, "label": _in_legend(each.label) if points else None}
            if each.line and points:
                drawn = "steps-post" if each.line == "steps" else "default"
                axes.plot(*zip(*(point[:2] for point in points)), linestyle="--" if each.line == "dashed" else "-", drawstyle=drawn,
                          color=colour, label=shown.pop("label"), linewidth=1.4)
            for x, y, title in points if each.marker else ():
                [mark] = axes.plot([x], [y], each.marker, zorder=3, **shown)
                shown.pop("label", None)
                canvas.name(mark, title)
        _scale(axes, values)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
        axes.margins(x=0.06)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend_below(canvas)
        return canvas.svg(name, description)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """From zero, or logarithmic where the largest value is 20 times the smallest."""
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
        axes.set_ylim(min(values) * 0.85, max(values) * 1.15)
    else:
        axes.set_ylim(0, max(values) * 1.08 if values and max(values) > 0 else None)


def _in_legend(label: str) -> str:
    """A label that matplotlib shows; it leaves out those that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label


def _legend_below(canvas: _Canvas) -> None:
    handles, labels = canvas.axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        canvas.figure.legend(handles, labels, loc="outside lower left", ncols=1 if longest > 30 else 2 if longest > 12 else 3)
