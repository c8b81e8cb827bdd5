#!/usr/bin/env python3
"""Turn a Hugging Face datasets folder on disk into a Kaldi data directory.

    . ./path.sh && python utils/hf_to_data_dir.py --dataset DIR --split train --text-column sentence --out data/train

DIR is what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote (arrow files), or a copy of a dataset repository
with parquet files. Audio that is inside those files is written to OUT_audio/, as it is; audio that they only name is
used where it lies. Needs the package pyarrow, and not datasets itself.
"""

import re
from dataclasses import replace

import option_types
from cli import parser, progress, run
from corpus import AUDIO, describe, find_files, recipe_path, with_durations

from comflp.artifacts import atomic_directory, check_apart, read_json
from comflp.data.data_dir import DATA_DIRECTORY, DataDir, write_data_dir
from comflp.data.tables import DataError, Fault, id_fault, stop_at_faults
from comflp.errors import ComflpError
from comflp.replacing import check_replaceable

SHARD = re.compile(r"(?P<split>.+?)(?:-(?P<number>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?)?\.parquet")


def find_tables(dataset, split):
    """The arrow or parquet files of one split, in order; without ``split`` those of the only one. Raises DataError."""
    if split is None and (dataset / "dataset_dict.json").exists():
        raise DataError(f"{dataset} holds several splits; --split is one of {', '.join(_splits(dataset))}")
    for folder in [dataset] if split is None else [dataset / split, dataset / "data" / split]:
        if folder.is_dir():
            tables = _arrow_files(folder) or _complete(find_files(folder, "*.parquet"))
            if tables:
                return tables
    for folder in (dataset, dataset / "data"):
        of_split = {}
        for path in find_files(folder, "*.parquet") if folder.is_dir() else []:
            of_split.setdefault(SHARD.fullmatch(path.name)["split"], []).append(path)
        if split is None and len(of_split) > 1:
            raise DataError(f"{folder} holds several splits; --split is one of {', '.join(sorted(of_split))}")
        if of_split and (split is None or split in of_split):
            return _complete(of_split[split] if split else next(iter(of_split.values())))
    found = _splits(dataset)
    hint = f"; --split is one of {', '.join(found)}" if found else ""
    raise DataError(f"{dataset} holds no arrow or parquet files{f' of split {split}' if split else ''}{hint}")


def _splits(dataset):
    return sorted({str(path.parent.relative_to(dataset)) for path in find_files(dataset, "**/*.arrow")} - {"."}
                  | {SHARD.fullmatch(path.name)["split"] for path in find_files(dataset, "data/*.parquet")})


def _arrow_files(folder):
    """The files that ``state.json`` lists (the folder has caches of `map` and `filter` too); without it, all data-*.arrow."""
    state = folder / "state.json"
    if not state.exists():
        return _complete(find_files(folder, "data-*.arrow"))
    content = read_json(state)
    try:
        names = [entry["filename"] for entry in content["_data_files"]]
    except (KeyError, TypeError):
        raise DataError(f"{state} lists no _data_files; it is damaged, or not what save_to_disk writes") from None
    if not all(isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) for name in names):
        raise DataError(f"{state} names files that are not in its folder")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} is incomplete: {', '.join(missing)} of {state.name} is not there")
    return [folder / name for name in names]


def _complete(tables):
    """``tables``, whose names tell how many there are. Raises DataError where some are missing."""
    for path in tables:
        told = re.search(r"-\d{5}-of-(\d{5})", path.name)
        if told is not None and int(told[1]) != len(tables):
            raise DataError(f"{path.parent} is incomplete: it holds {len(tables)} of the {int(told[1])} files like {path.name}")
    return tables


