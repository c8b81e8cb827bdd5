#!/usr/bin/env python3
"""Turn a CSV or TSV file of audio paths and texts into a Kaldi data directory.

    . ./path.sh && python utils/csv_to_data_dir.py --csv train.csv --out data/train

The first line names the columns, and every other line has as many. In a .csv file a value with a comma stands in
quotes; a .tsv file (such as Common Voice's) has no quoting. Relative paths start from the file's own folder,
or from clips/ in it, where Common Voice keeps its audio. Without an id column an utterance is named by its audio file
(files of different folders must then not share a name), without a speaker column, or with none in it, each is its own
speaker.
"""

from pathlib import Path

import option_types
from cli import parser, run
from corpus import check_new, describe, with_durations

from comflp.data.data_dir import DATA_DIRECTORY, DataDir, write_data_dir
from comflp.data.delimited import check_once, file_of, is_file, read_lines
from comflp.data.manifests import part_of
from comflp.data.tables import DataError, Fault, id_fault, stop_at_faults


def read_rows(path, columns, needed):
    """[(utterance, audio path, text, speaker, place)] of the table. Raises DataError with file and line.

    ``columns`` names the columns wav, text, speaker and id; those ``needed`` have to be there.
    """
    header, lines = read_lines(path)
    missing = [columns[name] for name in needed if columns[name] not in header]
    if missing:
        raise DataError(f"{path}:1: there is no column {' or '.join(missing)}; the columns are {', '.join(header)}")
    check_once(path, header, columns.values())
    rows, seen, repeated, faults = [], {}, [], []
    for line, values in lines:
        row = dict(zip(header, values))
        wav, text = row[columns["wav"]].strip(), " ".join(row[columns["text"]].split())
        utt_id = row.get(columns["id"], "").strip() or Path(wav).stem
        speaker = row.get(columns["speaker"], "").strip() or utt_id
        fault = _fault(path, wav, text, utt_id, speaker) or _fault_of_part(row)
        if fault is not None:
            faults.append(Fault(str(path), line, fault))
            continue
        if utt_id in seen:
            repeated.append((line, utt_id))
            continue
        seen[utt_id] = line
        rows.append((utt_id, file_of(path, wav), text, speaker, f"{path}:{line}"))
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


def _fault(path, wav, text, utt_id, speaker):
    """Why a row cannot be an utterance, or None."""
    if not wav or not text:
        return f"the row has no {'audio path' if not wav else 'text'}"
    if not wav.isprintable() or not is_file(file_of(path, wav)):
        return f"there is no file {str(path.parent / wav)!r}" if not wav.isprintable() else f"there is no file {path.parent / wav}"
    return id_fault(utt_id) or id_fault(speaker)


def _fault_of_part(row):
    """Why a row cannot be all of its recording, or None."""
    try:
        part = part_of(row)
    except ValueError as error:
        return str(error)
    return part and "the row is a part of its recording: write the table as a manifest, a JSON object a line, which utils/manifest_to_data_dir.py reads"


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--csv", type=option_types.file, required=True,
                         help="the table; .tsv files are separated by tabs, others by commas")
    options.add_argument("--out", type=option_types.new_named_path, required=True,
                         help="data directory to write; another one that is there is replaced with --force")
    options.add_argument("--wav-column", type=option_types.column, default="wav", help="column of the audio paths")
    options.add_argument("--text-column", type=option_types.column, default="text", help="column of the texts")
    options.add_argument("--speaker-column", type=option_types.column, help="column of the speakers; speaker, if there is one")
    options.add_argument("--id-column", type=option_types.column, help="column of the utterance ids; id, if there is one")
    args = options.parse_args()

    check_new(args.out, DATA_DIRECTORY, args.csv, args.force)
    columns = {"wav": args.wav_column, "text": args.text_column, "speaker": args.speaker_column or "speaker", "id": args.id_column or "id"}
    needed = ["wav", "text", *(["speaker"] if args.speaker_column else []), *(["id"] if args.id_column else [])]
    data = DataDir(args.out, with_durations(read_rows(args.csv, columns, needed), str(args.csv)))
    write_data_dir(args.out, data, args.force)
    print(f"wrote {describe(data)}")


if __name__ == "__main__":
    run(main)
