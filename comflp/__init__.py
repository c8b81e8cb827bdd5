"""CoMFLP: fast layer pruning of speech recognisers by layer correlation.

The method of Liu, Peng and Lee (Interspeech 2023) as a library. It takes and returns values, reads and writes only the paths
that it is given, and prints nothing; the command ``comflp`` and the numbered scripts in ``local/`` are its command lines.

``comflp.prune(model, speech, target="params=50%")`` is all of it in one call (docs/quickstart.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["prune"]

if TYPE_CHECKING:
    from comflp.pruning import prune


def __getattr__(name: str) -> Any:
    """``comflp.prune``, imported when it is asked for: it needs torch, which takes seconds, and not everything here does."""
    if name == "prune":
        from comflp.pruning import prune

        return prune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
