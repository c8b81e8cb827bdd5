#!/usr/bin/env python3
"""After stage 5: a model as ONNX and with int8 weights, each checked on real utterances.

Each form goes to OUT/<format>/, with the texts it recognises and export.json:
its error rate beside that of the float model, and how many texts are the same.
comflp transcribe reads all of them.
"""

import time
from pathlib import Path

import comflp.models
import option_types
from cli import parser, progress, run, scoring_options

from comflp.deploy import export, recognition
from comflp.artifacts import fingerprint_model, read_json, require, write_json, write_text
from comflp.data.audio import read_audio
from comflp.data.data_dir import read_data_dir, subset
from comflp.errors import ComflpError
from comflp.experiment import export_directory
from comflp.scoring import check_references, error_rate, normalise
from comflp.record import Stage


def parse_options():
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=option_types.path, required=True, help="model directory, such as EXP/prune6/dc_fine/finetuned")
    arguments.add_argument("--data", type=option_types.path, default="data/test", help="Kaldi data directory that the exports are checked on")
    arguments.add_argument("--num-utterances", type=option_types.count, default=200, help="how many of its utterances, drawn at random; 0: all")
    arguments.add_argument("--formats", type=option_types.some_names, default=" ".join(export.FORMATS), help=f"any of: {' '.join(export.FORMATS)}")
    arguments.add_argument("--out", type=option_types.new_path, help="directory; MODEL/export if left out")
    scoring_options(arguments, "error rate to compare")
    arguments.add_argument("--seed", type=option_types.seed, default=0, help="seed for drawing the utterances")
    arguments.add_argument("--trust-hyperparams", action="store_true",
                           help="allow a model's HyperPyYAML file, which can run code")
    return arguments.parse_args()


def main():
    options = parse_options()
    unknown = set(options.formats.split()) - set(export.FORMATS)
    if unknown:
        raise ComflpError(f"--formats: {', '.join(sorted(unknown))} is not known; there are {', '.join(export.FORMATS)}")
    source = require(options.model, "stage 5 (fine-tuning)")
    out = Path(options.out) if options.out else export_directory(source)
    data = read_data_dir(options.data)
    if 0 < options.num_utterances < len(data):
        data = subset(data, options.num_utterances, options.seed)
    stages = {
        name: Stage(out / name / "record.json", "export", {"metric": options.metric, "normaliser": options.normaliser, "format": name},
                    {"model": fingerprint_model(source), "decoded data": data.fingerprint()}, force=options.force)
        for name in export.FORMATS if name in options.formats.split()
    }
    wanted = [name for name, stage in stages.items() if not stage.up_to_date()]
    if not wanted:
        print(f"{out} is up to date")
        return
    model = comflp.models.load(source, trust_hyperparams=options.trust_hyperparams)
    references = {utterance.utt_id: utterance.text for utterance in data}
    check_references(references, model.tokenizer, options.normaliser)
    texts, _ = recognise(recognition.of_model(model), data)
    expected = error_rate(references, texts, options.metric, options.normaliser)
    for name in wanted:
        directory = out / name
        export.write_format(name, model, out)
        found, seconds = recognise(recognition.load(directory), data)
        errors = error_rate(references, found, options.metric, options.normaliser)
        write_text(directory / "hyp", "".join(f"{utt_id} {text}".rstrip() + "\n" for utt_id, text in found.items()))
        same = sum(normalise(found[utt_id]) == normalise(text) for utt_id, text in texts.items())
        write_json(directory / export.DESCRIPTION, {
            **read_json(directory / export.DESCRIPTION),
            "metric": options.metric,
            "normaliser": options.normaliser,
            "error_rate": errors.rate,
            "reference_error_rate": expected.rate,
            "num_utterances": len(data),
            "same_texts": same,
            "rtf": seconds / data.seconds,
            "megabytes": megabytes(directory),
        })
        stages[name].finish(path for path in directory.iterdir() if path.is_file())
        print(f"wrote {directory}: {megabytes(directory):.1f} MB, {options.metric.upper()} {errors.rate:.2f}% "
              f"(float: {expected.rate:.2f}%), {same} of {len(data)} texts the same")


def recognise(recognizer, data):
    """(utterance id -> text, seconds in the model) for the data, utterance by utterance."""
    texts, seconds = {}, 0.0
    for utterance in progress(data, desc=recognizer.format, total=len(data)):
        waveform = read_audio(utterance, recognizer.sample_rate)
        start = time.perf_counter()
        texts[utterance.utt_id] = recognizer.text(waveform)
        seconds += time.perf_counter() - start
    return texts, seconds


def megabytes(directory):
    """Size of the files that the format consists of, in 10^6 bytes."""
    left_out = ("hyp", "record.json", "README.md")
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file() and path.name not in left_out) / 1e6


run(main)
