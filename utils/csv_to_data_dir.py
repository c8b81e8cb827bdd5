#!/usr/bin/env python3
"""Turn a CSV or TSV file of audio paths and texts into a Kaldi data directory.

    . ./path.sh && python utils/csv_to_data_dir.py --csv train.csv --out data/train

The first line names the columns. Relative paths start from the file's own folder. Without an id column an utterance is
named by its audio file (so files of different folders must not share a name), without a speaker column each is its own speaker.
"""

import csv
from pathlib import Path

from cli import parser, run
from corpus import describe, with_durations

from comflp.data.data_dir import DataDir, write_data_dir
from comflp.data.tables import DataError, Fault, stop_at_faults


def read_rows(path, columns, delimiter):
    """[(utterance, audio path, text, speaker)] of the table. Raises DataError with file and line."""
    rows, seen, repeated, faults = [], {}, [], []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter=delimiter, strict=True)
            header = table.fieldnames or []
            missing = [columns[name] for name in ("wav", "text") if columns[name] not in header]
            if missing:
                raise DataError(f"{path}:1: there is no column {' or '.join(missing)}; the columns are {', '.join(header)}")
            for row in table:
                wav, text = (row[columns["wav"]] or "").strip(), " ".join((row[columns["text"]] or "").split())
                utt_id = (row.get(columns["id"]) or Path(wav).stem).strip()
                if not wav or not text:
                    faults.append(Fault(str(path), table.line_num, f"the row has no {'audio path' if not wav else 'text'}"))
                elif not (path.parent / wav).is_file():
                    faults.append(Fault(str(path), table.line_num, f"there is no file {path.parent / wav}"))
                elif utt_id in seen:
                    repeated.append((table.line_num, utt_id))
                else:
                    seen[utt_id] = table.line_num
                    rows.append((utt_id, path.parent / wav, text, (row.get(columns["speaker"]) or utt_id).strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8: {error}") from error
    if not rows and not faults:
        faults.append(Fault(str(path), 1, "there are no rows"))
    if repeated:
        line, utt_id = repeated[0]
        told = "" if columns["id"] in header else "; an utterance is named by its audio file here, and files of several " \
            f"folders have the same name: add a column {columns['id']} whose values differ, such as folder_{utt_id}"
        faults.append(Fault(str(path), line, f"duplicate id {utt_id!r}, first on line {seen[utt_id]} "
                                             f"({len(repeated):,} rows repeat an id){told}"))
    stop_at_faults(f"{path} is not usable", faults)
    return rows


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--csv", type=Path, required=True, help="the table; .tsv files are separated by tabs, others by commas")
    options.add_argument("--out", type=Path, required=True, help="data directory to write; one that is there is replaced with --force")
    options.add_argument("--wav-column", default="wav", help="column of the audio paths")
    options.add_argument("--text-column", default="text", help="column of the texts")
    options.add_argument("--speaker-column", default="speaker", help="column of the speakers, if there is one")
    options.add_argument("--id-column", default="id", help="column of the utterance ids, if there is one")
    args = options.parse_args()

    if args.out.exists() and not args.force:
        raise DataError(f"{args.out} is there already; add --force to replace it")
    columns = {"wav": args.wav_column, "text": args.text_column, "speaker": args.speaker_column, "id": args.id_column}
    rows = read_rows(args.csv, columns, "\t" if args.csv.suffix == ".tsv" else ",")
    data = DataDir(args.out, with_durations(rows, str(args.csv)))
    write_data_dir(args.out, data)
    print(f"wrote {describe(data)}")


if __name__ == "__main__":
    run(main)
