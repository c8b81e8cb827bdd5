#!/usr/bin/env python3
"""How much a measure's best proposals depend on which utterances it saw.

The hidden states of a large dump are divided into disjoint probe sets. For each measure and batch size, coarse search takes
the best ten of each probe set; the table has how many of them two probe sets share on average.
"""

import argparse
import itertools
import warnings
from collections import Counter

import numpy as np
from measuring import Stopwatch, machine, table

from comflp.artifacts import write_json
from comflp.inference import hidden_states
from comflp.measures import correlation_matrix
from comflp.search import coarse_search

TOP = 10
BATCH_SIZES = (4, 32, 128, 512)


def settings(probe_size):
    """(measure, options, utterances it uses of a probe set)."""
    # The paper's own setting first: 10 batches of 4; then all of the probe set, in batches of each size.
    yield "dc", {"batch_size": 4, "num_batch": 10}, 40
    for measure in ("dc", "dc_released", "dc_unbiased"):
        for size in (size for size in BATCH_SIZES if size <= probe_size):
            yield measure, {"batch_size": size, "num_batch": probe_size // size}, probe_size
    for measure, options in (
        ("svcca", {}), ("svcca_released", {}), ("pwcca", {}), ("cka", {}), ("cka", {"debiased": True}), ("cosine", {}), ("angular", {}),
    ):
        yield measure, options, probe_size


def stability(hidden, probe_sets, measure, options, num_prune):
    """Shared and agreed proposals of the probe sets' top tens, and the spread of the quality of one proposal."""
    watch = Stopwatch()
    matrices = [correlation_matrix(hidden[rows], measure, **options) for rows in probe_sets]
    seconds = watch.read()["cpu_seconds"] / len(probe_sets)
    found = [coarse_search(matrix, num_prune, TOP) for matrix in matrices]
    tops = [{candidate.proposal for candidate in candidates} for candidates in found]
    first = Counter(candidates[0].proposal for candidates in found)
    mean = coarse_search(np.mean(matrices, axis=0), num_prune, TOP)
    return {
        "shared": float(np.mean([len(one & other) for one, other in itertools.combinations(tops, 2)])),
        "same_first": first.most_common(1)[0][1],
        "most_common_first": str(first.most_common(1)[0][0]),
        "spread": float(np.std([mean[0].proposal.quality(matrix) for matrix in matrices])),
        "first_to_tenth": mean[0].quality - mean[-1].quality,
        "cpu_seconds": seconds,
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    arguments.add_argument("--hidden", required=True, help="directory of stage 1's hidden states, of many utterances")
    arguments.add_argument("--probe-size", type=int, default=512, help="utterances of a probe set")
    arguments.add_argument("--num-prune", type=int, default=6, help="N, layers to remove")
    arguments.add_argument("--seed", type=int, default=0, help="seed for the random division into probe sets")
    arguments.add_argument("--out", default="benchmarks/results/measure_stability.json", help="where the figures go")
    options = arguments.parse_args()
    utt_ids, hidden = hidden_states.read(options.hidden)
    count = len(utt_ids) // options.probe_size
    if count < 2:
        raise SystemExit(f"{len(utt_ids)} utterances do not make two probe sets of {options.probe_size}")
    order = np.random.default_rng(options.seed).permutation(len(utt_ids))[: count * options.probe_size]
    probe_sets = [np.sort(rows) for rows in np.split(order, count)]
    results, rows = [], []
    warnings.simplefilter("ignore", UserWarning)  # few utterances for CCA: that is what the table shows
    for measure, chosen, used in settings(options.probe_size):
        result = stability(np.asarray(hidden), probe_sets, measure, chosen, options.num_prune)
        results.append({"measure": measure, "options": chosen, "utterances": used, **result})
        rows.append({
            "measure": measure,
            "options": ", ".join(f"{name.replace('_', '-')} {value}" for name, value in chosen.items()) or "-",
            "utterances": used,
            f"shared of {TOP}": f"{result['shared']:.1f}",
            f"same first, of {count}": result["same_first"],
            "sd of v of the best": f"{result['spread']:.5f}",
            "v, first minus tenth": f"{result['first_to_tenth']:.5f}",
            "CPU s": f"{result['cpu_seconds']:.2f}",
        })
    print(f"{count} disjoint probe sets of {options.probe_size} utterances, {hidden.shape[1] - 1} layers, N={options.num_prune}\n")
    print(table(rows))
    write_json(options.out, {"machine": machine(), "probe_sets": count, "results": results})


if __name__ == "__main__":
    main()
