#!/usr/bin/env python3
"""Stage 2: the matrix that coarse search works on, of each stack of the model, as .npy, .json and a heat map.

The paper's correlations and their kin come from the hidden states of stage 1. The skip measures run the model itself
on a part of the probe set: skip_kl, skip_ctc, skip_ctc_labelled.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import option_types
from cli import progress, run, true_or_false
from inference_options import inference_parser, recorded, speech_of

from comflp.artifacts import atomic_path, fingerprint_file, read_json, require, write_json, write_text
from comflp.experiment import stack_folders
from comflp.measures import COST, MEASURES, MODEL, correlation_matrix, measure_named, skip_matrix
from comflp.measures.heat_map import heat_map
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
    "max_block": (option_types.positive, "layers of the longest block that is measured; longer ones are put together from these (skip measures)"),
}


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--hidden", type=option_types.optional(option_types.path), default="", help="directory of stage 1's hidden states")
    arguments.add_argument("--model", type=option_types.optional(option_types.path), default="", help="directory of the deep model, for the skip measures")
    arguments.add_argument("--data", type=option_types.path, default="data/probe", help="Kaldi data directory that the skip measures draw from")
    arguments.add_argument("--measure", type=option_types.some_name, default="dc", help=f"one of: {' '.join(MEASURES)}")
    arguments.add_argument("--out", type=option_types.new_path, required=True,
                           help="directory for <measure>.npy, .json and .svg; for a folder of them a stack, where the model has several")
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
    if ranks.decide(stage.up_to_date):
        if ranks.is_main:
            print(f"{out / measure.name}.npy is up to date")
        return
    start = time.monotonic()
    stacks = compute()
    if not ranks.is_main:
        return
    depths, paths = {name: len(found.matrix) - 1 for name, found in stacks.items()}, []
    for name, folder in stack_folders(stacks).items():
        array, found = out / folder / f"{measure.name}.npy", stacks[name]
        about = {"options": settings, "seed": options.seed, "stacks": depths, "seconds": round(time.monotonic() - start, 3)}
        paths += write(array, measure, found, about)
        between = found.matrix[~np.eye(len(found.matrix), dtype=bool)]
        between = between[np.isfinite(between)]
        spread = f", {between.min():.4f} to {between.max():.4f} between layers" if len(between) else ""
        print(f"wrote {array}: {len(found.matrix)} x {len(found.matrix)}{spread}")
    stage.finish(paths)


@dataclass(frozen=True)
class OfStack:
    """The matrix of one stack.

    num_utterances: that it is of. must_stay: layer that cannot be removed -> the reason. teacher_forced: whether the rows
    that were compared are of what the model itself recognises, and not CTC's frames.
    """

    matrix: np.ndarray
    num_utterances: int
    must_stay: dict[int, str]
    teacher_forced: bool = False


def write(array, measure, found, about):
    """Write the matrix, what it is (``about`` has what all stacks share) and how it looks; returns the paths."""
    matrix, description, picture = found.matrix, array.with_suffix(".json"), array.with_suffix(".svg")
    array.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(array) as temporary, open(temporary, "wb") as file:
        np.save(file, matrix)
    write_json(description, {
        "measure": measure.name,
        "kind": measure.kind,
        "unit_interval": measure.unit_interval,
        "num_layers": len(matrix) - 1,
        "num_utterances": found.num_utterances,
        "must_stay": found.must_stay,
        "teacher_forced": found.teacher_forced,
        **about,
    })
    shown, name = (np.exp(-matrix), f"exp(-{measure.name})") if measure.kind == COST else (matrix, measure.name)
    write_text(picture, heat_map(shown, f"{name}, {found.num_utterances} utterances"))
    return [array, description, picture]


def of_hidden_states(options, measure, settings, ranks):
    """(fingerprints of what is read, upstream records, function that gives stack -> OfStack) of a correlation.

    There is nothing in it for several processes: the main one works, and the others get None.
    """
    hidden = Path(options.hidden)
    record = hidden / "record.json"
    # ShortGPT's cosine is a mean over frames, which stage 1 took; hidden states are means of frames already.
    name = "frame_cosine.npy" if measure.name == "cosine" else "hidden.ark"
    must_stay = read_json(record)["must_stay"] if record.exists() else {ENCODER: {}}  # archives that stage 1 did not make have no record
    sources = {stack: require(hidden / folder / name, "stage 1 (feature dump)") for stack, folder in stack_folders(must_stay).items()}

    def compute():
        return {stack: of_stack(source, must_stay[stack]) for stack, source in sources.items()} if ranks.is_main else None

    def of_stack(source, kept):
        from comflp.inference import hidden_states  # torch takes seconds to import, and a stage that is done needs none

        utt_ids, values = hidden_states.read(source.parent)
        if measure.name == "cosine":
            return OfStack(as_similarity(read_matrix(source)), len(utt_ids), kept)
        return OfStack(correlation_matrix(values, measure.name, options.seed, utt_ids, progress, **settings), len(utt_ids), kept)

    return {str(source.relative_to(hidden).with_suffix("")): fingerprint_file(source) for source in sources.values()}, [record], compute


def of_model(options, measure, settings, ranks):
    """The same of a skip measure, whose batches the processes share."""
    inputs, speech = speech_of(options, Path(options.out) / f".{measure.name}", measure.reads_text, ranks)

    def compute():
        with speech() as on_speech:
            count, model = min(settings["num_utterances"], len(on_speech.data)), on_speech.model
            return {
                name: OfStack(skip_matrix(on_speech, measure.name, options.seed, name, **settings), count, dict(stack.must_stay), model.teacher_forced)
                for name, stack in model.stacks.items()
            }

    return inputs, [], compute


run(main)
