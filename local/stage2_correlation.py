#!/usr/bin/env python3
"""Stage 2: the correlation matrix of the layers' hidden states, as .npy, .json and a heat map."""

import time
from pathlib import Path

import numpy as np
from cli import parser, progress, run, true_or_false
from plain_warnings import plain_warnings

from comflp import hidden_states
from comflp.artifacts import Stage, atomic_path, fingerprint_file, require, write_json
from comflp.measures import MEASURES, correlation_matrix, measure_named
from comflp.measures.heat_map import heat_map
from comflp.measures.matrix_file import read_matrix
from comflp.measures.registry import as_similarity

MEASURE_OPTIONS = {
    "batch_size": (int, "B, utterances of a batch (dc, dc_released, dc_unbiased)"),
    "num_batch": (int, "batches that the matrix is averaged over (dc, dc_released, dc_unbiased)"),
    "variance": (float, "share of each layer's variance that is kept (svcca, pwcca)"),
    "share": (float, "share of the sum of singular values that is kept (svcca_released)"),
    "debiased": (true_or_false, "use the unbiased estimate (cka): true or false"),
}


def parse_options():
    arguments = parser(__doc__)
    arguments.add_argument("--hidden", required=True, help="directory of stage 1's hidden states")
    arguments.add_argument("--measure", default="dc", help=f"one of: {' '.join(MEASURES)}")
    arguments.add_argument("--out", required=True, help="directory for <measure>.npy, .json and .png")
    arguments.add_argument("--seed", type=int, default=0, help="of the utterances that a measure draws")
    for name, (kind, meaning) in MEASURE_OPTIONS.items():
        arguments.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"{meaning}; its own default if left out")
    return arguments.parse_args()


def main():
    options = parse_options()
    measure = measure_named(options.measure)
    given = {name: getattr(options, name) for name in MEASURE_OPTIONS if getattr(options, name) is not None}
    settings = measure.resolve(**given)
    hidden, out = Path(options.hidden), Path(options.out)
    # ShortGPT's cosine is a mean over frames, which stage 1 took; hidden states are means of frames already.
    frames = hidden / "frame_cosine.npy" if measure.name == "cosine" else None
    source = require(frames or hidden / "hidden.ark", "stage 1 (feature dump)")
    stage = Stage(
        out / f"{measure.name}.record.json",
        "stage2_correlation",
        options={"measure": measure.name, "seed": options.seed, **settings},
        inputs={source.stem: fingerprint_file(source)},
        upstream=[hidden / "record.json"],
        force=options.force,
    )
    array, description, picture = (out / f"{measure.name}.{ending}" for ending in ("npy", "json", "png"))
    if stage.up_to_date():
        print(f"{array} is up to date")
        return
    utt_ids, values = hidden_states.read(hidden)
    start = time.monotonic()
    with plain_warnings():
        if frames:
            matrix = as_similarity(read_matrix(frames))
        else:
            matrix = correlation_matrix(values, measure.name, options.seed, utt_ids, progress, **settings)
    with atomic_path(array) as temporary, open(temporary, "wb") as file:
        np.save(file, matrix)
    write_json(description, {
        "measure": measure.name,
        "kind": measure.kind,
        "unit_interval": measure.unit_interval,
        "options": settings,
        "seed": options.seed,
        "num_layers": len(matrix) - 1,
        "num_utterances": len(utt_ids),
        "seconds": round(time.monotonic() - start, 3),
    })
    with atomic_path(picture) as temporary:
        heat_map(matrix, f"{measure.name}, {len(utt_ids)} utterances").savefig(temporary, format="png", dpi=110)
    stage.finish([array, description, picture])
    print(f"wrote {array}: {len(matrix)} x {len(matrix)}, {matrix[~np.eye(len(matrix), dtype=bool)].min():.4f} to 1")


run(main)
