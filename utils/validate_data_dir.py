"""The Python part of validate_data_dir.sh."""

import sys

import option_types
from cli import Parser, progress, run

from comflp.data.data_dir import read_data_dir, validate_data_dir


def main():
    options = Parser(prog="validate_data_dir.sh", description="Explain every fault of a Kaldi data directory.", allow_abbrev=False)
    options.add_argument("directory", type=option_types.folder, help="the data directory")
    options.add_argument("--no-text", action="store_true", help="the file text may be missing")
    options.add_argument("--allow-pipes", action="store_true", help="accept shell commands in wav.scp; they may be run")
    options.add_argument("--check-audio", action="store_true", help="also read every audio file to its end")
    args = options.parse_args()
    faults = validate_data_dir(args.directory, not args.no_text, args.allow_pipes, args.check_audio, progress)
    for fault in faults:
        print(fault)
    if faults:
        print(f"{args.directory}: {len(faults)} faults", file=sys.stderr)
        sys.exit(1)
    data = read_data_dir(args.directory, not args.no_text, args.allow_pipes, progress)
    speakers = len({utterance.speaker for utterance in data})
    print(f"{args.directory}: sound; {len(data):,} utterances of {speakers:,} speakers, {data.seconds / 3600:.2f} h")


if __name__ == "__main__":
    run(main)