def read_rows(table, columns):
    """Rows of one file as dicts, only ``columns``. Raises DataError naming the file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ComflpError("hf_to_data_dir needs the package pyarrow: pip install pyarrow") from None
    try:
        if table.suffix == ".parquet":
            source = pyarrow.parquet.ParquetFile(table)
            names, batches = source.schema_arrow.names, source.iter_batches(batch_size=64)
        else:
            batches = pyarrow.ipc.open_stream(pyarrow.memory_map(str(table)))
            names = batches.schema.names
        missing = [name for name in columns if names.count(name) != 1]
        if missing:
            raise DataError(f"{table} has no column {' or '.join(missing)}; it has {', '.join(names)}")
        for batch in batches:
            yield from batch.select(columns).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{table} cannot be read: {error}") from error


def read_entries(dataset, tables, columns, name, folder):
    """[(utterance, audio path, text, speaker, place)] of all rows; audio that is inside them goes to ``folder``.

    ``columns`` names the audio, text, speaker and id columns; the last two may be None.
    """
    audio_column, text_column, speaker_column, id_column = columns
    entries, seen, faults = [], set(), []
    for table in tables:
        wanted = list(dict.fromkeys(column for column in columns if column))
        for number, row in enumerate(progress(read_rows(table, wanted), desc=table.name), start=1):
            place = f"{table}: row {number}"
            utt_id = f"{name}-{len(entries):07d}" if id_column is None else _text(row[id_column])
            text, audio = " ".join(_text(row[text_column]).split()), row[audio_column]
            speaker = (_text(row[speaker_column]) if speaker_column else "") or utt_id
            fault = id_fault(utt_id) or id_fault(speaker) or (None if text else "the text is empty")
            if fault is None and utt_id in seen:
                fault = f"duplicate id {utt_id!r}"
            if fault is None and not _is_audio(audio):
                fault = f"column {audio_column} holds no audio"
            if fault is not None:
                faults.append(Fault(place, 0, fault))
                continue
            seen.add(utt_id)
            entries.append((utt_id, _path_of(audio, dataset, folder, utt_id), text, speaker, place))
    stop_at_faults(f"{dataset} is not usable", faults)
    return entries


def _text(value):
    """A value as text: empty where the column has none, or something that is no text, such as a list."""
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _is_audio(audio):
    if not isinstance(audio, dict):
        return False
    content, path = audio.get("bytes"), audio.get("path")
    return isinstance(content, bytes) and bool(content) or isinstance(path, str) and bool(path) and path.isprintable()


def _path_of(audio, dataset, folder, utt_id):
    """Where the audio of a row lies, written to ``folder`` if it is inside the row."""
    path = dataset / (audio.get("path") or "")
    if not audio.get("bytes"):
        return path
    ending = path.suffix if re.fullmatch(r"\.\w{1,8}", path.suffix, re.ASCII) else ".wav"
    (folder / f"{utt_id}{ending}").write_bytes(audio["bytes"])
    return folder / f"{utt_id}{ending}"


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--dataset", type=option_types.folder, required=True, help="the folder on disk")
    options.add_argument("--split", type=option_types.some_name, help="split, where the folder has several")
    options.add_argument("--out", type=option_types.new_path, required=True,
                         help="data directory to write, and OUT_audio beside it; others that are there are replaced with --force")
    options.add_argument("--audio-column", type=option_types.column, default="audio", help="column of the audio")
    options.add_argument("--text-column", type=option_types.column, default="text", help="column of the texts")
    options.add_argument("--speaker-column", type=option_types.column, help="column of the speakers; without it, or where it is empty, each is its own")
    options.add_argument("--id-column", type=option_types.column, help="column of the ids; without it they are numbers")
    args = options.parse_args()

    audio = args.out.with_name(f"{args.out.name}_audio")
    for path, kind in ((args.out, DATA_DIRECTORY), (audio, AUDIO)):
        check_apart(path, args.dataset)
        if path.exists() and not args.force:
            raise DataError(f"{path} is there already; add --force to replace it")
        check_replaceable(path, kind, args.force)
    columns = (args.audio_column, args.text_column, args.speaker_column, args.id_column)
    with atomic_directory(audio, AUDIO, args.force) as folder:
        entries = read_entries(args.dataset, find_tables(args.dataset, args.split), columns, args.out.name, folder)
        found = with_durations(entries, str(args.dataset))
        data = DataDir(args.out, [_moved(utterance, recipe_path(folder), recipe_path(audio)) for utterance in found])
    write_data_dir(args.out, data, args.force)
    print(f"wrote {describe(data)}")


def _moved(utterance, before, after):
    """The utterance with the place that its audio has in the end."""
    wav = utterance.wav
    return replace(utterance, wav=f"{after}{wav[len(before):]}" if wav.startswith(f"{before}/") else wav)


if __name__ == "__main__":
    run(main)
