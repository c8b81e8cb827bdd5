"""What may be replaced: a directory with a record of its own, and nothing that the user put there.

Every directory that comflp writes as a whole carries ``MARK``, which says its kind and the files that were written into
it. Stages that add results to it later leave their records beside them (``record.json``).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from comflp.errors import ComflpError

TEMPORARY_PREFIX = ".tmp-"
MARK = ".comflp.json"
_SHOWN = 3


@dataclass(frozen=True)
class Kind:
    """What a directory is. signs: files one of which a directory of this kind has, whoever made it; without signs only
    directories with a mark of this kind are of it."""

    name: str
    signs: tuple[str, ...] = ()

    def is_signed(self, path: Path) -> bool:
        """Whether a directory has one of the files that one of this kind has, whoever made it."""
        return any((path / sign).is_file() for sign in self.signs)


MODEL = Kind("model directory", ("config.json", "hyperparams.yaml"))
REPORT = Kind("report", ("report.html",))


def check_replaceable(path: Path, kind: Kind, force: bool) -> None:
    """Nothing, where ``path`` is free, empty, or a directory of this kind that comflp wrote and nobody added to.

    With ``force`` also where it is a directory of this kind that somebody else made, or added files to (folders that
    comflp does not know are never removed). Everything else is a ComflpError, and so is what :func:`check_place` refuses.
    """
    check_place(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ComflpError(f"{path} is there already and is a link or a file; remove it, or name another place")
    if not path.exists() or not any(path.iterdir()):
        return
    mark = _read_mark(path)
    if mark is not None and mark["kind"] != kind.name:
        raise ComflpError(f"{path} is there already and is a {mark['kind']}, not a {kind.name}; name another place")
    files, folders = _foreign(path, frozenset([*(mark["files"] if mark is not None else ()), *_recorded(path)]))
    foreign = _listed([*folders, *files])
    if mark is None and not kind.is_signed(path):
        raise ComflpError(f"{path} is there already and is no {kind.name} of this program ({foreign}); name another place")
    if folders:
        raise ComflpError(f"{path} holds {foreign}, which this program did not put there; move it away, or name another place")
    if (files or mark is None) and not force:
        what = foreign or "hidden files"
        raise ComflpError(f"{path} holds {what}, which this program did not put there; add --force to replace it, or name another place")


def check_place(path: Path) -> None:
    """ComflpError where no directory can be put at ``path`` in one move, whatever is there."""
    check_parents(path)
    if path.name == ".." or Path.cwd().is_relative_to(path.resolve()):
        raise ComflpError(f"{path} cannot be written as a whole: it is the current folder or holds it, or ends with '..'; name another place")


def check_parents(path: Path) -> None:
    """ComflpError where ``path`` lies below something that is no folder."""
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise ComflpError(f"{path} cannot be written: {parent} is no folder; name another place")


def final_place(path: Path) -> Path:
    """Where a directory will lie when it is complete: ``path``, unless that is the temporary one that it is written to."""
    return path.with_name(path.name.removeprefix(TEMPORARY_PREFIX))


def set_aside(path: Path) -> Path:
    """The free place to which ``path`` is moved before the new one comes; what a kill left there goes back first.

    Raises ComflpError as :func:`check_place` does.
    """
    check_place(path)
    old = path.with_name(f"{TEMPORARY_PREFIX}old-{path.name}")
    if old.exists() and not path.exists():
        os.replace(old, path)
    return old


def write_mark(directory: Path, kind: Kind) -> list[Path]:
    """Write the mark of a directory that is complete; returns its files, the mark last."""
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file.name != MARK)
    mark = {"kind": kind.name, "files": [file.relative_to(directory).as_posix() for file in files]}
    (directory / MARK).write_text(json.dumps(mark, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*files, directory / MARK]


def written_files(directory: Path) -> list[str] | None:
    """The files that were written into a directory, by its mark; None where it has none."""
    mark = _read_mark(directory)
    return None if mark is None else list(mark["files"])


def marked(root: Path, kind: Kind) -> list[Path]:
    """The directories of a kind below ``root``, by their marks."""
    return [path.parent for path in sorted(root.rglob(MARK)) if (_read_mark(path.parent) or {}).get("kind") == kind.name]


def _read_mark(path: Path) -> dict | None:
    """The mark; None where there is none, or one that is damaged (then nothing is known of the directory)."""
    try:
        mark = json.loads((path / MARK).read_text(encoding="utf-8")) if (path / MARK).is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(mark, dict) and isinstance(mark.get("kind"), str) and isinstance(mark.get("files"), list)
    return mark if whole and all(isinstance(name, str) for name in mark["files"]) else None


def _recorded(path: Path) -> list[str]:
    """What the record of a stage in ``path`` says that the stage wrote there; nothing where the record is damaged."""
    record = path / "record.json"
    try:
        outputs = json.loads(record.read_text(encoding="utf-8"))["outputs"] if record.is_file() else None
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return []
    return list(outputs) if isinstance(outputs, dict) else []


def _foreign(path: Path, known: frozenset[str]) -> tuple[list[str], list[str]]:
    """(files, folders) in ``path`` that neither are ``known`` nor belong to another stage's record."""
    ours = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    files, foreign_folders = [], []
    for place, folders, names in os.walk(path):
        below = PurePosixPath(Path(place).relative_to(path).as_posix())
        for folder in list(folders):
            name = str(below / folder)
            if name in ours and not os.path.islink(os.path.join(place, folder)):
                continue
            folders.remove(folder)
            if not _carries_record(Path(place, folder)):
                foreign_folders.append(f"{name}/")
        files += [str(below / name) for name in names if str(below / name) not in known and not _is_record_or_hidden(name)]
    return sorted(files), sorted(foreign_folders)


def _is_record_or_hidden(name: str) -> bool:
    return name.startswith(".") or name.endswith("record.json") or name == "started.json"


def _carries_record(folder: Path) -> bool:
    """Whether a folder is another stage's: a record lies in it or in all of its folders, or it has only hidden files."""
    if folder.is_symlink():
        return False
    entries = list(os.scandir(folder))
    if any(entry.name == MARK or entry.name.endswith("record.json") for entry in entries):
        return True
    if any(entry.is_symlink() or not entry.is_dir() and not entry.name.startswith(".") for entry in entries):
        return False
    known = (".partial", TEMPORARY_PREFIX)
    return all(entry.name.startswith(known) or _carries_record(Path(entry.path)) for entry in entries if entry.is_dir())


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
