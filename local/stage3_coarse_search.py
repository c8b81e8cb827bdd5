#!/usr/bin/env python3
"""Stage 3: the proposals of highest quality by a matrix of stage 2, for one N or several.

With --refine, the best ones by a skip measure are run as whole pruned models on a part of the probe set, and ordered by
the CTC loss of what the deep model spells there (without labels, without decoding).
"""

import time
from pathlib import Path

import option_types
from cli import run, true_or_false
from inference_options import inference_parser, recorded, speech_of

from comflp.artifacts import fingerprint_file, read_json, require, write_json
from comflp.errors import ComflpError
from comflp.experiment import Layout
from comflp.measures import measure_named
from comflp.processes import processes
from comflp.record import Stage
from comflp.result_names import ListName
from comflp.search import BlockMatrix, coarse_searches
from comflp.search.coarse.refine import NUM_UTTERANCES, Refinement
from comflp.search.coarse.search import METHODS, beam_against_exact
from comflp.target import layer_counts


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--exp", type=option_types.path, required=True,
                           help="experiment directory; results go to EXP/prune<N>/<measure>/")
    arguments.add_argument("--measure", type=option_types.some_name, default="dc",
                           help="whose matrix to search: EXP/correlation/<measure>.npy")
    arguments.add_argument("--matrix", type=option_types.path, help="search this .npy instead; --measure then only names the results")
    arguments.add_argument("--num-prune", required=True, help="N, layers to remove: a number, a list 4,6,8 or a range 1:8")
    arguments.add_argument("--method", choices=METHODS, default="exact", help="beam is Algorithm 1 of the paper")
    arguments.add_argument("--beam-size", type=option_types.candidates, default=10, help="K, candidates to find")
    arguments.add_argument("--refine", type=option_types.count, default=0, help="for skip measures: run this many of the best proposals "
                           "by the matrix as whole pruned models, and keep the K best of them; 0 runs none, as do other measures")
    arguments.add_argument("--refine-utterances", type=option_types.positive, default=NUM_UTTERANCES,
                           help="how many utterances --refine runs on")
    arguments.add_argument("--model", type=option_types.optional(option_types.path), default="",
                           help="directory of the deep model, for --refine")
    arguments.add_argument("--data", type=option_types.path, default="data/probe", help="data directory of the probe set, for --refine")
    arguments.add_argument("--keep", default="", help="layers that must stay, as 1,12, beside those that the model cannot do without")
    arguments.add_argument("--reverse", action="store_true", help="find the worst K; results go to <measure>_reverse/")
    arguments.add_argument("--compare", type=true_or_false, default=True,
                           help="run the other of beam and exact too, and record how many of the true best the beam finds")
    options = arguments.parse_args()
    if options.refine and not options.model:
        arguments.error("--refine needs --model")
    return options


def main():
    options = parse_options()
    with processes() as ranks:
        search_for(options, ranks)


def search_for(options, ranks):
    """Search, and write what was found; with --refine the processes share the utterances that it runs on."""
    layout = Layout(Path(options.exp))
    path = Path(options.matrix or require(layout.correlation(options.measure), "stage 2 (correlation)"))
    matrix = BlockMatrix.read(path).keeping(dict.fromkeys(parse_keep(options.keep), "--keep"))
    search = {"method": options.method, "beam_size": options.beam_size, "reverse": options.reverse}
    refinement, inputs, speech = refinement_of(options, matrix, path, ranks)
    settings = {**search, "must_stay": sorted(matrix.must_stay), **({"refined": refinement.as_dict()} if refinement else {})}
    files = {
        counts.total: layout.list(counts, ListName(options.measure, options.reverse))
        for counts in layer_counts(options.num_prune, matrix.num_layers)
    }
    stages = {
        n: Stage(
            files[n].candidates_record,
            "stage3_coarse_search",
            options={"compare": options.compare, **settings, **(recorded(options) if refinement else {})},
            inputs={f"correlation/{options.measure}": fingerprint_file(path), **inputs},
            upstream=[] if options.matrix else [layout.correlation(options.measure, ".record.json")],
            force=options.force,
        )
        for n in files
    }
    wanted = ranks.decide(lambda: [n for n, stage in stages.items() if not stage.up_to_date()])
    if not wanted:
        if ranks.is_main:
            print(f"{options.exp}: coarse search by {options.measure} is up to date")
        return
    start = time.monotonic()
    if refinement:
        with speech() as probe:
            refined = refinement.search(probe, matrix, wanted, **search)
    if not ranks.is_main:
        return
    found = coarse_searches(matrix, wanted, **search)
    compared = beam_against_exact(matrix, found, **search) if options.compare else {}
    if refinement:
        found = refined
    seconds = round(time.monotonic() - start, 3)
    for n in wanted:
        candidates = files[n].candidates
        write_json(candidates, {
            "measure": options.measure,
            "num_layers": matrix.num_layers,
            "num_prune": n,
            **settings,
            "candidates": [candidate.as_dict() for candidate in found[n]],
            **({"beam_against_exact": compared[n]} if compared else {}),
            "seconds": seconds,
        })
        stages[n].finish([candidates])
        print(f"wrote {candidates}: {summary(found[n], compared.get(n))}")


def parse_keep(text):
    """Layer numbers from ``1,12``; ComflpError for anything else."""
    parts = text.replace(",", " ").split()
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ComflpError(f"--keep {text}: layers are numbers joined by commas, such as 1,12")
    return tuple(map(int, parts))


def refinement_of(options, matrix, path, ranks):
    """(Refinement, fingerprints of what it reads, context that gives its Speech); (None, {}, None) where there is nothing to refine.

    Candidates of a measure of hidden states are not refined, nor the worst ones, nor those by a matrix of the user's own.
    """
    if not options.refine or not matrix.is_cost or options.reverse or options.matrix:
        return None, {}, None
    about = read_json(path.with_suffix(".json"))
    reads_text = measure_named(about["measure"]).reads_text
    refinement = Refinement(options.refine, options.refine_utterances, about["seed"], "ctc_labelled" if reads_text else "ctc")
    return refinement, *speech_of(options, Path(options.exp) / f".refine_{about['measure']}", reads_text, ranks)


def summary(candidates, compared):
    """One line for the terminal."""
    best = f"{len(candidates)} candidates, first {candidates[0].proposal} with {candidates[0].quality:.4f}"
    if not compared:
        return best
    return f"{best}; the beam finds {compared['found_by_beam']} of the true best {compared['num_true_top']}"


run(main)
