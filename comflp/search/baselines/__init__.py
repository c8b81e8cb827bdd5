"""Proposals that CoMFLP is compared with: fixed rules, random draws, greedy pruning by error rate, linear probes."""

from comflp.search.baselines.fixed import FIXED, NUM_RANDOM, bottom, middle, random, top, uniform

__all__ = ["FIXED", "NUM_RANDOM", "bottom", "middle", "random", "top", "uniform"]
