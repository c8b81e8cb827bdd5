"""The command ``comflp``: the only part of the package that prints. It reads options and calls the library."""

from comflp.cli.main import main

__all__ = ["main"]
