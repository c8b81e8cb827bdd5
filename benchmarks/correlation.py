#!/usr/bin/env python3
"""How long correlation matrices take, and how much memory, against SVCCA pair by pair from the activations."""

import argparse

import numpy as np
from measuring import Stopwatch, machine, measured, table

from comflp.artifacts import write_json
from comflp.measures import correlation_matrix

PAIRS = ((0, 1), (3, 9), (0, 12))


def hidden_states(count, outputs, width, decay):
    """(count, outputs, width) float32, in which each layer adds something to the last one.

    decay: the k-th principal direction of a layer is as strong as 1/k ** decay. With 1, as in trained networks, 99% of the
    variance is in 56 of 768 directions; with 0, the slowest case for SVCCA, in nearly all of them.
    """
    rng = np.random.default_rng(0)
    strengths = (1 / np.arange(1, width + 1) ** decay).astype(np.float32)
    hidden = np.empty((count, outputs, width), dtype=np.float32)
    state = np.zeros((count, width), dtype=np.float32)
    for layer in range(outputs):
        state += (0.3 if layer else 1) * rng.standard_normal((count, width), dtype=np.float32)
        rotation = np.linalg.qr(rng.standard_normal((width, width), dtype=np.float32))[0]
        hidden[:, layer] = state * strengths @ rotation + 1
    return hidden


def pair_svcca(first, second, variance=0.99):
    """SVCCA of two layers straight from its definition: SVD of each, CCA of what is kept."""
    kept = []
    for layer in (first, second):
        layer = layer.astype(np.float64)
        left, values, _ = np.linalg.svd(layer - layer.mean(axis=0), full_matrices=False)
        share = np.cumsum(values**2) / np.sum(values**2)
        kept.append((left * values)[:, : int(np.argmax(share >= variance)) + 1])
    bases = [np.linalg.qr(layer)[0] for layer in kept]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()


def whole_matrix(measure, shape, decay, options):
    hidden = hidden_states(*shape, decay)
    watch = Stopwatch()
    matrix = correlation_matrix(hidden, measure, **options)
    return {**watch.read(), "input_gb": round(hidden.nbytes / 1e9, 2), "matrix": matrix.tolist()}


def pair_by_pair(shape, decay):
    hidden = hidden_states(*shape, decay)
    watch = Stopwatch()
    values = [float(pair_svcca(hidden[:, i], hidden[:, j])) for i, j in PAIRS]
    return {**{key: value / len(PAIRS) for key, value in watch.read().items()}, "values": values}


BASE, LARGE = (9600, 13, 768), (9600, 25, 1024)
CASES = {
    "svcca 13 x 9600 x 768": ("svcca", BASE, 1, {}),
    "svcca 13 x 9600 x 768, flat spectrum": ("svcca", BASE, 0, {}),
    "svcca_released 13 x 9600 x 768": ("svcca_released", BASE, 1, {}),
    "svcca 25 x 9600 x 1024": ("svcca", LARGE, 1, {}),
    "svcca 25 x 9600 x 1024, flat spectrum": ("svcca", LARGE, 0, {}),
    "dc 25 x 1024, 10 x B=4": ("dc", (600, 25, 1024), 1, {"batch_size": 4, "num_batch": 10}),
    "dc 25 x 1024, 10 x B=512": ("dc", (5120, 25, 1024), 1, {"batch_size": 512, "num_batch": 10}),
    "pwcca 13 x 9600 x 768": ("pwcca", BASE, 1, {}),
    "cka 13 x 9600 x 768": ("cka", BASE, 1, {}),
    "angular 13 x 9600 x 768": ("angular", BASE, 1, {}),
}
AGAINST_PAIRS = ("svcca 13 x 9600 x 768", "svcca 13 x 9600 x 768, flat spectrum")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    arguments.add_argument("--out", default="benchmarks/results/correlation.json", help="where the figures go")
    arguments.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES), help="which to run")
    options = arguments.parse_args()
    report = {"machine": machine(), "matrices": {}, "pair_by_pair": {}}
    rows = []
    for name in options.cases:
        result = measured(whole_matrix, *CASES[name])
        matrix = np.array(result.pop("matrix"))
        report["matrices"][name] = result
        rows.append({
            "matrix": name, "seconds": f"{result['seconds']:.2f}", "CPU seconds": f"{result['cpu_seconds']:.2f}",
            "peak GB": result["peak_gb"], "of which input": result["input_gb"],
        })
        print(f"{name}: {result['seconds']:.2f} s", flush=True)
        if name in AGAINST_PAIRS:
            pairs = report["pair_by_pair"][name] = against_pairs(CASES[name], result, matrix)
            print(f"  pair by pair from the activations: {pairs['seconds']:.2f} s a pair ({pairs['cpu_seconds']:.2f} CPU s); all "
                  f"{pairs['pairs']} pairs take {pairs['speed_up']:.0f} times as long as the matrix ({pairs['cpu_speed_up']:.0f} "
                  f"times the CPU seconds); largest difference {pairs['largest_difference']:.1e}", flush=True)
        write_json(options.out, report)
    print("\n" + table(rows))


def against_pairs(case, whole, matrix):
    _, shape, decay, _ = case
    outputs = shape[1]
    result = measured(pair_by_pair, shape, decay)
    pairs = outputs * (outputs - 1) // 2
    values = result.pop("values")
    return {
        **result,
        "pairs": pairs,
        "speed_up": result["seconds"] * pairs / whole["seconds"],
        "cpu_speed_up": result["cpu_seconds"] * pairs / whole["cpu_seconds"],
        "largest_difference": max(abs(matrix[pair] - value) for pair, value in zip(PAIRS, values)),
    }


if __name__ == "__main__":
    main()
