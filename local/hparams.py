"""HyperPyYAML configurations of the training stages, read as SpeechBrain's recipes read theirs."""

from __future__ import annotations

import contextlib
import io
from argparse import ArgumentTypeError
from dataclasses import dataclass
from functools import cached_property
from pydoc import ErrorDuringImport
from typing import Any, Collection, Iterator, NoReturn, Sequence

import option_types
import yaml
from configuration_types import check_objects, check_values
from hyperpyyaml import load_hyperpyyaml, resolve_references

from comflp.errors import ComflpError, shown

RUN_OPTIONS = frozenset(
    "auto_mix_prec bfloat16_mix_prec ckpt_interval_minutes ckpt_interval_steps compile compile_mode compile_module_keys "
    "compile_using_dynamic_shape_tracing compile_using_fullgraph data_parallel_backend data_parallel_count debug debug_batches "
    "debug_epochs debug_persistently device distributed_backend distributed_launch eval_precision find_unused_parameters "
    "grad_accumulation_factor jit jit_module_keys log_config max_grad_norm nonfinite_patience noprogressbar optimizer_step_limit "
    "overridden_args param_file precision profile_steps profile_training profile_warmup remove_vector_weight_decay "
    "skip_nonfinite_grads test_only tqdm_barcolor tqdm_colored_bar".split()
)
"""SpeechBrain's run options. They are known here because SpeechBrain takes seconds to import, which a stage that is done never needs."""
_SHOWN_ONLY = {"noprogressbar", "ckpt_interval_minutes", "ckpt_interval_steps", "tqdm_colored_bar", "tqdm_barcolor", "log_config"}
"""Run options of SpeechBrain that change what is seen or kept of a training, not what it gives."""


_NO_PLACE = frozenset(
    "data_parallel_backend data_parallel_count distributed_backend distributed_launch jit jit_module_keys nonfinite_patience optimizer_step_limit "
    "profile_steps profile_training profile_warmup remove_vector_weight_decay test_only".split()
)
"""Run options of SpeechBrain that this training, its launcher or its loop leaves no place for."""


@dataclass(frozen=True)
class Configuration:
    """What a training was asked to be.

    config: the file, as it was named. resolved: it as text with overrides and references filled in.
    settings: the values of its keys that are no objects: numbers, texts, lists. run_opts: those of SpeechBrain's run
    options (device, precision, ...) that were given; SpeechBrain prefers them to the file.
    """

    config: str
    settings: dict[str, Any]
    run_opts: dict[str, Any]
    resolved: str

    @cached_property
    def values(self) -> dict[str, Any]:
        """The settings and the objects of the file, which are built when this is first asked for; ComflpError where one cannot be."""
        values = _built(self.config, self.resolved)
        check_values(self.config, values)
        return values

    def check(self) -> None:
        """ComflpError where an object of the file cannot be built or used; before anything is written that a fault would leave behind."""
        check_objects(self.config, self.values)

    def options(self) -> dict[str, str]:
        """What a stage record keeps: every key of the file, ``optimizer.lr`` for one inside another, and the run options given."""
        given = {key: str(value) for key, value in self.run_opts.items() if key not in _SHOWN_ONLY}
        return {**given, **dict(_flat(yaml.compose(self.resolved), ""))}


def load(config: str, overrides: Sequence[str], variant: str | None = None) -> Configuration:
    """Read ``config`` with ``--key value`` overrides of its keys and of SpeechBrain's run options.

    variant: a key of the file under which it has other values of some of its keys; an override comes before these.

    Raises ComflpError for a key that neither has, and for a file that cannot be used.
    """
    typed = [word[2:].partition("=")[0] for word in overrides if word.startswith("--")]
    try:
        with open(config, encoding="utf-8") as file:
            content = file.read()
        keys = {key.value for key, _ in yaml.compose(content).value}
        _check_keys(config, typed, keys)
        other = yaml.safe_load(yaml.serialize(_node_of(content, variant))) if variant in keys else {}
        run_opts, lines = _parsed(overrides)
        others = {key: value for key, value in other.items() if key not in typed}
        others |= {key: run_opts[key] for key in run_opts.keys() & keys}  # the file's value has to be the same
        lines += [f"{key}: {_as_yaml(value)}" for key, value in others.items()]
        resolved = resolve_references(io.StringIO(content), "\n".join(lines), overrides_must_match=True).getvalue()
        plain = _without_objects(resolved)
    except ComflpError:
        raise
    except Exception as error:  # the YAML reader raises anything
        raise ComflpError(f"{config} cannot be used as a configuration: {error}") from error
    settings = _built(config, plain)
    check_values(config, settings)
    if run_opts.get("device"):
        try:
            option_types.device(str(run_opts["device"]))
        except ArgumentTypeError as error:
            raise ComflpError(f"--device: {error}") from None
    return Configuration(config, settings, run_opts, resolved)


