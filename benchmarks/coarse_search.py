#!/usr/bin/env python3
"""How long coarse search takes against the depth of the model: the exact search, the beam of Algorithm 1, and trying everything."""

import argparse
import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from measuring import Stopwatch, least, machine, measured, table

from comflp.artifacts import write_json
from comflp.search import coarse_search, coarse_searches
from comflp.search.coarse.search import METHODS, found_of_best

BEAM_SIZE = 10
DEPTHS = (6, 12, 24, 48, 96, 192, 384, 1000)
DEEPEST_BEAM = 96
"""The beam scores every extension of every proposal, which takes minutes in deeper models."""
DEEPEST_ENUMERATION = 12
"""All 924 proposals of 6 of 12 layers can be tried; of 12 of 24 there are 2,704,156."""


def matrix_of(num_layers, seed=0):
    """A matrix as networks have: neighbours nearly 1, falling with distance, at a rate that varies from pair to pair."""
    rng = np.random.default_rng(seed)
    index = np.arange(num_layers + 1)
    distance = np.abs(index[:, None] - index[None, :])
    matrix = 1 / (1 + 0.02 * distance * rng.uniform(0.5, 1.5, size=distance.shape))
    return (matrix + matrix.T) / 2


def enumeration(matrix, num_prune):
    """The ``BEAM_SIZE`` best qualities, best first, of all proposals of ``num_prune`` layers."""
    num_layers = len(matrix) - 1
    sets = np.array(list(itertools.combinations(range(1, num_layers + 1), num_prune)))
    removed = np.zeros((len(sets), num_layers + 2), dtype=np.int8)
    np.put_along_axis(removed, sets, 1, axis=1)
    steps = np.diff(removed, axis=1)
    (rows, starts), (_, ends) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    quality = np.bincount(rows, matrix[starts, ends]) / np.bincount(rows)
    return np.sort(quality)[::-1][:BEAM_SIZE]


def one_depth(num_layers):
    """Times of every method for half of ``num_layers``, and how many of the true best the beam finds."""
    matrix, num_prune = matrix_of(num_layers), num_layers // 2
    methods = [method for method in METHODS if method != "beam" or num_layers <= DEEPEST_BEAM]
    repeats = 5 if num_layers <= 96 else 2
    result = {method: least(repeats, coarse_search, matrix, num_prune, BEAM_SIZE, method) for method in methods}
    found = {method: coarse_search(matrix, num_prune, BEAM_SIZE, method) for method in methods}
    if num_layers <= DEEPEST_ENUMERATION:
        result["enumeration"] = least(repeats, enumeration, matrix, num_prune)
        assert np.allclose(enumeration(matrix, num_prune), [candidate.quality for candidate in found["exact"]])
    result["best"] = {method: candidates[0].quality for method, candidates in found.items()}
    if "beam" in found:
        result["found_by_beam"] = found_of_best(found["beam"], found["exact"])
    return result


def every_number(num_layers):
    """Time of one call for all N from 1 to L-1."""
    matrix = matrix_of(num_layers)
    watch = Stopwatch()
    coarse_searches(matrix, range(1, num_layers), BEAM_SIZE)
    return watch.read()


def plot(results, path):
    """Seconds against depth, both logarithmic."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    for method in METHODS:
        depths = [depth for depth in results if method in results[depth]]
        axes.loglog(depths, [results[depth][method]["cpu_seconds"] for depth in depths], marker="o", label=method)
    axes.set_xlabel("layers L (half of them removed)")
    axes.set_ylabel("CPU seconds")
    axes.set_title(f"Coarse search, K={BEAM_SIZE}")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    arguments.add_argument("--out", default="benchmarks/results/coarse_search.json", help="where the figures go; the plot beside it")
    arguments.add_argument("--deepest", type=int, default=1000, help="layers of the deepest model")
    options = arguments.parse_args()
    environment = machine()
    results, rows = {}, []
    for depth in (depth for depth in DEPTHS if depth <= options.deepest):
        result = results[depth] = measured(one_depth, depth)
        rows.append({
            "L": depth,
            "N": depth // 2,
            **{method: times(result.get(method)) for method in (*METHODS, "enumeration")},
            "peak GB": result["peak_gb"],
            "true best 10 in the beam": result.get("found_by_beam", "-"),
        })
    every = measured(every_number, 96)
    print(table(rows))
    print(f"\nexact, every N of L=96 in one call: {times(every)}\nseconds (CPU seconds); the least of several calls")
    out = Path(options.out)
    write_json(out, {"machine": environment, "depths": results, "every_n_of_96": every})
    plot(results, out.with_suffix(".png"))


def times(reading):
    return "-" if reading is None else f"{reading['seconds']:.3f} ({reading['cpu_seconds']:.3f})"


if __name__ == "__main__":
    main()
