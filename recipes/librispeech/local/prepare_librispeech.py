#!/usr/bin/env python3
"""Stage 0: parts of LibriSpeech become data/train, data/dev, data/test and data/test_other.

Reads CORPUS/LibriSpeech (or CORPUS itself) with
    <part>/<speaker>/<chapter>/<speaker>-<chapter>-0000.flac
    <part>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt       <utterance> <TEXT>
The text is the corpus' own, which is normalised already: upper-case letters, apostrophes and single spaces, no digits
and no punctuation. With --letter-case lower it is lower-cased, for models whose vocabulary has lower-case letters.
"""

from pathlib import Path

import option_types
from cli import parser, run
from corpus import ELSEWHERE, data_files, describe, find_files, sources, up_to_date, with_durations

from comflp.artifacts import fingerprint_value
from comflp.data.data_dir import DataDir, write_data_dir
from comflp.data.tables import DataError, Fault, read_table, stop_at_faults
from comflp.record import Stage

PARTS = option_types.some_names


def find_part(corpus, part):
    """The folder of one part."""
    for folder in (corpus / "LibriSpeech" / part, corpus / part):
        if folder.is_dir():
            return folder
    raise DataError(f"{corpus} has no LibriSpeech/{part} (recipes/librispeech/local/download.sh fetches and unpacks it)")


def read_part(folder):
    """{utterance: (path, text)} of one part. Raises DataError listing what does not match, with file and line."""
    found, faults = {}, []
    transcripts = find_files(folder, "*/*/*.trans.txt")
    for transcript in transcripts:
        audio = {path.stem: path for path in find_files(transcript.parent, "*.flac")}
        table = read_table(transcript, faults)
        for utt_id, (text, number) in table.items():
            if not text:
                faults.append(Fault(str(transcript), number, f"utterance {utt_id!r} has an empty transcript"))
            elif utt_id not in audio:
                faults.append(Fault(str(transcript), number, f"there is no {utt_id}.flac"))
            elif utt_id in found:
                faults.append(Fault(str(transcript), number, f"utterance {utt_id!r} is in another transcript of {folder} too"))
            else:
                found[utt_id] = (audio[utt_id], " ".join(text.split()))
        faults += [Fault(str(transcript), 0, f"has no line for {audio[utt_id].name}") for utt_id in sorted(audio.keys() - table.keys())]
    if not transcripts:
        faults.append(Fault(str(folder), 0, "has no <speaker>/<chapter>/*.trans.txt"))
    stop_at_faults(f"{folder} is not a whole part of LibriSpeech", faults)
    return found


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--corpus", type=option_types.folder, required=True, help="folder that holds LibriSpeech/")
    options.add_argument("--data", type=option_types.new_path, default=Path("data"), help="gets a folder for each set")
    options.add_argument("--train", type=PARTS, default="train-clean-100", help="parts of data/train, separated by spaces")
    options.add_argument("--dev", type=PARTS, default="dev-clean", help="parts of data/dev")
    options.add_argument("--test", type=PARTS, default="test-clean", help="parts of data/test")
    options.add_argument("--test-other", type=PARTS, default="test-other", help="parts of data/test_other")
    options.add_argument("--letter-case", choices=("upper", "lower"), default="upper", help="letters of the text")
    args = options.parse_args()

    sets = {name: getattr(args, name).split() for name in ("train", "dev", "test", "test_other")}
    found = {name: {utt_id: entry for part in parts for utt_id, entry in read_part(find_part(args.corpus, part)).items()}
             for name, parts in sets.items()}
    directories = [args.data / name for name in sets]
    texts = {name: {utt_id: text for utt_id, (_, text) in entries.items()} for name, entries in found.items()}
    stage = Stage(args.data / "prepare.record.json", "stage 0, prepare_librispeech",
                  {"parts": sets, "letter_case": args.letter_case}, {"texts": fingerprint_value(texts)}, force=args.force, elsewhere=ELSEWHERE)
    change = str.lower if args.letter_case == "lower" else str.upper
    entries = {name: [(utt_id, path, change(text), utt_id.split("-")[0]) for utt_id, (path, text) in found[name].items()] for name in sets}
    if up_to_date(stage, {args.data / name: sources(each) for name, each in entries.items()}):
        print(f"{args.data}/{{{','.join(sets)}}} are up to date")
        return
    for data in [DataDir(directory, with_durations(entries[name], name)) for name, directory in zip(sets, directories)]:
        write_data_dir(data.path, data, args.force)
        print(describe(data))
    stage.finish(data_files(*directories))
    print(f"wrote {args.data}/{{{','.join(sets)}}}")


if __name__ == "__main__":
    run(main)
