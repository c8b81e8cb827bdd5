"""What the card of a published model says that holds of whatever is made from it: licence, languages, training data."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import hf_hub_download, metadata_load
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

_KEPT = ("license", "license_name", "license_link", "language", "datasets")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def published(name_or_dir: str | Path) -> dict[str, Any]:
    """``license``, ``language`` and the like of a directory's or a hub repository's README.md, as far as it has them.

    A card whose header cannot be read is a warning: the model can be used without it.
    """
    path = Path(name_or_dir) / "README.md"
    if not Path(name_or_dir).is_dir():
        try:
            path = Path(hf_hub_download(str(name_or_dir), "README.md"))
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled):  # there is no card, or none at hand
            return {}
    if not path.is_file():
        return {}
    try:
        content = metadata_load(path) or {}
    except (yaml.YAMLError, ValueError) as error:
        fault = str(error).splitlines()[0]
        warnings.warn(f"the header of {path} cannot be read, so the licence of the model is not carried over: {fault}", stacklevel=2)
        return {}
    return {key: value for key, value in content.items() if key in _KEPT and _is_plain(value)}


def source_of(name_or_dir: str | Path) -> str:
    """What a model is called in the records of those that are made from it: the last part of a directory, or the name itself."""
    return Path(name_or_dir).resolve().name if Path(name_or_dir).is_dir() else str(name_or_dir)


def hub_name(source: str | None) -> str | None:
    """The name of a hub repository; None for the name of a folder and for anything else."""
    return source if source is not None and _HUB_NAME.fullmatch(source) else None


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))
