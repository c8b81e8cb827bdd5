"""HyperPyYAML configurations of the training stages, read as SpeechBrain's recipes read theirs."""

from __future__ import annotations

import io
from argparse import ArgumentTypeError
from dataclasses import dataclass
from typing import Any, Collection, Iterator, NoReturn, Sequence

import option_types
import speechbrain as sb
import yaml
from configuration_types import check_values
from hyperpyyaml import load_hyperpyyaml, resolve_references

from comflp.errors import ComflpError

_SHOWN_ONLY = {"noprogressbar", "ckpt_interval_minutes", "ckpt_interval_steps", "tqdm_colored_bar", "tqdm_barcolor", "log_config"}
"""Run options of SpeechBrain that change what is seen or kept of a training, not what it gives."""


@dataclass(frozen=True)
class Configuration:
    """What a training was asked to be.

    values: the objects of the file. resolved: the file as text with overrides and references filled in.
    run_opts: those of SpeechBrain's run options (device, precision, ...) that were given; SpeechBrain prefers them to the file.
    """

    values: dict[str, Any]
    run_opts: dict[str, Any]
    resolved: str

    def options(self) -> dict[str, str]:
        """What a stage record keeps: every key of the file, ``optimizer.lr`` for one inside another, and the run options given."""
        given = {key: str(value) for key, value in self.run_opts.items() if key not in _SHOWN_ONLY}
        return {**dict(_flat(yaml.compose(self.resolved), "")), **given}


def load(config: str, overrides: Sequence[str], variant: str | None = None) -> Configuration:
    """Read ``config`` with ``--key value`` overrides of its keys and of SpeechBrain's run options.

    variant: a key of the file under which it has other values of some of its keys; an override comes before these.

    Raises ComflpError for a key that neither has, and for a file that cannot be used.
    """
    names = {**sb.parse_arguments([config])[1]}.keys()
    typed = [word[2:].partition("=")[0] for word in overrides if word.startswith("--")]
    try:
        with open(config, encoding="utf-8") as file:
            content = file.read()
        keys = {key.value for key, _ in yaml.compose(content).value}
        _check_keys(config, typed, names, keys)
        other = yaml.safe_load(yaml.serialize(_node_of(content, variant))) if variant in keys else {}
        overrides = [*(f"--{key}={value}" for key, value in other.items() if key not in typed), *overrides]
        _, parsed, text = sb.parse_arguments([config, *overrides])
        run_opts = {key: parsed[key] for key in typed if key in names}
        for key in run_opts.keys() & keys:  # the file's value has to be the same
            text += f"\n{key}: {run_opts[key]}"
        resolved = resolve_references(io.StringIO(content), text, overrides_must_match=True).getvalue()
        values = load_hyperpyyaml(io.StringIO(resolved))
        if not isinstance(values, dict):
            raise ComflpError(f"{config} holds no keys with values")
        check_values(config, values)
        if run_opts.get("device"):
            option_types.device(str(run_opts["device"]))
    except ComflpError:
        raise
    except ArgumentTypeError as error:
        raise ComflpError(f"--device: {error}") from None
    except (Exception, SystemExit) as error:  # SpeechBrain's parser ends the program; the classes that a file names raise anything
        raise ComflpError(f"{config} cannot be used as a configuration: {error}") from error
    return Configuration(_Values(config, values), run_opts, resolved)


class _Values(dict):
    """The values of a configuration; asked for a key that it does not have, it names file and key."""

    def __init__(self, config: str, values: dict):
        super().__init__(values)
        self._config = config

    def __missing__(self, key: str) -> NoReturn:
        raise ComflpError(f"{self._config} has no key {key!r}; the recipes' conf/ shows all that are needed")


def _check_keys(config: str, typed: Sequence[str], names: Collection[str], keys: Collection[str]) -> None:
    """ComflpError for an option that neither the file nor SpeechBrain has; SpeechBrain would take a part of a name for the name."""
    for key in typed:
        longer = [name for name in names if name.startswith(key)]
        if key in names or (key in keys and not longer):
            continue
        if longer and key in keys:
            raise ComflpError(f"--{key}: SpeechBrain would take this for --{longer[0]}; change {key!r} in {config} itself")
        raise ComflpError(f"--{key}: {config} has no such key, and SpeechBrain no such option; options are written in full")


def _node_of(content: str, key: str) -> yaml.Node:
    """What a YAML text has under a key."""
    return next(value for name, value in yaml.compose(content).value if name.value == key)


def _flat(node: yaml.Node, name: str) -> Iterator[tuple[str, str]]:
    """(name, text) of every value of a YAML tree; of an object its class, such as ``!name:torch.optim.AdamW``, and its arguments."""
    if ":" in node.tag and node.tag.startswith("!"):
        yield name, node.tag
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _flat(value, f"{name}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.ScalarNode):
        yield name, _plain(node.value)
    elif all(isinstance(item, yaml.ScalarNode) for item in node.value):
        yield name, f"[{', '.join(_plain(item.value) for item in node.value)}]"
    else:
        for number, item in enumerate(node.value, start=1):
            yield from _flat(item, f"{name}.{number}")


def _plain(text: str) -> str:
    """Numbers in one written form: ``5e-4`` and ``0.0005`` are the same."""
    for kind in (int, float):
        try:
            return str(kind(text))
        except ValueError:
            continue
    return text or "null"
