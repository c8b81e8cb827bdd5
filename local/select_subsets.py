#!/usr/bin/env python3
"""Stage 0: draw data/valid (the fine search's utterances) and data/probe (the measure's).

data/valid comes from dev, or with --valid-from test from test, as the paper does; then the test set chooses the
proposal. data/probe comes from train, and needs no texts. What was drawn, from where and with which seed is kept in data/subsets.json.
"""

from pathlib import Path

import option_types
from cli import parser, progress, run
from corpus import ELSEWHERE, data_files, describe, holds, refuse_corrected

from comflp.artifacts import require
from comflp.data.data_dir import DataDir, read_data_dir, subset, write_data_dir
from comflp.record import Stage


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=option_types.folder, default=Path("data"), help="holds train/, dev/ and test/; gets valid/ and probe/")
    options.add_argument("--valid-from", choices=("dev", "test"), default="dev", help="set that valid is drawn from")
    options.add_argument("--valid-draw", choices=("random", "first"), default="random",
                         help="how valid is drawn; first is what the released code of the paper does")
    options.add_argument("--num-valid", type=option_types.positive, default=320, help="utterances of valid; all of the set if it has fewer")
    options.add_argument("--num-probe", type=option_types.positive, default=512, help="utterances of probe; all of train if it has fewer. The "
                         "paper takes 9,600 for SVCCA; DC needs 40 (10 batches of 4)")
    options.add_argument("--seed", type=option_types.seed, default=1, help="seed for both random draws")
    options.add_argument("--allow-pipes", action="store_true", help="accept shell commands in wav.scp; they will be run")
    args = options.parse_args()

    wanted = {"valid": (args.valid_from, args.num_valid), "probe": ("train", args.num_probe)}
    sources = {source: read_data_dir(require(args.data / source, "stage 0 (the recipe's local/prepare.sh)"), require_text=source != "train",
                                     allow_pipes=args.allow_pipes, progress=progress) for source, _ in wanted.values()}
    used = {"valid_from": args.valid_from, "valid_draw": args.valid_draw, "num_valid": args.num_valid, "num_probe": args.num_probe, "seed": args.seed}
    stage = Stage(args.data / "subsets.json", "stage 0, select_subsets", used,
                  {f"{source} data": data.fingerprint() for source, data in sources.items()}, force=args.force, elsewhere=ELSEWHERE)
    drawn, chosen, too_many = {}, {}, []
    for name, (source, count) in wanted.items():
        data = sources[source]
        if count > len(data):
            too_many.append(f"{name}: {count} utterances asked for, {source} has {len(data)}: all of them are taken")
        count = min(count, len(data))
        first = name == "valid" and args.valid_draw == "first"
        chosen[name] = DataDir(args.data / name, data.utterances[:count] if first else subset(data, count, args.seed))
        drawn[name] = {"source": source, "num_utterances": count, "seed": args.seed}
    refuse_corrected(stage, args.allow_pipes)
    if stage.up_to_date() and all(holds(data, args.allow_pipes) for data in chosen.values()):
        print(f"{args.data}/{{valid,probe}} are up to date")
        return
    for line in too_many:
        print(line)
    for name, data in chosen.items():
        write_data_dir(data.path, data, args.force)
        print(describe(data) + f", drawn from {drawn[name]['source']}")
    stage.finish(data_files(*(args.data / name for name in wanted)), drawn=drawn)
    print(f"wrote {args.data}/{{valid,probe}} and {args.data / 'subsets.json'}")


if __name__ == "__main__":
    run(main)
