#!/usr/bin/env python3
"""Draw utterances at random from a Kaldi data directory into another.

    . ./path.sh && python utils/subset_data_dir.py --data data/train --num-utterances 1000 --out data/train_1k
"""

from pathlib import Path

from cli import parser, run

from comflp.data.data_dir import read_data_dir, subset, write_data_dir
from comflp.record import Stage


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="data directory to draw from")
    options.add_argument("--num-utterances", type=int, required=True, help="utterances to draw")
    options.add_argument("--out", type=Path, required=True, help="data directory to write; OUT.json gets source, count and seed")
    options.add_argument("--seed", type=int, default=1, help="seed of the draw")
    options.add_argument("--allow-pipes", action="store_true", help="accept shell commands in wav.scp; they may be run")
    args = options.parse_args()

    data = read_data_dir(args.data, require_text=False, allow_pipes=args.allow_pipes)
    stage = Stage(args.out.with_name(f"{args.out.name}.json"), "subset_data_dir",
                  {"num_utterances": args.num_utterances, "seed": args.seed}, {"data": data.fingerprint()}, force=args.force)
    if stage.up_to_date():
        print(f"{args.out} is up to date")
        return
    write_data_dir(args.out, subset(data, args.num_utterances, args.seed))
    stage.finish([path for path in args.out.iterdir() if path.is_file()], source=str(args.data))
    print(f"wrote {args.out}: {args.num_utterances:,} of {len(data):,} utterances")


if __name__ == "__main__":
    run(main)
