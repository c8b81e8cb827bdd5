"""Charts as SVG, drawn by matplotlib in the palette's light colours and recoloured by the page.

Every function takes values and returns an ``<svg>`` element. Marks carry a
``<title>``, which browsers show while the pointer rests on them.
"""

from __future__ import annotations

import html
import io
import re
from typing import Iterable, Mapping, Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from comflp.report.palette import as_variables, light

_SIZE = (4.8, 3.1)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "comflp",
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
            mean, deviation = _mean(values), _deviation(values)
            bar = axes.bar(position, mean, width=0.62, color=light(colour), alpha=0.35, linewidth=0)[0]
            canvas.name(bar, f"{label}: {mean:.2f} ± {deviation:.2f}% {metric}, {len(values)} proposals")
            axes.errorbar(position, mean, [[min(deviation, mean)], [deviation]], color=light("ink"), capsize=4, linewidth=1)
            spread = [position + 0.36 * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))]
            axes.plot(spread, values, ".", color=light(colour), markersize=5, markeredgewidth=0)
        for label, value, colour in lines:
            line = axes.axhline(value, color=light(colour), linestyle=(0, (5, 3)), linewidth=1.4, label=f"{label} {value:.2f}")
            canvas.name(line, f"{label}: {value:.2f}% {metric}")
        axes.set_xticks(range(len(groups)), [label.replace(" ", "\n", 1) for label, _, _ in groups])
        axes.tick_params(length=0)
        axes.set_ylabel(f"{metric} (%)")
        axes.set_ylim(bottom=0)
        if lines:
            axes.legend(loc="upper left")
        return canvas.svg(name, description)


def curves(
    name: str,
    series: Iterable[tuple[str, Sequence[tuple[float, float]], str, str]],
    x_label: str,
    y_label: str,
    description: str,
) -> str:
    """Lines through points; a wide range of y is drawn on a log scale.

    series: (label, [(x, y)], colour, ``solid`` or ``dashed``).
    """
    with matplotlib.rc_context(_STYLE):
        canvas = _Canvas((4.8, 3.4))
        axes, values = canvas.axes, []
        for label, points, colour, style in series:
            xs, ys = zip(*points)
            values += ys
            axes.plot(xs, ys, color=light(colour), linestyle="--" if style == "dashed" else "-", label=label)
            for x, y in points:
                mark = axes.plot([x], [y], "o", color=light(colour), markersize=3.5)[0]
                canvas.name(mark, f"{label}, {x_label} {x:g}: {y:.4g}")
        _scale(axes, values)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend_below(canvas)
        return canvas.svg(name, description)


def scatter(
    name: str, groups: Sequence[tuple[str, Sequence[tuple[float, float, str]], str, bool]], x_label: str, y_label: str,
    description: str,
) -> str:
    """Points. groups: (label, [(x, y, title)], colour, filled)."""
    with matplotlib.rc_context(_STYLE):
        canvas = _Canvas((4.8, 3.4))
        axes, values = canvas.axes, []
        for label, points, colour, filled in groups:
            for number, (x, y, title) in enumerate(points):
                values.append(y)
                mark = axes.plot(
                    [x], [y], "o", color=light(colour), markersize=5, markerfacecolor=light(colour) if filled else "none",
                    label=label if number == 0 else None,
                )[0]
                canvas.name(mark, title)
        _scale(axes, values)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%.4f"))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend_below(canvas)
        return canvas.svg(name, description)


def horizontal_bars(name: str, values: Mapping[str, float], x_label: str, description: str, colour: str = "blue") -> str:
    """One bar a row, its number beside it."""
    with matplotlib.rc_context(_STYLE | {"axes.grid.axis": "x"}):
        canvas = _Canvas((4.8, 0.5 + 0.27 * len(values)))
        axes = canvas.axes
        for position, (label, value) in enumerate(values.items()):
            bar = axes.barh(position, value, height=0.6, color=light(colour), alpha=0.55, linewidth=0)[0]
            canvas.name(bar, f"{label}: {value:.4g} {x_label}")
            axes.annotate(f"{value:.3g}", (value, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(values)), list(values))
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.margins(x=0.14)
        axes.set_xlabel(x_label)
        return canvas.svg(name, description)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """From zero, or logarithmic where the largest value is 20 times the smallest."""
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    else:
        axes.set_ylim(bottom=0)


def _legend_below(canvas: _Canvas) -> None:
    handles, labels = canvas.axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        columns = 2 if longest > 22 else 3
        canvas.figure.legend(handles, labels, loc="outside lower left", ncols=columns)
