"""Silence around exporters, which tell their progress on the terminal, and packages that only exports need."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from types import ModuleType
from typing import Iterator

from comflp.errors import ComflpError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters tell their progress on the terminal and warn of their own deprecations; what matters is raised."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def needed(package: str, for_what: str, extra: str = "export") -> ModuleType:
    """A module that is imported only where it is needed; ComflpError says what brings it where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ComflpError(f"{for_what} needs the package {package}; pip install 'comflp[{extra}]' brings it") from None
