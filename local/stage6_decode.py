#!/usr/bin/env python3
"""Stage 6: decode data sets with models and score them.

Any model directory can be decoded with --models; --exp takes the deep model of
an experiment and every pruned and fine-tuned one made from it.
"""

import shutil
from pathlib import Path

from cli import progress, run
from decode_results import write_results
from inference_options import inference_parser, load_model, read_data

from comflp.artifacts import fingerprint_file, fingerprint_model, require
from comflp.inference.decode import decode, greedy_search
from comflp.processes import processes
from comflp.errors import ComflpError
from comflp.record import Stage


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--exp", help="experiment directory: decode deep/ and all prune*/*/{pruned,finetuned}/")
    arguments.add_argument("--models", default="", help="model directories to decode, separated by spaces")
    arguments.add_argument("--data", default="dev test",
                           help="Kaldi data directories, separated by spaces; a plain name is taken in data/")
    arguments.add_argument("--metric", choices=("cer", "wer"), default="cer", help="error rate to report first")
    arguments.add_argument("--decoder", choices=("greedy", "beam"), default="greedy", help="CTC search")
    arguments.add_argument("--lm", help="KenLM file (arpa or binary) for the beam search")
    arguments.add_argument("--lm-weight", type=float, default=0.5, help="weight of the language model")
    arguments.add_argument("--lm-unit", choices=("word", "char"), default="word",
                           help="its words are words, or single characters (languages written without spaces)")
    arguments.add_argument("--beam-size", type=int, default=20, help="hypotheses that the beam search keeps")
    arguments.add_argument("--tag", default="", help="appended to the results' directory name, to keep those of several searches")
    arguments.add_argument("--worst", type=int, default=20, help="utterances in worst.txt")
    options = arguments.parse_args()
    if options.lm and options.decoder != "beam":
        raise ComflpError("--lm needs --decoder beam; greedy search uses no language model")
    if not options.exp and not options.models:
        raise ComflpError("say which models to decode: --exp DIR, or --models \"DIR DIR\"")
    return options


def main():
    options = parse_options()
    with processes() as ranks:
        sets = read_sets(options)
        for directory in model_directories(options):
            decode_model(directory, sets, options, ranks)


def read_sets(options):
    """Name of a set -> its data. ``dev`` is data/dev; anything with a slash is a path."""
    sets = {}
    for text in options.data.split():
        path = Path(text) if "/" in text else Path("data") / text
        if path.name in sets:
            raise ComflpError(f"--data names two sets {path.name}; their results would share decode_{path.name}/")
        sets[path.name] = read_data(path, options)
    return sets


def model_directories(options):
    """The model directories that the options name, each once."""
    found = [require(directory, "stage 0 or 5") for directory in options.models.split()]
    if options.exp:
        exp = Path(options.exp)
        found.append(require(exp / "deep", "stage 0 (deep model)"))
        found += sorted(path for name in ("pruned", "finetuned") for path in exp.glob(f"prune*/*/{name}"))
    return list(dict.fromkeys(found))


def decode_model(directory, sets, options, ranks):
    """Decode every set with one model; the model is loaded only if something is to do."""
    fingerprint, model = fingerprint_model(directory), None
    for name, data in sets.items():
        out = directory / "_".join(["decode", name, *filter(None, [options.tag])])
        stage = Stage(
            out / "record.json",
            "stage6_decode",
            options={"metric": options.metric, "worst": options.worst, "search": search_options(options)},
            inputs={"decoded model": fingerprint, "decoded data": data.fingerprint()},
            force=options.force,
        )
        if ranks.decide(stage.up_to_date):
            if ranks.is_main:
                print(f"{out} is up to date")
            continue
        model = model or load_model(directory, options)
        work = out / ".partial"
        hypotheses = decode(
            model, data, options.max_seconds, make_search(model, options), search_options(options), work,
            ranks, options.allow_pipes, progress,
        )
        if ranks.is_main:
            paths, score = write_results(out, model, data, hypotheses, options)
            shutil.rmtree(work)
            stage.finish(paths)
            print(f"wrote {out}: {options.metric.upper()} {score['error_rate']:.2f}%, "
                  f"{len(data)} utterances, real-time factor {score['rtf']:.4f}")


def search_options(options):
    """What tells one search from another, for records and partial results."""
    if options.decoder == "greedy":
        return {"decoder": "greedy"}
    lm = fingerprint_file(require(options.lm, "your language model's training")) if options.lm else None
    model = {"lm": lm, "lm_weight": options.lm_weight, "lm_unit": options.lm_unit} if lm else {"lm": None}
    return {"decoder": "beam", "beam_size": options.beam_size, **model}


def make_search(model, options):
    """The search that the options ask for."""
    if options.decoder == "greedy":
        return greedy_search
    from comflp.inference.beam_decode import BeamSearch

    return BeamSearch(model.tokenizer, options.beam_size, options.lm, options.lm_weight, options.lm_unit)


run(main)
