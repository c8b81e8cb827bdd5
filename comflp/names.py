"""What may be a name: of a tag, a model, a measure, an utterance or a speaker. Names become parts of file names and options."""

from __future__ import annotations

MOST_BYTES = 120
"""File names of 255 bytes are what file systems take; prefixes and endings come on top of a name."""


def name_fault(name: str) -> str | None:
    """Why ``name`` cannot be a name, or None.

    >>> name_fault("e2"), name_fault("../e2"), name_fault("-e2")
    (None, "'../e2' has to be usable as a file name: no / or \\\\", "'-e2' begins with a dash: it would pass for an option")
    """
    if not name:
        return "a name is empty"
    if " " in name or not name.isprintable():
        return f"{name!r} holds white space or a control character"
    if "/" in name or "\\" in name or name in (".", ".."):
        return f"{name!r} has to be usable as a file name: no / or \\"
    if name.startswith("-"):
        return f"{name!r} begins with a dash: it would pass for an option"
    if len(name.encode(errors="replace")) > MOST_BYTES:
        return f"{name[:20]!r}... is longer than {MOST_BYTES} bytes"
    return None
