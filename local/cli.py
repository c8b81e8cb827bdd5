"""What every stage script shares: how it is run, options that several have, progress bars."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Callable

from lifetime import tie_to_parent
from stage_log import copy_output

from comflp.cli import terminal
from comflp.cli.terminal import Parser, progress
from comflp.scoring import METRICS, NORMALISERS

__all__ = ["Parser", "parser", "progress", "run", "scoring_options", "true_or_false"]


def run(main: Callable[[], None]) -> None:
    """Call ``main`` in a process that ends with its parent, and copy what it prints to the stage's log file.

    Faults are one line, as of the command comflp (:func:`comflp.cli.terminal.status_of`).
    """

    def stage() -> None:
        tie_to_parent()
        copy_output()
        main()

    status = terminal.status_of(stage, Path(sys.argv[0]).name)
    if status:
        sys.exit(status)


def parser(description: str, trains: bool = False) -> argparse.ArgumentParser:
    """An ArgumentParser as all scripts have it that make something, with --force. trains: what is made is trained."""
    made = terminal.parser(description)
    goes_on = "; a training that was so begun and killed goes on" if trains else ""
    made.add_argument("--force", action="store_true", help=f"make the results again even if others are there{goes_on}")
    return made


def scoring_options(arguments: argparse.ArgumentParser, used_for: str) -> None:
    """Add ``--metric``, which is ``used_for`` something, and ``--normaliser`` to the options of a stage."""
    arguments.add_argument("--metric", choices=METRICS, default="cer", help=used_for)
    arguments.add_argument("--normaliser", choices=NORMALISERS, default="none",
                           help="what texts are put through before errors are counted: Whisper's basic normaliser (small "
                                "letters, no punctuation; marks on letters stay), its English one (numbers and contractions too), or nothing")


NUM_PRUNE = ("N, layers to remove: a number, a list 4,6,8 or a range 1:8; of several stacks such numbers of each, "
             "as encoder=0:2+decoder=0:3")
"""The help of ``--num-prune``."""


def true_or_false(text: str) -> bool:
    """argparse type for options that take ``true`` or ``false``."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"
