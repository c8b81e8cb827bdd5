#!/usr/bin/env python3
"""Stage 3: the proposals of highest quality by a matrix of stage 2, for one N or several.

With --refine, the best ones by a skip measure are run as whole pruned models on a part of the probe set, and ordered by
the CTC loss of what the deep model spells there (without labels, without decoding).
"""

import math
import time
import warnings
from pathlib import Path

from cli import progress, run, true_or_false
from inference_options import inference_parser, speech_of
from plain_warnings import plain_warnings

from comflp.artifacts import fingerprint_file, read_json, require, write_json
from comflp.errors import ComflpError
from comflp.measures import COST
from comflp.measures.matrix_file import read_matrix
from comflp.search.coarse.search import METHODS, checked_matrix, coarse_searches, found_of_best
from comflp.search.coarse.constraints import Constraints
from comflp.search.coarse.objectives import OBJECTIVES, natural_objective
from comflp.record import Stage
from comflp.target import layer_counts

COMPARED = {"exact": "beam", "beam": "exact"}


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--exp", required=True, help="experiment directory; results go to EXP/prune<N>/<measure>/")
    arguments.add_argument("--measure", default="dc", help="whose matrix to search: EXP/correlation/<measure>.npy")
    arguments.add_argument("--matrix", help="search this .npy instead; --measure is then the name of the results only")
    arguments.add_argument("--num-prune", required=True, help="N, layers to remove: a number, a list 4,6,8 or a range 1:8")
    arguments.add_argument("--method", choices=METHODS, default="exact", help="beam is Algorithm 1 of the paper")
    arguments.add_argument("--beam-size", type=int, default=10, help="K, candidates to find")
    arguments.add_argument("--refine", type=int, default=0, help="of a skip measure, run this many of the best by the "
                           "matrix as whole pruned models and keep the K best of them; 0: none. Other measures have no use for it")
    arguments.add_argument("--refine-utterances", type=int, default=64, help="utterances that --refine draws and runs on")
    arguments.add_argument("--model", default="", help="directory of the deep model, for --refine")
    arguments.add_argument("--data", default="data/probe", help="data directory of the probe set, for --refine")
    arguments.add_argument("--objective", choices=tuple(OBJECTIVES), help="quality of a proposal; if left out: mean, the "
                           "paper's Eq. 5, or cost for a measure that is one")
    arguments.add_argument("--keep", default="", help="layers that must stay, as 1,12")
    arguments.add_argument("--max-block", type=int, help="layers of the longest block that may be removed")
    arguments.add_argument("--max-blocks", type=int, help="how many blocks may be removed")
    arguments.add_argument("--reverse", action="store_true", help="find the worst K; results go to <measure>_reverse/")
    arguments.add_argument("--compare", type=true_or_false, default=True,
                           help="run the other of beam and exact too, and record how many of the true best the beam finds")
    arguments.add_argument("--seed", type=int, default=0, help="of the method random")
    options = arguments.parse_args()
    if options.refine and not options.model:
        arguments.error("--refine needs --model")
    return options


def main():
    options = parse_options()
    exp = Path(options.exp)
    path = Path(options.matrix or require(exp / "correlation" / f"{options.measure}.npy", "stage 2 (correlation)"))
    about = {} if options.matrix else read_json(path.with_suffix(".json"))
    search = {
        "beam_size": options.beam_size,
        "reverse": options.reverse,
        "objective": options.objective or natural_objective(about.get("kind")),
        "constraints": Constraints(parse_keep(options.keep), options.max_block, options.max_blocks),
        "unit_interval": about.get("unit_interval", True),
        "seed": options.seed,
    }
    is_cost = search["objective"] == "cost"
    try:
        matrix = checked_matrix(read_matrix(path), search["unit_interval"] and not is_cost, allow_infinity=is_cost)
    except ComflpError as error:
        raise ComflpError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    refined = refinement(options, about)
    num_prunes = [counts.total for counts in layer_counts(options.num_prune, len(matrix) - 1)]
    stages = {n: stage_of(n, options, search, path, refined) for n in num_prunes}
    wanted = [n for n, stage in stages.items() if not stage.up_to_date()]
    if not wanted:
        print(f"{exp}: coarse search by {options.measure} is up to date")
        return
    start = time.monotonic()
    with plain_warnings():
        found = coarse_searches(matrix, wanted, method=options.method, **search)
    compared = compare(matrix, wanted, options, search, found)
    if refined:
        found = refined.search(matrix, wanted, options.method, search)
    seconds = round(time.monotonic() - start, 3)
    for n in wanted:
        candidates = stages[n].record.parent / "candidates.json"
        write_json(candidates, {
            "measure": options.measure,
            "num_layers": len(matrix) - 1,
            "num_prune": n,
            "method": options.method,
            **search,
            "constraints": search["constraints"].as_dict(),
            **({"refined": refined.settings} if refined else {}),
            "candidates": [candidate.as_dict() for candidate in found[n]],
            **compared[n],
            "seconds": seconds,
        })
        stages[n].finish([candidates])
        print(f"wrote {candidates}: {summary(found[n], compared[n])}")


