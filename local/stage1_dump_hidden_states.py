#!/usr/bin/env python3
"""Stage 1: the time-averaged output of every layer, for each utterance of the probe set.

Of an encoder-decoder model what it recognises is written first, to hypotheses_<set>/ in its directory: its decoder reads
that, here and wherever the model is measured or repaired.
"""

from pathlib import Path

import option_types
from cli import run
from inference_options import how, inference_parser, load_model, on_own_hypotheses, read_data, recorded

from comflp.artifacts import fingerprint_model, require
from comflp.processes import processes
from comflp.measures import HIDDEN, Speech, measure_named
from comflp.record import Stage


def main():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--model", type=option_types.path, required=True, help="directory of the deep model")
    arguments.add_argument("--data", type=option_types.path, required=True, help="Kaldi data directory of the probe set")
    arguments.add_argument("--out", type=option_types.new_path, required=True,
                           help="directory for hidden.ark, hidden.scp and frame_cosine.npy; for a folder of them a stack, where the model has several")
    arguments.add_argument("--padded-mean", action="store_true",
                           help="average over padded frames too, as the released code does; a vector then depends on its batch")
    arguments.add_argument("--measures", type=option_types.names, default="",
                           help="what stage 2 is to measure: where no measure of these reads hidden states, none are written; they are if left out")
    options = arguments.parse_args()
    with processes() as ranks:
        dump(options, ranks)


def dump(options, ranks):
    if options.measures and HIDDEN not in [measure_named(name).source for name in options.measures.split()]:
        if ranks.is_main:
            print(f"no hidden states are needed: none of the measures ({options.measures}) reads them")
        return
    out = Path(options.out)
    data = read_data(options.data, options, require_text=False)
    stage = Stage(
        out / "record.json",
        "stage1_dump_hidden_states",
        options={"padded_mean": options.max_seconds if options.padded_mean else False, **recorded(options)},
        inputs={"model": fingerprint_model(require(options.model, "stage 0 (deep model)")), "probe": data.fingerprint()},
        force=options.force,
    )
    if ranks.decide(stage.up_to_date):
        if ranks.is_main:
            print(f"{out} is up to date")
        return
    from comflp.inference import hidden_states  # torch takes seconds to import, and a stage that is done needs none of it

    model = load_model(options.model, options)
    speech = on_own_hypotheses(options.model, Speech(model, data, **how(options, ranks)))
    paths = hidden_states.dump(model, speech.data, out, options.padded_mean, **how(options, ranks), hypotheses=speech.hypotheses)
    if ranks.is_main:
        stage.finish(paths, num_utterances=len(speech.data), audio_seconds=speech.data.seconds, num_processes=ranks.size,
                     must_stay={name: dict(stack.must_stay) for name, stack in model.stacks.items()})
        print(f"wrote {paths[0]}, hidden.scp and frame_cosine.npy{' of each stack' * (len(model.stacks) > 1)}: "
              f"{len(speech.data)} utterances")


run(main)
