"""Artifacts on disk: atomic writes and fingerprints (docs/artifacts.md). An artifact appears whole or not at all.

Nothing of the user's is replaced. Every directory that is written here carries a record of its own, with the
names of its files (comflp/replacing.py).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Iterator, NoReturn

from comflp.errors import ComflpError
from comflp.replacing import MODEL, TEMPORARY_PREFIX, Kind, check_replaceable, set_aside, write_mark

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_DISK_MESSAGES = re.compile(r"No space left|File too large|quota exceeded|StorageFull|FileTooLarge|PytorchStreamWriter|inline_container|^System error\.$")
"""What other libraries say when a write of theirs fails, the last of them libsndfile."""
LFS_POINTER = b"version https://git-lfs"
"""What a file begins with that Git LFS left in the place of another."""
_LITTLE = 1 << 20
"""Free bytes of a disk that is as good as full."""


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
    with disk_faults_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise ComflpError(f"{path} cannot be written: it is a folder or a device, and a file is to be there")
        temporary = _temporary_path(path)
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
def disk_faults_of(path: Path) -> Iterator[None]:
    """An error about ``path`` or its neighbours, or about a full or failing disk, becomes a ComflpError naming ``path``.

    Also one that another library raises when its write fails.
    """
    try:
        yield
    except OSError as error:
        about = {os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))}
        if error.errno in _DISK_ERRORS or any(Path(name).is_relative_to(path.parent) for name in about):
            raise ComflpError(f"{path} cannot be written: {error.strerror}; nothing half-written is left") from error
        raise
    except ComflpError:
        raise
    except Exception as error:
        said = _DISK_MESSAGES.search(str(error))
        if said is None and shutil.disk_usage(path.parent).free > _LITTLE:
            raise
        what = str(error).splitlines()[0].rstrip(".") if said else "the disk is full"
        raise ComflpError(f"{path} cannot be written: {what}; nothing half-written is left") from error


@contextlib.contextmanager
def atomic_directory(path: str | Path, kind: Kind = MODEL, force: bool = False) -> Iterator[Path]:
    """Like :func:`atomic_path` for a directory with everything in it.

    A directory at ``path`` is replaced once all of the new one is there, where :func:`~comflp.replacing.check_replaceable`
    allows it. It is moved aside first, so that a kill between the two renames leaves no half directory; the next run
    moves it back. Where nothing was written, nothing is replaced.
    """
    path = Path(path)
    with disk_faults_of(path):
        set_aside(path)
        check_replaceable(path, kind, force)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_path(path)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            if any(temporary.iterdir()):
                replace_directory(temporary, path, kind, force)
            else:
                temporary.rmdir()
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def replace_directory(new: Path, path: Path, kind: Kind, force: bool = False) -> None:
    """Give ``new``, a complete directory on the same file system, the place ``path``, as :func:`atomic_directory` does."""
    for file in write_mark(new, kind):
        with open(file, "rb") as written:
            os.fsync(written.fileno())
    old = set_aside(path)
    check_replaceable(path, kind, force)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def check_apart(target: str | Path, *sources: str | Path) -> None:
    """ComflpError where ``target``, which is to be written, is one of the sources, holds it or lies in it."""
    for source in sources:
        first, second = Path(target).resolve(), Path(source).resolve()
        if first.is_relative_to(second) or second.is_relative_to(first):
            raise ComflpError(f"{target} cannot be written: it is or holds {source}, or lies in it; name another place")


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, atomically. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_file(path: str | Path) -> None:
    """ComflpError for what is there and no file: a folder cannot be read, and reading a named pipe would wait for ever."""
    if Path(path).exists() and not Path(path).is_file():
        raise ComflpError(f"{path} cannot be read: it is a folder, a device or a named pipe, and not a file")


def read_text(path: str | Path) -> str:
    """The content of a UTF-8 file; ComflpError names the file, and the line that is not UTF-8."""
    check_file(path)
    try:
        content = Path(path).read_bytes()
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ComflpError(f"{path} does not exist") from None
    except OSError as error:
        raise ComflpError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ComflpError(f"{path}:{line}: the line is not UTF-8, so the file is damaged or no text") from None


def read_json(path: str | Path) -> dict:
    """The object of a JSON file; ComflpError names the file, and the line where it is broken.

    Asked for a key that it, or an object in it, does not have, it raises a ComflpError that names file and key.
    """

    class Object(dict):
        def __missing__(self, key: str) -> NoReturn:
            raise ComflpError(f"{path} has no key {key!r}; it is damaged, or another program's")

    try:
        content = json.loads(read_text(path), object_hook=Object)
    except json.JSONDecodeError as error:
        raise ComflpError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except RecursionError:
        raise ComflpError(f"{path} cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise ComflpError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ComflpError(f"{path} is to hold a JSON object, not {json.dumps(content)[:40]}")
    return content


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
    check_file(path)
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
