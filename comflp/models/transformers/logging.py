"""Keep transformers from writing to the screen."""

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
