#!/usr/bin/env python3
"""Seconds of each stage of a finished run, from the records that the stages left.

    python benchmarks/pipeline.py --exp recipes/mini/exp/transformer12
"""

import argparse
from pathlib import Path

from comflp.artifacts import read_json
from comflp.record import seconds_of_stages


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--exp", type=Path, required=True, help="experiment directory of a deep model")
    exp = arguments.parse_args().exp
    seconds = seconds_of_stages(read_json(path) for path in exp.rglob("*record.json"))
    print("| stage | seconds |\n|---|---:|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.1f} |")
    print(f"| all | {sum(seconds.values()):.1f} |")


if __name__ == "__main__":
    main()
