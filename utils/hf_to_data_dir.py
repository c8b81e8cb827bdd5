#!/usr/bin/env python3
"""Turn a Hugging Face datasets folder on disk into a Kaldi data directory.

    . ./path.sh && python utils/hf_to_data_dir.py --dataset DIR --split train --text-column sentence --out data/train

DIR is what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote (arrow files), or a copy of a dataset repository
with parquet files. Audio that is inside those files is written to OUT_audio/, as it is; audio that they only name is
used where it lies. Needs the package pyarrow, and not datasets itself.
"""

from pathlib import Path

from cli import parser, progress, run
from corpus import describe, with_durations

from comflp.artifacts import atomic_directory
from comflp.data.data_dir import DataDir, write_data_dir
from comflp.data.tables import DataError, Fault, id_fault, stop_at_faults
from comflp.errors import ComflpError


def find_tables(dataset, split):
    """The arrow or parquet files of one split, sorted; without ``split`` those of the only one."""
    if not dataset.is_dir():
        raise DataError(f"there is no folder {dataset}")
    folders = [dataset] if split is None else [dataset / split, dataset / "data" / split]
    tables = [path for folder in folders for suffix in ("arrow", "parquet") for path in sorted(folder.glob(f"*.{suffix}"))]
    if not tables:
        prefix = "" if split is None else f"{split}-"
        tables = [path for folder in (dataset, dataset / "data") for path in sorted(folder.glob(f"{prefix}*.parquet"))]
    if not tables:
        found = sorted({str(path.parent.relative_to(dataset)) for path in dataset.rglob("*.arrow")})
        hint = f"; --split is one of {', '.join(found)}" if found else ""
        raise DataError(f"{dataset} holds no arrow or parquet files{f' of split {split}' if split else ''}{hint}")
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
            batches = pyarrow.parquet.ParquetFile(table).iter_batches(batch_size=64)
        else:
            batches = pyarrow.ipc.open_stream(pyarrow.memory_map(str(table)))
        for batch in batches:
            missing = [name for name in columns if name not in batch.schema.names]
            if missing:
                raise DataError(f"{table} has no column {' or '.join(missing)}; it has {', '.join(batch.schema.names)}")
            yield from batch.select(columns).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table} cannot be read: {error}") from error


def read_entries(dataset, tables, columns, name, final, temporary):
    """[(utterance, audio path, text, speaker)] of all rows; audio bytes go to ``temporary``, which will become ``final``.

    ``columns`` names the audio, text, speaker and id columns; the last two may be None.
    """
    audio_column, text_column, speaker_column, id_column = columns
    entries, faults = [], []
    for table in tables:
        for number, row in enumerate(progress(read_rows(table, [column for column in columns if column]), desc=table.name), start=1):
            utt_id = str(row[id_column]) if id_column else f"{name}-{len(entries):07d}"
            audio, text = row[audio_column], " ".join((row[text_column] or "").split())
            fault = id_fault(utt_id) or (None if text else "the text is empty")
            if fault is None and not (isinstance(audio, dict) and (audio.get("bytes") or audio.get("path"))):
                fault = f"column {audio_column} holds no audio"
            if fault is not None:
                faults.append(Fault(str(table), 0, f"row {number}: {fault}"))
                continue
            path = dataset / (audio.get("path") or "")
            if audio.get("bytes"):
                path = final / f"{utt_id}{path.suffix or '.wav'}"
                (temporary / path.name).write_bytes(audio["bytes"])
            entries.append((utt_id, path, text, str(row[speaker_column]) if speaker_column else utt_id))
    stop_at_faults(f"{dataset} is not usable", faults)
    return entries


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--dataset", type=Path, required=True, help="the folder on disk")
    options.add_argument("--split", help="split, where the folder has several")
    options.add_argument("--out", type=Path, required=True, help="data directory to write; one that is there is replaced with --force")
    options.add_argument("--audio-column", default="audio", help="column of the audio")
    options.add_argument("--text-column", default="text", help="column of the texts")
    options.add_argument("--speaker-column", help="column of the speakers; without it each utterance is its own")
    options.add_argument("--id-column", help="column of the ids; without it they are numbers")
    args = options.parse_args()
    if args.out.exists() and not args.force:
        raise DataError(f"{args.out} is there already; add --force to replace it")

    audio = args.out.with_name(f"{args.out.name}_audio")
    columns = (args.audio_column, args.text_column, args.speaker_column, args.id_column)
    with atomic_directory(audio) as temporary:
        entries = read_entries(args.dataset, find_tables(args.dataset, args.split), columns, args.out.name, audio, temporary)
    if not any(audio.iterdir()):
        audio.rmdir()
    data = DataDir(args.out, with_durations(entries, args.out.name))
    write_data_dir(args.out, data)
    print(f"wrote {describe(data)}")


if __name__ == "__main__":
    run(main)
