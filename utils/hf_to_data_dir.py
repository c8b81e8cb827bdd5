#!/usr/bin/env python3
"""Turn a Hugging Face datasets folder on disk into a Kaldi data directory.

    . ./path.sh && python utils/hf_to_data_dir.py --dataset DIR --split train --text-column sentence --out data/train

DIR is what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote (arrow files), or a copy of a dataset repository
with parquet files. Audio that is inside those files is written to OUT_audio/, as it is; audio that they only name is
used where it lies. Needs the package pyarrow, and not datasets itself.
"""

from dataclasses import replace

import option_types
from cli import parser, progress, run
from corpus import AUDIO, check_new, describe, recipe_path, with_durations

from comflp.artifacts import atomic_directory
from comflp.data.data_dir import DATA_DIRECTORY, DataDir, write_data_dir
from comflp.data.saved_datasets import as_text, find_tables, is_audio, read_rows, write_audio
from comflp.data.tables import Fault, id_fault, stop_at_faults


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
            utt_id = f"{name}-{len(entries):07d}" if id_column is None else as_text(row[id_column])
            text, audio = " ".join(as_text(row[text_column]).split()), row[audio_column]
            speaker = (as_text(row[speaker_column]) if speaker_column else "") or utt_id
            fault = id_fault(utt_id) or id_fault(speaker) or (None if text else "the text is empty")
            if fault is None and utt_id in seen:
                fault = f"duplicate id {utt_id!r}"
            if fault is None and not is_audio(audio):
                fault = f"column {audio_column} holds no audio"
            if fault is not None:
                faults.append(Fault(place, 0, fault))
                continue
            seen.add(utt_id)
            entries.append((utt_id, write_audio(audio, dataset, folder / utt_id), text, speaker, place))
    stop_at_faults(f"{dataset} is not usable", faults)
    return entries


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--dataset", type=option_types.folder, required=True, help="the folder on disk")
    options.add_argument("--split", type=option_types.some_name, help="split, where the folder has several")
    options.add_argument("--out", type=option_types.new_named_path, required=True,
                         help="data directory to write, and OUT_audio beside it; others that are there are replaced with --force")
    options.add_argument("--audio-column", type=option_types.column, default="audio", help="column of the audio")
    options.add_argument("--text-column", type=option_types.column, default="text", help="column of the texts")
    options.add_argument("--speaker-column", type=option_types.column, help="column of the speakers; without it, or where it is empty, each is its own")
    options.add_argument("--id-column", type=option_types.column, help="column of the ids; without it they are numbers")
    args = options.parse_args()

    audio = args.out.with_name(f"{args.out.name}_audio")
    for path, kind in ((args.out, DATA_DIRECTORY), (audio, AUDIO)):
        check_new(path, kind, args.dataset, args.force)
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
