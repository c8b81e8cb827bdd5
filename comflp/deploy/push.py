"""A model directory to the Hugging Face hub, by the hub's own library."""

from __future__ import annotations

import glob
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from comflp.errors import ComflpError, shown
from comflp.models.transformers.logging import one_line
from comflp.replacing import MODEL, written_files

_RECORDS = ("*record.json", "started.json", "hypotheses_*", "pruning.json", "costs.json", ".*")
"""Files beside a model that say how it was made: they hold the paths of a machine, and texts of data sets."""

_UNREACHABLE = (HfHubHTTPError.__bases__[0], OfflineModeIsEnabled)
"""The first is the base of all errors of the HTTP library that huggingface_hub is built on, which changed its name twice."""


def push(directory: str | Path, name: str, private: bool = False) -> str:
    """Upload a model directory with its card to a repository of the hub, which is made if it is not there; returns its address.

    name: ``user/model``, or ``model`` for one's own. private: whether a repository that is made is seen by its owner alone.
    The token is the one of ``hf auth login`` or of HF_TOKEN. What was not written with the model stays here: scores, decodes, exports
    and other folders in it, and so do records of how it was made.

    Raises ComflpError where the directory is no model with a card, where the hub refuses, and where it cannot be reached.
    """
    directory = Path(directory)
    if not MODEL.is_signed(directory) or not (directory / "README.md").is_file():
        raise ComflpError(f"{directory} is no model directory with a card ({' or '.join(MODEL.signs)}, and README.md)")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ComflpError(f"{shown(name)} is no name of a repository: {error}") from None
    hub = HfApi()
    try:
        address = hub.create_repo(name, private=private or None, exist_ok=True)
        hub.upload_folder(repo_id=address.repo_id, folder_path=directory, allow_patterns=_names(directory), commit_message="Upload by comflp")
    except LocalTokenNotFoundError as error:
        raise ComflpError(f"there is no token for {hub.endpoint}: run 'hf auth login', or set HF_TOKEN ({_first_line(error)})") from None
    except HfHubHTTPError as error:
        said = f" ({error.server_message})" if error.server_message else ""
        raise ComflpError(f"{hub.endpoint} refuses {name}: {_first_line(error)}{said}; is the token one that may write there?") from None
    except _UNREACHABLE as error:
        raise ComflpError(f"{hub.endpoint} cannot be reached: {_first_line(error)}") from None
    except ValueError as error:  # of the hub's library, about what it is given: above all the card's metadata
        raise ComflpError(f"{hub.endpoint} does not take {directory}: {one_line(error)}; correct its card, {directory / 'README.md'}") from None
    except RuntimeError as error:  # of an upload that broke off
        raise ComflpError(f"the upload of {directory} to {name} failed: {one_line(error)}; run the same command again to go on") from None
    return str(address)


def _names(directory: Path) -> list[str]:
    """What belongs to a model of a directory, as patterns: what was written with it, or, where that is not known, the files beside its card."""
    written = written_files(directory)
    names = {path.name for path in directory.iterdir() if path.is_file()} if written is None else {"README.md", *written}
    return [glob.escape(name) for name in sorted(names) if not any(fnmatch(Path(name).name, record) for record in _RECORDS)]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
