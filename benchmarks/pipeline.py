#!/usr/bin/env python3
"""Seconds of each stage of a finished run, from the records that the stages left.

    python benchmarks/pipeline.py --exp recipes/mini/exp/transformer12

Fine search decodes all its lists in one walk and each list has a record with the time of the whole, so the
longest of them counts; the other stages' records are added up.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from comflp.artifacts import read_json

_ONE_WALK = "stage4"


def stage_seconds(exp):
    """{stage name: seconds} of an experiment directory, in the order of the stages."""
    seconds = defaultdict(list)
    for path in sorted(Path(exp).rglob("*record.json")):
        record = read_json(path)
        seconds[record["stage"]].append(record["seconds"])
    return {
        name: max(values) if name.startswith(_ONE_WALK) else sum(values) for name, values in sorted(seconds.items())
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--exp", required=True, help="experiment directory of a deep model")
    seconds = stage_seconds(arguments.parse_args().exp)
    print("| stage | seconds |\n|---|---:|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.1f} |")
    print(f"| all | {sum(seconds.values()):.1f} |")


if __name__ == "__main__":
    main()
