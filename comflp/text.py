"""Text: what looks the same is the same, and in which letter case a vocabulary writes.

Transcripts come from editors, web pages and spreadsheets, so that one word may be stored in several ways that nobody
can tell apart on the screen. Everything here that reads a transcript, to spell it in labels or to count errors, first
passes it through :func:`plain_text`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Callable, Iterable

_LOOKS_LIKE_A_SPACE = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
"""Fillers of Hangul and the empty cell of Braille, which ``str.split`` takes for letters."""

_JOINED_SCRIPTS = "[\u0600-\u1aff\ua800-\uabff\ufb50-\ufefc]"
"""Arabic, the scripts of India and South-East Asia, Mongolian: here a joiner changes what one sees."""

_INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0001-\U000e007f]"
    f"|(?<!{_JOINED_SCRIPTS})[\u200c\u200d]|[\u200c\u200d](?!{_JOINED_SCRIPTS})"
)
"""Control characters, soft hyphens, marks of direction, characters of no width, joiners that join nothing."""


def plain_text(text: str) -> str:
    """``text`` as it looks: composed letters (Unicode NFC), nothing invisible, single spaces and none at the ends.

    No-break and other wide or narrow spaces are spaces; a text that looks empty is empty. Case, punctuation and
    letters of other widths are left as they are, because one can see them.

    >>> plain_text("  cafe\\u0301\\u200b \\u00a0noir\\ufeff ") == "caf\\u00e9 noir"
    True
    """
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", _LOOKS_LIKE_A_SPACE.sub(" ", text)))
    return " ".join(text.split())


def letter_cases(pieces: Iterable[str]) -> frozenset[str]:
    """Which of ``upper`` and ``lower`` occur among the letters of ``pieces``; reads no further than both.

    >>> sorted(letter_cases(["A", "b"])), sorted(letter_cases(["ABC", "'"])), sorted(letter_cases(["\\u4e2d"]))
    (['lower', 'upper'], ['upper'], [])
    """
    found: set[str] = set()
    for piece in pieces:
        found |= {"upper"} if any(map(str.isupper, piece)) else set()
        found |= {"lower"} if any(map(str.islower, piece)) else set()
        if len(found) == 2:
            break
    return frozenset(found)


def case_of_vocabulary(pieces: Iterable[str]) -> Callable[[str], str]:
    """What brings text to the case of a vocabulary: str.upper, str.lower, or str for one with both or neither.

    >>> case_of_vocabulary(["A", "B", "|"])("ab"), case_of_vocabulary(["A", "b"])("aB")
    ('AB', 'aB')
    """
    return {frozenset({"upper"}): str.upper, frozenset({"lower"}): str.lower}.get(letter_cases(pieces), str)
