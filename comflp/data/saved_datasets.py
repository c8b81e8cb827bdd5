"""Folders of the library datasets on disk: arrow files of save_to_disk, or parquet files of a repository. Read with pyarrow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator, Sequence

from comflp.artifacts import read_json
from comflp.data.tables import DataError
from comflp.errors import ComflpError

SHARD = re.compile(r"(?P<split>.+?)(?:-(?P<number>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?)?\.parquet")


_TAKE = "utils/hf_to_data_dir.py takes one with --split"


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The paths below ``folder`` that match ``pattern``, sorted. Names that begin with a dot are not data (macOS leaves ``._`` files).

    ``**/`` at the beginning of the pattern stands for all folders below, those behind links too.
    """
    if pattern.startswith("**/"):
        return sorted(path for path in _files_below(folder) if path.match(pattern[3:]))
    return sorted(path for path in folder.glob(pattern) if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _files_below(folder: Path) -> Iterator[Path]:
    """Files in ``folder`` and in all folders below. Links are followed last, so that a folder is read once, under its own name."""
    waiting, read = [folder], set()
    while waiting:
        place = waiting.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in read:
                continue
            read.add((status.st_dev, status.st_ino))
            for path in sorted(place.iterdir()):
                if path.name.startswith("."):
                    continue
                if path.is_dir():
                    waiting.insert(0 if path.is_symlink() else len(waiting), path)
                else:
                    yield path
        except OSError as error:
            raise DataError(f"{place} cannot be read: {error.strerror or error}") from None


def is_saved(folder: Path) -> bool:
    """Whether a folder looks like a saved dataset, of one split or several."""
    signs = ("state.json", "dataset_dict.json", "data-*.arrow", "*.parquet", "data/*.parquet")
    return any(find_files(folder, sign) for sign in signs)


def find_tables(dataset: Path, split: str | None = None) -> list[Path]:
    """The arrow or parquet files of one split, in order; without ``split`` those of the only one. Raises DataError."""
    if split is None and (dataset / "dataset_dict.json").exists():
        raise DataError(f"{dataset} holds several splits, {', '.join(splits_of(dataset))}; {_TAKE}")
    for folder in [dataset] if split is None else [dataset / split, dataset / "data" / split]:
        if folder.is_dir():
            tables = _arrow_files(folder) or (_complete(find_files(folder, "*.parquet")) if split else [])
            if tables:
                return tables
    for folder in (dataset, dataset / "data"):
        of_split: dict[str, list[Path]] = {}
        for path in find_files(folder, "*.parquet") if folder.is_dir() else []:
            of_split.setdefault(_split(path), []).append(path)
        if split is None and len(of_split) > 1:
            raise DataError(f"{folder} holds several splits, {', '.join(sorted(of_split))}; {_TAKE}")
        if of_split and (split is None or split in of_split):
            return _complete(of_split[split] if split else next(iter(of_split.values())))
    found = splits_of(dataset)
    hint = f"; there are {', '.join(found)}" if found else ""
    raise DataError(f"{dataset} holds no arrow or parquet files{f' of split {split}' if split else ''}{hint}")


def splits_of(dataset: Path) -> list[str]:
    """Names of the splits of a saved dataset, sorted: its folders of arrow files, or what its parquet files in ``data/`` are named by."""
    return sorted({str(path.parent.relative_to(dataset)) for path in find_files(dataset, "**/*.arrow")} - {"."}
                  | {_split(path) for path in find_files(dataset, "data/*.parquet")} - {""})


def _arrow_files(folder: Path) -> list[Path]:
    """The files that ``state.json`` lists (the folder has caches of `map` and `filter` too); without it, all data-*.arrow."""
    state = folder / "state.json"
    if not state.exists():
        return _complete(find_files(folder, "data-*.arrow"))
    content = read_json(state)
    try:
        names = [entry["filename"] for entry in content["_data_files"]]
    except (KeyError, TypeError):
        raise DataError(f"{state} lists no _data_files; it is damaged, or not what save_to_disk writes") from None
    if content.get("_indices_data_files"):
        raise DataError(f"{state} names _indices_data_files, which choose rows of the others and are not read here: load the dataset with the version of "
                        "the library datasets that wrote it (1.x), and save flatten_indices() of it again")
    if not all(isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) for name in names):
        raise DataError(f"{state} names files that are not in its folder")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} is incomplete: {', '.join(missing)} of {state.name} is not there")
    return [folder / name for name in names]


def _complete(tables: list[Path]) -> list[Path]:
    """``tables``, whose names tell how many there are. Raises DataError where some are missing."""
    for path in tables:
        told = re.search(r"-\d{5}-of-(\d{5})", path.name)
        if told is not None and int(told[1]) != len(tables):
            raise DataError(f"{path.parent} is incomplete: it holds {len(tables)} of the {int(told[1])} files like {path.name}")
    return tables


def _split(path: Path) -> str:
    """The split that a parquet file is of, by its name, whose last number is that of a shard.

    Nothing where the name tells none (0000.parquet, Spark's part-00000-..., Dask's part.0.parquet, shard_0.parquet).
    """
    match = SHARD.fullmatch(path.name)
    name = re.sub(r"[-_.]?\d+$", "", match["split"] if match else path.stem)
    return "" if re.fullmatch(r"(part|shard|data)([-_.].*)?", name) else name


def as_text(value: Any) -> str:
    """A value as text: empty where the column has none, or something that is no text, such as a list."""
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def column_names(table: Path) -> list[str]:
    """The columns of an arrow or parquet file."""
    return _open(table)[0]


def read_rows(table: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of one file as dicts, only ``columns``. Raises DataError naming the file."""
    import pyarrow

    names, batches = _open(table)
    missing = [name for name in columns if names.count(name) != 1]
    if missing:
        raise DataError(f"{table} has no column {' or '.join(missing)}; it has {', '.join(names)}")
    try:
        for batch in batches:
            yield from batch.select(columns).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{table} cannot be read: {error}") from error


def _open(table: Path) -> tuple[list[str], Any]:
    """(names of the columns, batches of rows)"""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ComflpError(f"to read {table} takes the package pyarrow: pip install pyarrow") from None
    try:
        if table.suffix == ".parquet":
            source = pyarrow.parquet.ParquetFile(table)
            return source.schema_arrow.names, source.iter_batches(batch_size=64)
        batches = pyarrow.ipc.open_stream(pyarrow.memory_map(str(table)))
        return batches.schema.names, batches
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{table} cannot be read: {error}") from error


def is_audio(value: Any) -> bool:
    """Whether a value is audio as these files hold it: encoded bytes, or a path."""
    if not isinstance(value, dict):
        return False
    content, path = value.get("bytes"), value.get("path")
    return isinstance(content, bytes) and bool(content) or isinstance(path, str) and bool(path) and path.isprintable()


def write_audio(audio: dict[str, Any], dataset: Path, target: Path) -> Path:
    """Where the audio of a row lies: written to ``target`` with its own ending if it is inside the row."""
    path = dataset / (audio.get("path") or "")
    if not audio.get("bytes"):
        return path
    ending = path.suffix if re.fullmatch(r"\.\w{1,8}", path.suffix, re.ASCII) else ".wav"
    written = target.with_name(f"{target.name}{ending}")
    written.write_bytes(audio["bytes"])
    return written
