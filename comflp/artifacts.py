"""Artifacts on disk: atomic writes, fingerprints, and the record each stage leaves.

Rules (docs/artifacts.md): an artifact appears whole or not at all; a record is
written last; the same options on the same inputs with intact outputs is "up to
date"; anything else is made again or refused, never mixed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

from comflp import __version__
from comflp.errors import ComflpError

TEMPORARY_PREFIX = ".tmp-"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_PACKAGES = ("torch", "speechbrain", "transformers", "numpy", "kaldiio", "jiwer")


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY_PREFIX}{path.name}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write a file to; renamed to ``path`` when the block ends well.

    Missing parent directories are made. When the block raises, the temporary
    file is removed and ``path`` is as it was before. A file left by a killed
    run is overwritten by the next.
    """
    path = Path(path)
    temporary = _temporary_path(path)
    with _disk_faults_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _disk_faults_of(path: Path) -> Iterator[None]:
    """An OSError about ``path`` or its neighbours, or about a full or failing disk, becomes a ComflpError naming ``path``."""
    try:
        yield
    except OSError as error:
        about = {os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))}
        if error.errno in _DISK_ERRORS or any(Path(name).is_relative_to(path.parent) for name in about):
            raise ComflpError(f"{path} cannot be written: {error.strerror}; nothing half-written is left") from error
        raise


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Like :func:`atomic_path` for a directory with everything in it.

    An existing directory at ``path`` is replaced. It is moved aside first, so
    that a kill between the two renames leaves no half directory: only none.
    """
    path = Path(path)
    temporary = _temporary_path(path)
    old = path.with_name(f"{TEMPORARY_PREFIX}old-{path.name}")
    with _disk_faults_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as written:
                        os.fsync(written.fileno())
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; ComflpError names the file, and the line where it is broken."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ComflpError(f"{path} does not exist") from None
    except json.JSONDecodeError as error:
        raise ComflpError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ComflpError(f"{path} cannot be read: {error}") from None


def require(path: str | Path, made_by: str) -> Path:
    """``path``, or a ComflpError that says which stage makes it.

    >>> require("/nowhere/hidden.scp", "stage 1 (feature dump)")
    Traceback (most recent call last):
    ...
    comflp.errors.ComflpError: /nowhere/hidden.scp does not exist; stage 1 (feature dump) makes it
    """
    path = Path(path)
    if not path.exists():
        raise ComflpError(f"{path} does not exist; {made_by} makes it")
    return path


def fingerprint_file(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint_value(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def fingerprint_model(directory: str | Path) -> str:
    """SHA-256 over a model directory's configuration, weights and tokenizer.

    The model card and sub-directories (decodes) do not count, so that a model
    stays the same model when it is documented or decoded.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ComflpError(f"model directory {directory} does not exist")
    parts = {
        file.name: fingerprint_file(file)
        for file in sorted(directory.iterdir())
        if file.is_file() and file.suffix != ".md" and not file.name.startswith(".")
    }
    parts.pop("record.json", None)
    return fingerprint_value(parts)


