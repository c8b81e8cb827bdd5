"""The report's colours, each in a light and a dark variant; figures and page take them from here."""

from __future__ import annotations

PALETTE = {
    "page": ("#fdfdfb", "#14161a"),
    "card": ("#f4f4ef", "#1c1f25"),
    "ink": ("#1d2126", "#e4e7ec"),
    "muted": ("#5d656f", "#9aa3af"),
    "rule": ("#dcddd6", "#333943"),
    "blue": ("#2463a8", "#74b0ee"),
    "orange": ("#c7640f", "#f0a057"),
    "teal": ("#12857a", "#52c7b8"),
    "plum": ("#8a3f8f", "#d491d8"),
    "grey": ("#7b828b", "#a4abb5"),
    "green": ("#3f8a2e", "#86cf73"),
    "red": ("#c0392f", "#ef8379"),
    "gold": ("#94780c", "#d9bd55"),
}
"""Name -> (light, dark). No two light colours are the same: figures are drawn in them and renamed afterwards."""

_METHODS = {
    "dc": "blue",
    "svcca": "orange",
    "skip": "teal",
    "random": "grey",
    "glp": "green",
    "top": "red",
    "uniform": "plum",
    "scratch": "gold",
}
SERIES = ("blue", "orange", "teal", "plum", "green", "red", "gold", "grey")
"""Colours of the lines of a figure, in turn."""
_OTHERS = ("teal", "plum", "gold", "red", "green")


def light(name: str) -> str:
    """The light variant of a colour, as hexadecimal."""
    return PALETTE[name][0]


def colour_of(method: str) -> str:
    """The palette's name of a measure's or a baseline's colour; relatives of a measure have its colour.

    >>> colour_of("dc"), colour_of("dc_released"), colour_of("random")
    ('blue', 'blue', 'grey')
    """
    known = _METHODS.get(method) or _METHODS.get(method.split("_")[0])
    return known or _OTHERS[sum(map(ord, method.split("_")[0])) % len(_OTHERS)]


def as_variables(svg: str) -> str:
    """``svg`` with every colour of the light palette replaced by the page's CSS variable of that name."""
    for name, (colour, _) in PALETTE.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def as_light(svg: str) -> str:
    """``svg`` with CSS variables replaced by the light palette, for files that stand alone."""
    for name, (colour, _) in PALETTE.items():
        svg = svg.replace(f"var(--{name})", colour)
    return svg


def css_variables() -> str:
    """The style sheet's definitions: light, and dark where the reader's system asks for it."""
    themes = ["".join(f"--{name}:{variants[i]};" for name, variants in PALETTE.items()) for i in (0, 1)]
    return f":root{{{themes[0]}}}@media (prefers-color-scheme:dark){{:root{{{themes[1]}}}}}"
