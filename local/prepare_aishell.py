#!/usr/bin/env python3
"""Stage 0: a corpus in AISHELL-1's layout becomes data/train, data/dev and data/test.

Reads CORPUS/data_aishell (or CORPUS itself) with
    wav/{train,dev,test}/S0002/BAC009S0002W0122.wav
    transcript/aishell_transcript_v0.8.txt           <utterance> <words separated by spaces>
Text is the transcript without its spaces. Wav files without a transcript are left out, and transcripts without a wav
file too; both are counted. (The full corpus has wav files without a transcript.)
"""

import sys
from pathlib import Path

import option_types
from cli import parser, run, true_or_false
from corpus import ELSEWHERE, data_files, describe, find_files, sources, up_to_date, with_durations

from comflp.artifacts import fingerprint_value
from comflp.data.data_dir import DataDir, write_data_dir
from comflp.data.tables import DataError, Fault, read_table, stop_at_faults
from comflp.record import Stage

SETS = ("train", "dev", "test")
PUBLISHED = {"train": 120_098, "dev": 14_326, "test": 7_176}
TRANSCRIPT = Path("transcript") / "aishell_transcript_v0.8.txt"


def find_corpus(path):
    """The folder that holds wav/ and transcript/."""
    for folder in (path / "data_aishell", path):
        if (folder / TRANSCRIPT).is_file() and (folder / "wav").is_dir():
            return folder
    raise DataError(f"{path} holds no AISHELL-1: neither it nor its data_aishell/ has wav/ and {TRANSCRIPT} "
                    "(recipes/aishell1/local/download.sh fetches and unpacks it)")


def read_transcript(path):
    """{utterance: text without spaces}. Raises DataError with file and line for duplicates and empty transcripts."""
    faults = []
    table = read_table(path, faults)
    texts = {}
    for utt_id, (words, number) in table.items():
        texts[utt_id] = "".join(words.split())
        if not words:
            faults.append(Fault(str(path), number, f"utterance {utt_id!r} has an empty transcript"))
    stop_at_faults(f"{path} is not usable", faults)
    return texts


def find_wavs(folder):
    """{utterance: (path, speaker)} of wav/<set>, where each speaker has a folder. Raises DataError for a repeated name."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    packed = find_files(folder.parent, "*.tar.gz")
    wavs = {}
    for path in find_files(folder, "*/*.wav"):
        if path.stem in wavs:
            raise DataError(f"utterance {path.stem!r} is twice in the corpus: {wavs[path.stem][0]} and {path}")
        wavs[path.stem] = (path, path.parent.name)
    if not wavs:
        hint = f"; unpack the {len(packed)} archives beside it (recipes/aishell1/local/download.sh does)" if packed else ""
        raise DataError(f"{folder} holds no speaker folders with wav files{hint}")
    return wavs


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--corpus", type=option_types.folder, required=True, help="folder that holds data_aishell/")
    options.add_argument("--data", type=option_types.new_path, default=Path("data"), help="gets train/, dev/ and test/")
    options.add_argument("--check-counts", type=true_or_false, default=False, metavar="true|false",
                         help="warn when the sets do not have the published numbers of utterances")
    args = options.parse_args()

    corpus = find_corpus(args.corpus)
    texts = read_transcript(corpus / TRANSCRIPT)
    wavs = {name: find_wavs(corpus / "wav" / name) for name in SETS}
    entries = {name: [(utt_id, path, texts[utt_id], speaker) for utt_id, (path, speaker) in wavs[name].items() if utt_id in texts] for name in SETS}
    directories = [args.data / name for name in SETS]
    stage = Stage(args.data / "prepare.record.json", "stage 0, prepare_aishell", {},
                  {"transcript": fingerprint_value(texts), "wavs": fingerprint_value({name: sorted(wavs[name]) for name in SETS})},
                  force=args.force, elsewhere=ELSEWHERE)
    if up_to_date(stage, {args.data / name: sources(found) for name, found in entries.items()}):
        print(f"{args.data}/{{train,dev,test}} are up to date")
        return
    sets, counts = [], {}
    for name, directory in zip(SETS, directories):
        if not entries[name]:
            raise DataError(f"no wav file of {corpus / 'wav' / name} has a transcript in {corpus / TRANSCRIPT}")
        sets.append(DataDir(directory, with_durations(entries[name], name)))
        counts[name] = {"utterances": len(entries[name]), "wavs_without_transcript": len(wavs[name]) - len(entries[name])}
    for name, data in zip(SETS, sets):
        write_data_dir(data.path, data, args.force)
        print(describe(data) + f"; {counts[name]['wavs_without_transcript']} wavs without a transcript left out")
        if args.check_counts and len(data) != PUBLISHED[name]:
            print(f"warning: {name} has {len(data):,} utterances, AISHELL-1 as published has {PUBLISHED[name]:,}", file=sys.stderr)
    missing = len(texts.keys() - {utt_id for found in wavs.values() for utt_id in found})
    stage.finish(data_files(*directories), counts=counts, transcripts_without_wav=missing)
    print(f"wrote {args.data}/{{train,dev,test}}; {missing} transcripts have no wav file")


if __name__ == "__main__":
    run(main)