def parse_keep(text):
    """Layer numbers from ``1,12``; ComflpError for anything else."""
    parts = text.replace(",", " ").split()
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ComflpError(f"--keep {text}: layers are numbers joined by commas, such as 1,12")
    return tuple(map(int, parts))


def refinement(options, about):
    """The Refinement that was asked for; None for a measure that is not a skip measure, and for random and worst candidates."""
    if not options.refine or about.get("kind") != COST or options.reverse or options.method == "random":
        return None
    return Refinement(options, about)


class Refinement:
    """Whole pruned models on utterances of the probe set; by their texts only where the measure went by them too.

    settings: what candidates.json and the record say of it. inputs: fingerprints of model and data.
    """

    def __init__(self, options, about):
        self.kind = "ctc_labelled" if about["measure"] == "skip_ctc_labelled" else "ctc"
        self.settings = {"proposals": options.refine, "num_utterances": options.refine_utterances, "seed": about["seed"]}
        self.inputs, self._speech = speech_of(
            options, Path(options.exp) / f".refine_{about['measure']}", require_text=self.kind == "ctc_labelled"
        )

    def search(self, matrix, num_prunes, method, search):
        """N -> the K best by true cost of the ``proposals`` best by the matrix."""
        num_layers, count = len(matrix) - 1, max(self.settings["proposals"], search["beam_size"])
        found = {
            n: coarse_searches(matrix, [n], method=method, **{**search, "beam_size": min(count, math.comb(num_layers, n))})[n]
            for n in num_prunes
        }
        from comflp.search.coarse.refine import refine  # runs the model: torch takes seconds to import

        with self._speech() as speech:
            speech = speech.drawn(self.settings["num_utterances"], self.settings["seed"])
            best = refine(speech, found, self.kind, progress)
        return {n: candidates[: search["beam_size"]] for n, candidates in best.items()}


def stage_of(num_prune, options, search, matrix, refined):
    """The record of one N."""
    name = "random" if options.method == "random" else options.measure + ("_reverse" if options.reverse else "")
    return Stage(
        Path(options.exp) / f"prune{num_prune}" / name / "stage3.record.json",
        "stage3_coarse_search",
        options={"method": options.method, "compare": options.compare, **search,
                 "constraints": search["constraints"].as_dict(), **({"refined": refined.settings} if refined else {})},
        inputs={f"correlation/{options.measure}": fingerprint_file(matrix), **(refined.inputs if refined else {})},
        upstream=[] if options.matrix else [matrix.with_name(f"{options.measure}.record.json")],
        force=options.force,
    )


def compare(matrix, num_prunes, options, search, found):
    """N -> what candidates.json says of the beam against the exact search, {} where they are not compared."""
    if not options.compare or options.method not in COMPARED:
        return {n: {} for n in num_prunes}
    other = COMPARED[options.method]
    result = {}
    for n in num_prunes:
        with warnings.catch_warnings():
            # The number of proposals there are was said by the search itself.
            warnings.simplefilter("ignore", UserWarning)
            try:
                lists = {options.method: found[n], other: coarse_searches(matrix, [n], method=other, **search)[n]}
            except ComflpError:
                # Under constraints a beam can end with nothing.
                lists = {options.method: found[n], other: []}
        result[n] = {"beam_against_exact": {
            "num_true_top": len(lists["exact"]),
            "found_by_beam": found_of_best(lists["beam"], lists["exact"]),
            **{name: [candidate.as_dict() for candidate in candidates] for name, candidates in sorted(lists.items())},
        }}
    return result


def summary(candidates, compared):
    """One line for the terminal."""
    best = f"{len(candidates)} candidates, first {candidates[0].proposal} with {candidates[0].quality:.4f}"
    if not compared:
        return best
    against = compared["beam_against_exact"]
    return f"{best}; the beam finds {against['found_by_beam']} of the true best {against['num_true_top']}"


run(main)
