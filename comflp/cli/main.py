"""The commands by name; a command's module is imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Sequence

import comflp
from comflp.cli.terminal import status_of

COMMANDS = {
    "prune": "remove layers of a model until it reaches a target, and repair what is left",
    "info": "show the stacks, layers, parameters and costs of a model",
    "transcribe": "print the text of audio files",
    "evaluate": "recognise a data set, and give error rates where it has texts",
    "export": "write a model for sherpa-onnx, onnxruntime, CTranslate2 or with int8 weights",
    "push": "upload a model directory to the Hugging Face hub",
    "report": "write the report of a recipe's experiment",
}
"""Name -> what it does. ``comflp.cli.NAME`` has ``run(arguments)``, which returns the exit status or None for 0."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status: 0, 1 for what the user can put right, 2 for wrong options."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if name == "--version":
        print(f"comflp {comflp.__version__}")
        return 0
    if name in ("", "-h", "--help"):
        print(_help(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name not in COMMANDS:
        print(f"comflp: error: there is no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return status_of(lambda: importlib.import_module(f"comflp.cli.{name}").run(given[1:]), "comflp")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: comflp COMMAND [options]", "", "commands:", *lines, "", "comflp COMMAND --help shows the options of a command"])
