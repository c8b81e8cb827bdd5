#!/usr/bin/env python3
"""Stage 2: the matrix that coarse search works on, as .npy, .json and a heat map.

The paper's correlations and their kin come from the hidden states of stage 1. The skip measures run the model itself
on a part of the probe set: skip_kl, skip_ctc, skip_ctc_labelled.
"""

import time
from pathlib import Path

import numpy as np
import option_types
from cli import progress, run, true_or_false
from inference_options import inference_parser, recorded, speech_of

from comflp.artifacts import atomic_path, fingerprint_file, read_json, require, write_json
from comflp.measures import COST, MEASURES, MODEL, correlation_matrix, measure_named, skip_matrix
from comflp.measures.matrix_file import read_matrix
from comflp.measures.similarity import as_similarity
from comflp.processes import processes
from comflp.record import Stage
from comflp.target import ENCODER

MEASURE_OPTIONS = {
    "batch_size": (option_types.batch, "B, utterances of a batch (dc, dc_released, dc_unbiased)"),
    "num_batch": (option_types.batch, "batches that the matrix is averaged over (dc, dc_released, dc_unbiased)"),
    "variance": (option_types.share, "share of each layer's variance that is kept (svcca, pwcca)"),
    "share": (option_types.share, "share of the sum of singular values that is kept (svcca_released)"),
    "debiased": (true_or_false, "use the unbiased estimate (cka): true or false"),
    "num_utterances": (option_types.positive, "utterances of the probe set that the model runs on (skip measures)"),
    "max_block": (option_types.positive, "layers of the longest block that is measured (skip measures)"),
}


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--hidden", type=option_types.optional(option_types.path), default="", help="directory of stage 1's hidden states")
    arguments.add_argument("--model", type=option_types.optional(option_types.path), default="", help="directory of the deep model, for the skip measures")
    arguments.add_argument("--data", type=option_types.path, default="data/probe", help="Kaldi data directory that the skip measures draw from")
    arguments.add_argument("--measure", type=option_types.some_name, default="dc", help=f"one of: {' '.join(MEASURES)}")
    arguments.add_argument("--out", type=option_types.new_path, required=True, help="directory for <measure>.npy, .json and .png")
    arguments.add_argument("--seed", type=option_types.seed, default=0, help="seed for the utterances that a measure draws")
    for name, (kind, meaning) in MEASURE_OPTIONS.items():
        arguments.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"{meaning}; its own default if left out")
    options = arguments.parse_args()
    needed = "model" if measure_named(options.measure).source == MODEL else "hidden"
    if not getattr(options, needed):
        arguments.error(f"--measure {options.measure} needs --{needed}")
    return options


def main():
    options = parse_options()
    with processes() as ranks:
        correlate(options, ranks)


def correlate(options, ranks):
    measure = measure_named(options.measure)
    given = {name: getattr(options, name) for name in MEASURE_OPTIONS if getattr(options, name) is not None}
    settings = measure.resolve(**given)
    work = of_model if measure.source == MODEL else of_hidden_states
    inputs, upstream, compute = work(options, measure, settings, ranks)
    out = Path(options.out)
    stage = Stage(
        out / f"{measure.name}.record.json",
        "stage2_correlation",
        options={"measure": measure.name, "seed": options.seed, **settings, **(recorded(options) if measure.source == MODEL else {})},
        inputs=inputs,
        upstream=upstream,
        force=options.force,
    )
    array = out / f"{measure.name}.npy"
    if ranks.decide(stage.up_to_date):
        if ranks.is_main:
            print(f"{array} is up to date")
        return
    start = time.monotonic()
    matrix, num_utterances, must_stay = compute()
    if ranks.is_main:
        stage.finish(write(array, measure, options.seed, settings, matrix, num_utterances, must_stay, time.monotonic() - start))
        between = matrix[~np.eye(len(matrix), dtype=bool)]
        between = between[np.isfinite(between)]
        print(f"wrote {array}: {len(matrix)} x {len(matrix)}, {between.min():.4f} to {between.max():.4f} between layers")


def write(array, measure, seed, settings, matrix, num_utterances, must_stay, seconds):
    """Write the matrix, what it is and how it looks; returns the paths."""
    from comflp.measures.heat_map import heat_map  # matplotlib takes a second to import

    description, picture = array.with_suffix(".json"), array.with_suffix(".png")
    with atomic_path(array) as temporary, open(temporary, "wb") as file:
        np.save(file, matrix)
    write_json(description, {
        "measure": measure.name,
        "kind": measure.kind,
        "unit_interval": measure.unit_interval,
        "options": settings,
        "seed": seed,
        "num_layers": len(matrix) - 1,
        "num_utterances": num_utterances,
        "must_stay": must_stay,
        "seconds": round(seconds, 3),
    })
    shown, name = (np.exp(-matrix), f"exp(-{measure.name})") if measure.kind == COST else (matrix, measure.name)
    with atomic_path(picture) as temporary:
        heat_map(shown, f"{name}, {num_utterances} utterances").savefig(temporary, format="png", dpi=110)
    return [array, description, picture]


def of_hidden_states(options, measure, settings, ranks):
    """(inputs, upstream records, function that gives the matrix, the number of utterances, and the layers that must
    stay with the reasons) of a correlation.

    There is nothing in it for several processes: the main one works, and the others get None.
    """
    hidden = Path(options.hidden)
    record = hidden / "record.json"
    # ShortGPT's cosine is a mean over frames, which stage 1 took; hidden states are means of frames already.
    frames = hidden / "frame_cosine.npy" if measure.name == "cosine" else None
    source = require(frames or hidden / "hidden.ark", "stage 1 (feature dump)")

    def compute():
        if not ranks.is_main:
            return None, None, None
        from comflp.inference import hidden_states  # torch takes seconds to import, and a stage that is done needs none

        utt_ids, values = hidden_states.read(hidden)
        must_stay = read_json(record).get("must_stay", {}) if record.exists() else {}
        if frames:
            return as_similarity(read_matrix(frames)), len(utt_ids), must_stay
        return correlation_matrix(values, measure.name, options.seed, utt_ids, progress, **settings), len(utt_ids), must_stay

    return {source.stem: fingerprint_file(source)}, [record], compute


def of_model(options, measure, settings, ranks):
    """The same of a skip measure, whose batches the processes share."""
    inputs, speech = speech_of(options, Path(options.out) / f".{measure.name}", measure.reads_text, ranks)

    def compute():
        with speech() as on_speech:
            matrix = skip_matrix(on_speech, measure.name, options.seed, **settings)
            must_stay = dict(on_speech.model.stacks[ENCODER].must_stay)
            return matrix, min(settings["num_utterances"], len(on_speech.data)), must_stay

    return inputs, [], compute


run(main)
