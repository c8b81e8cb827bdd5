"""HyperPyYAML configurations of the training stages, read as SpeechBrain's recipes read theirs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Sequence

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml, resolve_references

from comflp.artifacts import fingerprint_value
from comflp.errors import ComflpError


@dataclass(frozen=True)
class Configuration:
    """values: the objects of the file; run_opts: SpeechBrain's (device, precision, ...);
    resolved: the file as text with overrides and references filled in."""

    values: dict
    run_opts: dict
    resolved: str

    def options(self) -> dict:
        """What a stage record keeps: plain keys by name, everything else as one fingerprint."""
        plain = {key: value for key, value in self.values.items() if isinstance(value, (bool, int, float, str))}
        return {**{key: str(value) for key, value in plain.items()}, "config": fingerprint_value(self.resolved)}


def load(config: str, overrides: Sequence[str]) -> Configuration:
    """Read ``config`` with ``--key value`` overrides; ComflpError for a key that the file does not have."""
    path, run_opts, text = sb.parse_arguments([config, *overrides])
    try:
        with open(path, encoding="utf-8") as file:
            resolved = resolve_references(file, text, overrides_must_match=True)
        values = load_hyperpyyaml(io.StringIO(resolved.getvalue()))
    except KeyError as error:
        raise ComflpError(f"{path} has no key {error.args[0]!r} to override") from None
    except Exception as error:  # the file names classes and their arguments, which raise what they like
        raise ComflpError(f"{path} cannot be used as a configuration: {error}") from error
    return Configuration(values, {**run_opts}, resolved.getvalue())
