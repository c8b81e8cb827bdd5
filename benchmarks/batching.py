#!/usr/bin/env python3
"""What batches cost a model that reads padding: padded frames and batches of utterances as long as LibriSpeech's.

python benchmarks/batching.py [--utterances N] [--max-seconds S]

Lengths are drawn from a log-normal of mean 7 s, as dev-clean has them, in whole samples. "equal lengths only" is the rule
that such models had: a batch took utterances of one length. No model runs; the figures are of the batches alone.
"""

import argparse

import numpy as np
from measuring import table

from comflp.data.batching import make_batches
from comflp.data.data_dir import Utterance

SAMPLE_RATE = 16000
SIGMA = 0.65


def utterances(count, seed):
    """Utterances whose lengths are log-normal with mean 7 s, between 1.4 and 32 s."""
    seconds = np.random.default_rng(seed).lognormal(np.log(7.0) - SIGMA**2 / 2, SIGMA, count).clip(1.4, 32.0)
    return [Utterance(f"u{i:05d}", "", "", "", round(s * SAMPLE_RATE) / SAMPLE_RATE) for i, s in enumerate(seconds)]


def row(rule, batches, spoken):
    padded = sum(len(batch) * max(utterance.duration for utterance in batch) for batch in batches)
    return {"rule": rule, "batches": len(batches), "utterances a batch": f"{sum(map(len, batches)) / len(batches):.1f}",
            "padded share": f"{1 - spoken / padded:.3f}"}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--utterances", type=int, default=2703, help="how many lengths are drawn (dev-clean has 2,703)")
    arguments.add_argument("--max-seconds", type=float, default=160.0, help="padded seconds of audio in a batch")
    arguments.add_argument("--seed", type=int, default=0, help="seed for the lengths")
    options = arguments.parse_args()
    drawn = utterances(options.utterances, options.seed)
    spoken = sum(utterance.duration for utterance in drawn)
    print(table([
        row("equal lengths only", make_batches(drawn, max_seconds=options.max_seconds, max_padding=0.0), spoken),
        row("similar lengths", make_batches(drawn, max_seconds=options.max_seconds), spoken),
    ]))


if __name__ == "__main__":
    main()
