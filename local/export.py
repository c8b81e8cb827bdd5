#!/usr/bin/env python3
"""After stage 5: a model for other runtimes, each form checked on real utterances.

Each form goes to OUT/<runtime>[_<precision>]/, with the texts that its runtime
recognises and export.json: its error rate beside that of the model in PyTorch,
how many texts are the same, real-time factors and peak memory. comflp
transcribe reads all of them; docs/deploy.md shows how other programs do.
"""

from pathlib import Path

import comflp.models
import option_types
from cli import parser, run, scoring_options

from comflp.deploy.description import files_of
from comflp.deploy.export import Check, export, refuse_own_place
from comflp.deploy.formats import ONNX_PRECISIONS, PRECISIONS, formats_of
from comflp.artifacts import fingerprint_model, require
from comflp.data.data_dir import read_data_dir, subset
from comflp.experiment import export_directory
from comflp.record import Stage


def parse_options():
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=option_types.path, required=True, help="model directory, such as EXP/prune6/dc_fine/finetuned")
    arguments.add_argument("--data", type=option_types.path, default="data/test", help="Kaldi data directory that the exports are checked on")
    arguments.add_argument("--num-utterances", type=option_types.count, default=200, help="how many of its utterances, drawn at random; 0: all")
    arguments.add_argument("--to", type=option_types.some_names, default="onnx", help=f"runtimes, any of: {' '.join(PRECISIONS)}")
    arguments.add_argument("--precision", type=option_types.some_names, default="float32 int8",
                           help=f"how the weights are held, any of: {' '.join(ONNX_PRECISIONS)}; ctranslate2 has float32 and int8, torch int8")
    arguments.add_argument("--calibration", type=option_types.path, default="data/probe", help="Kaldi data directory, for int8_static")
    arguments.add_argument("--out", type=option_types.new_path, help="directory; MODEL/export if left out")
    scoring_options(arguments, "error rate to compare")
    arguments.add_argument("--seed", type=option_types.seed, default=0, help="seed for drawing the utterances")
    arguments.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    arguments.add_argument("--trust-hyperparams", action="store_true",
                           help="allow a model's HyperPyYAML file, which can run code")
    return arguments.parse_args()


def main():
    options = parse_options()
    forms = formats_of(options.to.split(), options.precision.split())
    source = require(options.model, "stage 5 (fine-tuning)")
    out = Path(options.out) if options.out else export_directory(source)
    refuse_own_place(source, out, forms)
    data = read_data_dir(options.data, allow_pipes=options.allow_pipes)
    if 0 < options.num_utterances < len(data):
        data = subset(data, options.num_utterances, options.seed)
    static = any(form.precision == "int8_static" for form in forms)
    calibration = read_data_dir(require(options.calibration, "stage 0 (data preparation)"), allow_pipes=options.allow_pipes) if static else ()
    stages = {}
    for form in forms:
        inputs = {"model": fingerprint_model(source), "decoded data": data.fingerprint()}
        if form.precision == "int8_static":
            inputs["calibration data"] = calibration.fingerprint()
        stages[form.name] = Stage(
            out / form.name / "record.json", "export",
            {"metric": options.metric, "normaliser": options.normaliser, "format": form.name}, inputs, force=options.force,
        )
    wanted = [form for form in forms if not stages[form.name].up_to_date()]
    if not wanted:
        print(f"{out} is up to date")
        return

    def done(directory, about):
        stages[directory.name].finish([*files_of(directory), directory / "hyp"])
        rates = "" if "error_rate" not in about else (
            f", {options.metric.upper()} {about['error_rate']:.2f}% (in PyTorch {about['reference_error_rate']:.2f}%)")
        print(f"wrote {directory}: {about['megabytes']:.1f} MB{rates}, {about['same_texts']} of {about['num_utterances']} texts the same")

    model = comflp.models.load(source, trust_hyperparams=options.trust_hyperparams)
    check = Check(tuple(data), options.metric, options.normaliser, options.allow_pipes)
    export(model, out, wanted, check, tuple(calibration), done, options.force, options.allow_pipes)


run(main)
