#!/usr/bin/env python3
"""Stage 3: the proposals of highest quality by a correlation matrix, for one N or several."""

import time
import warnings
from pathlib import Path

from cli import parser, run, true_or_false
from num_prune import parse_num_prune
from plain_warnings import plain_warnings

from comflp.artifacts import Stage, fingerprint_file, read_json, require, write_json
from comflp.errors import ComflpError
from comflp.measures import COST
from comflp.measures.matrix_file import read_matrix
from comflp.search.coarse import METHODS, checked_matrix, coarse_searches, found_of_best
from comflp.search.constraints import Constraints
from comflp.search.objectives import OBJECTIVES

COMPARED = {"exact": "beam", "beam": "exact"}


def parse_options():
    arguments = parser(__doc__)
    arguments.add_argument("--exp", required=True, help="experiment directory; results go to EXP/prune<N>/<measure>/")
    arguments.add_argument("--measure", default="dc", help="whose matrix to search: EXP/correlation/<measure>.npy")
    arguments.add_argument("--matrix", help="search this .npy instead; --measure is then the name of the results only")
    arguments.add_argument("--num-prune", required=True, help="N, layers to remove: a number, a list 4,6,8 or a range 1:8")
    arguments.add_argument("--method", choices=METHODS, default="exact", help="beam is Algorithm 1 of the paper")
    arguments.add_argument("--beam-size", type=int, default=10, help="K, candidates to find")
    arguments.add_argument("--objective", choices=tuple(OBJECTIVES), help="quality of a proposal; if left out: mean, the "
                           "paper's Eq. 5, or cost for a measure that is one")
    arguments.add_argument("--keep", default="", help="layers that must stay, as 1,12")
    arguments.add_argument("--max-block", type=int, help="layers of the longest block that may be removed")
    arguments.add_argument("--max-blocks", type=int, help="how many blocks may be removed")
    arguments.add_argument("--reverse", action="store_true", help="find the worst K; results go to <measure>_reverse/")
    arguments.add_argument("--compare", type=true_or_false, default=True,
                           help="run the other of beam and exact too, and record how many of the true best the beam finds")
    arguments.add_argument("--seed", type=int, default=0, help="of the method random")
    return arguments.parse_args()


def main():
    options = parse_options()
    exp = Path(options.exp)
    path = Path(options.matrix or require(exp / "correlation" / f"{options.measure}.npy", "stage 2 (correlation)"))
    about = {} if options.matrix else read_json(path.with_suffix(".json"))
    search = {
        "beam_size": options.beam_size,
        "reverse": options.reverse,
        "objective": options.objective or ("cost" if about.get("kind") == COST else "mean"),
        "constraints": Constraints(parse_keep(options.keep), options.max_block, options.max_blocks),
        "unit_interval": about.get("unit_interval", True),
        "seed": options.seed,
    }
    is_cost = search["objective"] == "cost"
    try:
        matrix = checked_matrix(read_matrix(path), search["unit_interval"] and not is_cost, allow_infinity=is_cost)
    except ComflpError as error:
        raise ComflpError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    stages = {n: stage_of(n, options, search, path) for n in parse_num_prune(options.num_prune, len(matrix) - 1)}
    wanted = [n for n, stage in stages.items() if not stage.up_to_date()]
    if not wanted:
        print(f"{exp}: coarse search by {options.measure} is up to date")
        return
    start = time.monotonic()
    with plain_warnings():
        found = coarse_searches(matrix, wanted, method=options.method, **search)
    seconds = round(time.monotonic() - start, 3)
    compared = compare(matrix, wanted, options, search, found)
    for n in wanted:
        candidates = stages[n].record.parent / "candidates.json"
        write_json(candidates, {
            "measure": options.measure,
            "num_layers": len(matrix) - 1,
            "num_prune": n,
            "method": options.method,
            **search,
            "constraints": search["constraints"].as_dict(),
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


def stage_of(num_prune, options, search, matrix):
    """The record of one N."""
    name = "random" if options.method == "random" else options.measure + ("_reverse" if options.reverse else "")
    return Stage(
        Path(options.exp) / f"prune{num_prune}" / name / "stage3.record.json",
        "stage3_coarse_search",
        options={"method": options.method, "compare": options.compare, **search,
                 "constraints": search["constraints"].as_dict()},
        inputs={f"correlation/{options.measure}": fingerprint_file(matrix)},
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
