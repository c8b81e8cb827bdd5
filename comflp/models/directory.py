"""What is looked at in a brought model directory before anything of it is loaded: links, indexes of weights, sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

from comflp.artifacts import LFS_POINTER, check_file, read_json
from comflp.errors import ComflpError

LARGEST_SIZE = 10**7
"""No size in a configuration is larger (vocabularies have a few hundred thousand entries)."""

MOST_LAYERS = 1000

EXPORT = "export.json"
"""What every export has in its directory, and no model."""

_OF_OTHERS = (".h5", ".msgpack", ".ot", ".onnx", ".md")
"""Endings of files that no model is loaded from."""

SAMPLE_RATES = range(1000, 400_000)
"""In Hz, of any model."""


def check_directory(directory: Path) -> None:
    """Refuse a directory whose files lead out of it, or whose configuration says what no model here can be.

    Raises ComflpError for a symbolic link out of the directory (into the blobs of the Hugging Face cache is allowed),
    an index of weights that names a file elsewhere, a named pipe or a device, and whatever :func:`check_config` refuses.
    """
    check_links(directory)
    for path in sorted(directory.iterdir()):
        if not path.is_dir():
            check_file(path)
    for index in sorted(directory.glob("*.index.json")):
        _check_index(index)
    for config in sorted({*directory.glob("config.json"), *directory.glob("*/config.json")}):
        check_config(str(config.parent), read_json(config))


def lfs_pointers(directory: Path) -> list[str]:
    """The names of files of a directory that are pointers of Git LFS, which ``git clone`` leaves where that is not installed.

    Files that no model here is loaded from, such as the weights for other libraries, do not count, nor do those that cannot be read.
    """
    files = [path for path in sorted(directory.iterdir()) if path.is_file() and path.suffix not in _OF_OTHERS] if directory.is_dir() else []
    return [path.name for path in files if _begins_with(path, LFS_POINTER)]


def _begins_with(path: Path, content: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(content)) == content
    except OSError:
        return False


def check_links(directory: Path) -> None:
    """ComflpError where a symbolic link leads out of ``directory``: what is copied with it could be any file."""
    allowed = [directory.resolve()]
    if directory.resolve().parent.name == "snapshots":  # the layout of the Hugging Face cache
        allowed.append(directory.resolve().parent.parent / "blobs")
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
            raise ComflpError(f"{path} is a symbolic link out of the model's directory; put the file itself there")


def check_config(name: str, config: dict) -> None:
    """ComflpError for quantised weights, attention code from the hub, and sizes that no model has.

    name: what the error calls the model. config: the content of its config.json.
    """
    quantised = config.get("quantization_config")
    if quantised is not None:
        method = quantised.get("quant_method", "unknown method") if isinstance(quantised, dict) else quantised
        raise ComflpError(
            f"{name} cannot be loaded as a recogniser: its configuration asks for quantised weights ({method}); layers are "
            f"pruned and trained in float32, so take the model that was not quantised"
        )
    for key, value in _entries(config):
        last = key.rpartition(".")[2]
        if last.endswith("attn_implementation") and isinstance(value, str) and "/" in value:
            raise ComflpError(
                f"{name}: {key} in config.json is {value!r}, code from the hub; no code that comes with a model runs. "
                f"Remove the entry"
            )
        if isinstance(value, int) and not isinstance(value, bool):
            largest = MOST_LAYERS if last.endswith("layers") else LARGEST_SIZE
            if abs(value) > largest:
                raise ComflpError(f"{name}: {key} in config.json is {value}, beyond {largest}: no model has such a size")


def _entries(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every value in nested dictionaries and lists; what comflp wrote itself is left out."""
    if isinstance(config, dict):
        for key, value in config.items():
            if (name, key) != ("", "comflp"):
                yield from _entries(value, f"{name}.{key}" if name else str(key))
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value, name)
    else:
        yield name, config


def _check_index(path: Path) -> None:
    index = read_json(path)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict):
        raise ComflpError(f"{path} has no weight_map; it is not an index of weights")
    for file in files.values():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
            raise ComflpError(f"{path} names the file {json.dumps(file)}, which is not in the model's directory")