def _as_yaml(value: Any) -> str:
    """A value as it is typed after an option: ``null`` and not ``None``.

    >>> [_as_yaml(value) for value in (None, 0.1, True, [0, None], "a: b")]
    ['null', '0.1', 'true', '[0, null]', "'a: b'"]
    """
    return yaml.safe_dump(value, default_flow_style=True, width=1_000_000).removesuffix("...\n").strip()


def _last_of_each(overrides: Sequence[str]) -> list[list[str]]:
    """The words option by option, without those that are given again later, which count: a run.sh's come before its user's.

    >>> _last_of_each(["--seed", "1", "--lr=0.1", "--seed=5", "--betas", "[0.9,", "0.98]"])
    [['--lr=0.1'], ['--seed=5'], ['--betas', '[0.9,', '0.98]']]
    """
    options: list[list[str]] = []
    for word in overrides:
        if word.startswith("--") or not options:
            options.append([word])
        else:
            options[-1].append(word)
    last = {words[0].partition("=")[0]: number for number, words in enumerate(options)}
    return [words for number, words in enumerate(options) if last[words[0].partition("=")[0]] == number]


def _parsed(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(values of the run options, YAML lines of the other overrides), as SpeechBrain reads them."""
    run_opts: dict[str, Any] = {}
    lines = []
    for words in _last_of_each(overrides):
        key, _, value = words[0].removeprefix("--").partition("=")
        if not words[0].startswith("--"):
            raise ComflpError(f"what is {shown(words[0])}? Changes to a configuration are written as --key value")
        if key in RUN_OPTIONS:
            run_opts[key] = _run_option(key, words)
        else:
            lines.append(" ".join([f"{key}:", *filter(None, [value]), *words[1:]]))
    return run_opts, lines


def _run_option(key: str, words: Sequence[str]) -> Any:
    """The value of one of SpeechBrain's run options, by its own parser; ComflpError with the last line of what that complains of."""
    import speechbrain as sb

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            _, parsed, more = sb.parse_arguments(["configuration", *words])
    except SystemExit:
        raise ComflpError(complaint.getvalue().partition(": error: ")[2].strip()) from None
    if more:
        raise ComflpError(f"--{key}: {shown(more)} is too much; leave it out")
    return parsed[key]


def _built(config: str, text: str) -> dict[str, Any]:
    """The values of a configuration's text, all of whose references are filled in."""
    try:
        values = load_hyperpyyaml(io.StringIO(text))
    except Exception as error:  # the classes that a file names raise anything
        if isinstance(error, ErrorDuringImport) and isinstance(error.value, (KeyboardInterrupt, SystemExit)):
            raise error.value from None  # the user, or the scheduler, ended the run
        raise ComflpError(f"{config} cannot be used as a configuration: {error}") from error
    if not isinstance(values, dict):
        raise ComflpError(f"{config} holds no keys with values")
    return _Values(config, values)


def _without_objects(text: str) -> str:
    """A configuration's text without the keys that hold objects."""
    tree = yaml.compose(text)
    tree.value = [(key, value) for key, value in tree.value if not any(tag.startswith("!") for tag in _tags(value))]
    return yaml.serialize(tree)


def _tags(node: yaml.Node) -> Iterator[str]:
    yield node.tag
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from (tag for part in pair for tag in _tags(part))
    elif isinstance(node, yaml.SequenceNode):
        yield from (tag for item in node.value for tag in _tags(item))


class _Values(dict):
    """The values of a configuration; asked for a key that it does not have, it names file and key."""

    def __init__(self, config: str, values: dict):
        super().__init__(values)
        self._config = config

    def __missing__(self, key: str) -> NoReturn:
        raise ComflpError(f"{self._config} has no key {key!r}; the recipes' conf/ shows all that are needed")


def _check_keys(config: str, typed: Sequence[str], keys: Collection[str]) -> None:
    """ComflpError for an option that neither the file nor SpeechBrain has; SpeechBrain would take a part of a name for the name."""
    for key in typed:
        if key in _NO_PLACE and key not in keys:
            raise ComflpError(f"--{key}: SpeechBrain has this option, and it has no place in this training")
        longer = sorted(name for name in RUN_OPTIONS if name.startswith(key))
        if key in RUN_OPTIONS or (key in keys and not longer):
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
