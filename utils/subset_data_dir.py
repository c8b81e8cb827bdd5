#!/usr/bin/env python3
"""Draw utterances at random from a Kaldi data directory into another.

    . ./path.sh && python utils/subset_data_dir.py --data data/train --num-utterances 1000 --out data/train_1k
"""

import option_types
from cli import parser, progress, run
from corpus import ELSEWHERE, find_files, holds

from comflp.artifacts import check_apart, read_json
from comflp.data.data_dir import DataDir, read_data_dir, subset, write_data_dir
from comflp.errors import ComflpError
from comflp.record import Stage


def is_of_others(record):
    """Whether a file can be read and is not what this script leaves beside its data directories; a damaged one may be."""
    try:
        content = read_json(record)
    except ComflpError:
        return False
    return not isinstance(content, dict) or content.get("stage") != "subset_data_dir"


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=option_types.folder, required=True, help="data directory to draw from")
    options.add_argument("--num-utterances", type=option_types.positive, required=True, help="utterances to draw")
    options.add_argument("--out", type=option_types.new_named_path, required=True,
                         help="data directory to write; OUT.json gets source, count and seed")
    options.add_argument("--seed", type=option_types.seed, default=1, help="seed for the random draw")
    options.add_argument("--allow-pipes", action="store_true", help="accept shell commands in wav.scp; they may be run")
    args = options.parse_args()

    check_apart(args.out, args.data)
    record = args.out.with_name(f"{args.out.name}.json")
    if record.exists() and is_of_others(record):
        raise ComflpError(f"{record} is there already and is no record of this script; give another --out")
    if args.out.exists() and not record.exists() and not args.force:
        raise ComflpError(f"{args.out} is there already; add --force to replace it")
    data = read_data_dir(args.data, require_text=False, allow_pipes=args.allow_pipes, progress=progress)
    stage = Stage(record, "subset_data_dir",
                  {"num_utterances": args.num_utterances, "seed": args.seed}, {"data": data.fingerprint()}, force=args.force, elsewhere=ELSEWHERE)
    drawn = DataDir(args.out, subset(data, args.num_utterances, args.seed))
    if stage.up_to_date() and holds(drawn, args.allow_pipes):
        print(f"{args.out} is up to date")
        return
    write_data_dir(args.out, drawn, args.force)
    stage.finish(find_files(args.out, "*"), source=str(args.data))
    print(f"wrote {args.out}: {args.num_utterances:,} of {len(data):,} utterances")


if __name__ == "__main__":
    run(main)
