"""Keep transformers from writing to the screen, and its errors to one line."""

from __future__ import annotations

import contextlib
from typing import Iterator

from transformers import utils


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No load reports and progress bars of transformers within the block; what matters is raised by us instead."""
    verbosity, bars = utils.logging.get_verbosity(), utils.logging.is_progress_bar_enabled()
    utils.logging.set_verbosity_error()
    utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        utils.logging.set_verbosity(verbosity)
        if bars:
            utils.logging.enable_progress_bar()


def one_line(error: BaseException) -> str:
    """What an error says in one line of at most 300 characters; its class where it says next to nothing.

    >>> one_line(KeyError("foo")), one_line(ValueError("not\\n  this"))
    ("KeyError: 'foo'", 'not this')
    """
    said = " ".join(str(error).split())
    if isinstance(error, LookupError) or len(said.split()) < 2:
        said = f"{type(error).__name__}: {said}".rstrip(": ")
    return said if len(said) <= 300 else said[:297] + "..."
