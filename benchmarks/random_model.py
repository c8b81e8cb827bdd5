#!/usr/bin/env python3
"""A model of wav2vec2-base's sizes with random weights, and the same without its upper six layers, for benchmarks/deploy.py.

    python benchmarks/random_model.py EXP      writes EXP/deep and EXP/half, which say nothing and cost what trained ones do
"""

import argparse
from pathlib import Path

from fine_search import NUM_LAYERS, wav2vec2_model

from comflp.proposal import PruningProposal


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("exp", type=Path, help="experiment directory to write")
    exp = arguments.parse_args().exp
    deep = wav2vec2_model()
    deep.save(exp / "deep")
    deep.prune(PruningProposal.parse(f"{NUM_LAYERS // 2 + 1}-{NUM_LAYERS}", NUM_LAYERS)).save(exp / "half")


if __name__ == "__main__":
    main()
