"""Warnings of the library as one line each on stderr, without the place in the code."""

import contextlib
import sys
import warnings
from pathlib import Path


@contextlib.contextmanager
def plain_warnings():
    """While in it, print each different warning once as ``<script>: warning: <message>``."""
    script = Path(sys.argv[0]).name
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"{script}: warning: {message}", file=sys.stderr)
        yield