class Stage:
    """One run of a stage: decides whether it is needed, and records what it made.

    record: where the JSON record lies, beside the artifacts.
    name: the stage's name, such as ``stage2_correlation``.
    options: the options that change the result (JSON-able).
    inputs: what the stage reads, name -> fingerprint. Upstream records are
        given by path in ``upstream``; what they came from (their ``origin``)
        is carried along, and two inputs that came from different models or
        data stop the stage.
    force: make the artifacts again where a record of other options would stop.
    """

    def __init__(
        self,
        record: str | Path,
        name: str,
        options: Mapping[str, Any],
        inputs: Mapping[str, str],
        upstream: Iterable[str | Path] = (),
        force: bool = False,
    ):
        self.record = Path(record)
        self.name = name
        self.options = json.loads(json.dumps(options))
        self.inputs = dict(inputs)
        self.origin = self._merge_origins(upstream)
        self.force = force
        self._started = time.monotonic()

    def _merge_origins(self, upstream: Iterable[str | Path]) -> dict[str, str]:
        origin, source = dict(self.inputs), {key: f"{self.name}'s own input" for key in self.inputs}
        for path in map(Path, upstream):
            if not path.exists():
                continue
            for key, value in _read_record(path)["origin"].items():
                if origin.setdefault(key, value) != value:
                    raise ComflpError(
                        f"{self.name}: {path} was made from another {key} than {source[key]}; "
                        f"run the stage that made it again with --force, or use another experiment directory"
                    )
                source.setdefault(key, str(path))
        return origin

    def up_to_date(self) -> bool:
        """True when the record says the same and every output is intact.

        False when there is nothing yet, an output is missing or damaged, or
        ``force`` is set. Raises ComflpError, naming what changed, when the
        artifacts there were made with other options or from other inputs.
        """
        if self.force or not self.record.exists():
            return False
        old = _read_record(self.record)
        self._compare(self.record.parent, "results", old["options"], old["origin"])
        return self._all_intact(self.record.parent, old)

    def begin(self, work: str | Path) -> None:
        """Mark the directory ``work`` as unfinished work of this stage, to be gone on with after a kill.

        Raises ComflpError, naming what changed, where it is work with other options or on other inputs.
        """
        marker = Path(work) / "started.json"
        if marker.exists():
            old = read_json(marker)
            self._compare(work, "unfinished work", old["options"], old["origin"])
        else:
            write_json(marker, {"stage": self.name, "options": self.options, "origin": self.origin})

    def _compare(self, place: str | Path, what: str, options: Mapping[str, Any], origin: Mapping[str, str]) -> None:
        changed = [
            f"{key}: {_short(before.get(key))} before, {_short(now.get(key))} now"
            for before, now in ((options, self.options), (origin, self.origin))
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise ComflpError(
                f"{place} holds {what} of {self.name} made otherwise ({'; '.join(changed)}); "
                f"add --force to make it again, or use another --tag"
            )

    def was_made_in(self, directory: str | Path) -> bool:
        """True when ``directory`` holds intact results of this stage with the same options and inputs."""
        record = Path(directory) / self.record.name
        if not record.exists():
            return False
        old = _read_record(record)
        same = (old["options"], old.get("inputs")) == (self.options, self.inputs)
        return same and self._all_intact(record.parent, old)

    @classmethod
    def _all_intact(cls, directory: Path, record: Mapping[str, Any]) -> bool:
        return all(cls._intact(directory / path, entry) for path, entry in record["outputs"].items())

    @staticmethod
    def _intact(path: Path, entry: Mapping[str, Any]) -> bool:
        if path.is_dir():
            return fingerprint_model(path) == entry["sha256"]
        return path.is_file() and path.stat().st_size == entry.get("size") and fingerprint_file(path) == entry["sha256"]

    def finish(self, outputs: Iterable[str | Path], **extra: Any) -> dict:
        """Write the record, last of all, and return it. ``outputs`` are files or model directories."""
        entries = {}
        for path in map(Path, outputs):
            name = os.path.relpath(path, self.record.parent)
            if path.is_dir():
                entries[name] = {"sha256": fingerprint_model(path)}
            else:
                entries[name] = {"size": path.stat().st_size, "sha256": fingerprint_file(path)}
        record = {
            "stage": self.name,
            "options": self.options,
            "inputs": self.inputs,
            "origin": self.origin,
            "outputs": entries,
            "seconds": round(time.monotonic() - self._started, 3),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": " ".join(sys.argv),
            "versions": versions(),
            **extra,
        }
        write_json(self.record, record)
        return record


def _read_record(path: Path) -> dict:
    """A stage's record; ComflpError where it is not one any more."""
    try:
        record = read_json(path)
        entries = [record["options"], record["origin"], record["outputs"], *record["outputs"].values()]
        whole = all(isinstance(entry, dict) for entry in entries) and all("sha256" in entry for entry in entries[3:])
    except (ComflpError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ComflpError(f"{path} is damaged; delete it, and the stage that wrote it makes its results again")
    return record


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the packages that numbers depend on."""
    found = {"python": sys.version.split()[0], "comflp": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:16] + "..."
