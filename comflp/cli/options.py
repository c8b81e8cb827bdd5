"""Options that several commands have, and what they mean."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from comflp.cli import terminal
from comflp.scoring import METRICS, NORMALISERS

if TYPE_CHECKING:
    from comflp.models.layered import LayeredModel


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """An ArgumentParser as all programs have it, of a command."""
    return terminal.parser(description, prog=f"comflp {command}")


def add_model_options(options: argparse.ArgumentParser) -> None:
    """The model, and what loading it takes."""
    options.add_argument("model", help="model directory, or name on the Hugging Face hub")
    options.add_argument("--device", help="where the model runs: cpu, cuda, cuda:1, ...; a GPU if there is one")
    options.add_argument("--language", help="which language a multilingual model such as Whisper is to recognise")
    options.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")


def add_metric(options: argparse.ArgumentParser, used_for: str, default: str | None = "cer") -> None:
    """Which error rate. used_for: the option's help."""
    options.add_argument("--metric", choices=METRICS, default=default, help=used_for)


def add_normaliser(options: argparse.ArgumentParser) -> None:
    """What texts are put through before they are compared."""
    options.add_argument("--normaliser", choices=NORMALISERS, help="what texts are put through before they are compared: none, basic (small letters, "
                         "no punctuation) or english (numbers too); if left out, basic for models that write token by token, none for others")


def load_model(options: Any) -> LayeredModel:
    """The model that the options name, in evaluation mode on the device asked for."""
    import comflp.models
    from comflp.inference.device import placed

    model = comflp.models.load(options.model, trust_hyperparams=options.trust_hyperparams, language=options.language)
    return placed(model, options.device)
