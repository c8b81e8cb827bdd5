#!/usr/bin/env python3
"""Stage 3: the proposals of highest quality by a matrix of stage 2, for one N or several.

With --refine, the best ones by a skip measure are run as whole pruned models on a part of the probe set, and ordered by
how far their output is from the deep model's (without labels; --refine-by). Of a model of several stacks all sets of layers
of a stack are run whole too where they are few.
"""

import time
from dataclasses import replace

import option_types
from cli import run, true_or_false
from inference_options import deep_model, inference_parser, recorded, speech_of
from wanted import wanted_counts, wanted_options

from comflp.artifacts import fingerprint_file, read_json, require, write_json
from comflp.errors import ComflpError
from comflp.experiment import Layout
from comflp.measures import measure_named
from comflp.processes import processes
from comflp.proposal import split_by_stack
from comflp.record import Stage
from comflp.result_names import ListName, ProposalName
from comflp.search.baselines.baseline import NAMES
from comflp.search.coarse.joint import joint_searches
from comflp.search.coarse.refine import FORCED_KINDS, KINDS, NUM_AGAIN, NUM_UTTERANCES, REPAIR, Refinement
from comflp.search.coarse.search import METHODS, beam_against_exact
from comflp.search.coarse.stacks import StackMatrices, stack_searches
from comflp.target import ENCODER


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--exp", type=option_types.path, required=True,
                           help="experiment directory; results go to EXP/prune<N>/<measure>/")
    arguments.add_argument("--measure", type=option_types.some_name, default="dc",
                           help="whose matrix to search: EXP/correlation/<measure>.npy")
    arguments.add_argument("--matrix", type=option_types.path, help="search this .npy instead; --measure then only names the results")
    wanted_options(arguments)
    arguments.add_argument("--method", choices=METHODS, default="exact", help="beam is Algorithm 1 of the paper")
    arguments.add_argument("--beam-size", type=option_types.candidates, default=10, help="K, candidates to find")
    arguments.add_argument("--refine", type=option_types.count, default=0, help="for skip measures: run this many of the best proposals "
                           "by the matrix as whole pruned models (more where the best of them come last), and keep the K best of them; "
                           "0 runs none, as do other measures")
    arguments.add_argument("--refine-by", choices=tuple(dict.fromkeys((*KINDS, *FORCED_KINDS, REPAIR))), default="",
                           help="what --refine orders by (docs/measures.md): of CTC models near+text, the divergence from the nearest frame's "
                                "posteriors and the text's distance (the default), kl, the divergence, or ctc, the CTC loss of what the deep model "
                                "spells; of others kl+text, the divergence and for the best by it the text's distance (the default), or kl; "
                                "of both repair, the divergence that the best of these have after a quick repair; "
                                "skip_ctc_labelled is refined by the CTC loss of the texts")
    arguments.add_argument("--refine-utterances", type=option_types.positive, default=NUM_UTTERANCES,
                           help="how many utterances --refine runs on")
    arguments.add_argument("--model", type=option_types.optional(option_types.path), default="",
                           help="directory of the deep model, for --refine")
    arguments.add_argument("--data", type=option_types.path, default="data/probe", help="data directory of the probe set, for --refine")
    arguments.add_argument("--keep", default="", help="layers that must stay, as 1,12 (of several stacks encoder=1+decoder=6), "
                           "beside those that the model cannot do without")
    arguments.add_argument("--reverse", action="store_true", help="find the worst K; results go to <measure>_reverse/")
    arguments.add_argument("--compare", type=true_or_false, default=True,
                           help="run the other of beam and exact too, and record how many of the true best the beam finds")
    options = arguments.parse_args()
    if options.measure in NAMES or ListName.parse(options.measure).reverse or ProposalName.parse(options.measure).search:
        raise ComflpError(f"--measure {options.measure} is what results of another kind are called; call yours otherwise")
    if options.refine and not options.model:
        arguments.error("--refine needs --model")
    return options


def main():
    options = parse_options()
    with processes() as ranks:
        search_for(options, ranks)


def search_for(options, ranks):
    """Search, and write what was found; with --refine the processes share the utterances that it runs on."""
    layout = Layout(options.exp)
    paths = {ENCODER: options.matrix} if options.matrix else layout.matrices(options.measure)
    paths = paths or {ENCODER: require(layout.correlation(options.measure), "stage 2 (correlation)")}
    matrices = StackMatrices.read(paths)
    matrices = matrices.keeping(parse_keep(options.keep, matrices.num_layers))
    search = {"method": options.method, "beam_size": options.beam_size, "reverse": options.reverse}
    refinement, inputs, speech = refinement_of(options, matrices, paths, ranks)
    settings = {**search, "must_stay": must_stay(matrices), **({"refined": refinement.as_dict()} if refinement else {})}
    read = {str(path.relative_to(options.exp).with_suffix("")) if not options.matrix else f"correlation/{options.measure}":
            fingerprint_file(path) for path in paths.values()}
    counts = wanted_counts(options, matrices.num_layers, lambda: deep_model(options), ranks)
    files = {wanted: layout.list(wanted, ListName(options.measure, options.reverse)) for wanted in counts}
    stages = {
        wanted: Stage(
            files[wanted].candidates_record,
            "stage3_coarse_search",
            options={"compare": options.compare, **settings, **(recorded(options) if refinement else {})},
            inputs={**read, **inputs},
            upstream=[] if options.matrix else [layout.correlation(options.measure, ".record.json")],
            force=options.force,
        )
        for wanted in counts
    }
    left = ranks.decide(lambda: [wanted for wanted in counts if not stages[wanted].up_to_date()])
    if not left:
        if ranks.is_main:
            print(f"{options.exp}: coarse search by {options.measure} is up to date")
        return
    start = time.monotonic()
    refined = {}
    if refinement:
        with speech() as probe:
            refined = run_whole(probe, refinement, matrices, left, search)
    if not ranks.is_main:
        return
    found = {wanted: (candidates, {}) for wanted, candidates in stack_searches(matrices, left, **search).items()}
    compared = compare(matrices, found, search) if options.compare else {}
    found |= refined
    seconds = round(time.monotonic() - start, 3)
    for wanted, (candidates, details) in found.items():
        path = files[wanted].candidates
        write_json(path, {
            "measure": options.measure,
            "num_layers": candidates[0].proposal.num_layers,
            "num_prune": wanted.total,
            **settings,
            **details,
            "candidates": [candidate.as_dict() for candidate in candidates],
            **({"beam_against_exact": compared[wanted]} if compared else {}),
            "seconds": seconds,
        })
        stages[wanted].finish([path])
        print(f"wrote {path}: {summary(candidates, compared.get(wanted))}")


def parse_keep(text, num_layers):
    """Stack -> layer -> why it stays, from ``1,12`` or ``encoder=1,12+decoder=6``; ComflpError for anything else."""
    several = len(num_layers) > 1 and text.strip()
    parts = split_by_stack(text, num_layers, "layers, as in 'encoder=1+decoder=6'") if several else {next(iter(num_layers)): text}
    kept = {}
    for stack, layers in parts.items():
        numbers = layers.replace(",", " ").split()
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in numbers):
            raise ComflpError(f"--keep {text}: layers are numbers joined by commas, such as 1,12")
        kept[stack] = dict.fromkeys(map(int, numbers), "--keep")
    return kept


def must_stay(matrices):
    """The layers that must stay, as records hold them: of several stacks by their names."""
    layers = {stack: sorted(matrix.must_stay) for stack, matrix in matrices.matrices.items()}
    return layers if len(layers) > 1 else next(iter(layers.values()))


def refinement_of(options, matrices, paths, ranks):
    """(Refinement, fingerprints of what it reads, context that gives its Speech); (None, {}, None) where there is nothing to refine.

    Candidates of a measure of hidden states are not refined, nor the worst ones, nor those by a matrix of the user's own.
    """
    if not options.refine or not matrices.is_cost or options.reverse or options.matrix:
        return None, {}, None
    about = read_json(next(iter(paths.values())).with_suffix(".json"))
    reads_text = measure_named(about["measure"]).reads_text
    forced = about["teacher_forced"]
    kinds = (*(FORCED_KINDS if forced else KINDS), REPAIR)
    if options.refine_by not in ("", *kinds):
        of_whom = "a model that writes token by token" if forced else "a CTC model"
        raise ComflpError(f"--refine-by {options.refine_by} is not for {of_whom}, which is refined by {' or '.join(kinds)}")
    kind = "ctc_labelled" if reads_text else options.refine_by or kinds[0]
    refinement = Refinement(options.refine, options.refine_utterances, about["seed"], kind)
    return refinement, *speech_of(options, options.exp / f".refine_{about['measure']}", reads_text, ranks)


def run_whole(probe, refinement, matrices, counts, search):
    """Layers to remove -> (candidates in the order of what they cost when they are run whole, more for candidates.json)."""
    from comflp.inference.output_change import output_changes
    from comflp.repair.quick import RepairedCosts, ordered_by_repair
    from comflp.search.coarse.free_runs import ordered_by_free_runs

    number, again = search["beam_size"], refinement.kind in (FORCED_KINDS[0], REPAIR)
    few = max(number, min(NUM_AGAIN * number, refinement.num_proposals)) if again else number
    first = replace(refinement, kind=FORCED_KINDS[-1] if probe.model.teacher_forced else KINDS[0]) if again else refinement
    heard = probe.drawn(first.num_utterances, first.seed)

    def costs_of(proposals):
        return output_changes(heard, proposals, first.kind)

    repaired = RepairedCosts(probe, first.num_utterances, first.seed, costs_of, few) if refinement.kind == REPAIR else None
    if len(matrices.matrices) == 1:
        (matrix,) = matrices.matrices.values()
        of_one = first.search(probe, matrix, [wanted.total for wanted in counts], **{**search, "beam_size": few})
        found = {wanted: (of_one[wanted.total].candidates, {"pool": of_one[wanted.total].pool}) for wanted in counts}
    else:
        limits = (number, first.num_proposals) if repaired else (first.num_proposals,)
        joint = joint_searches(repaired or costs_of, matrices.matrices, counts, number if repaired else few, *limits)
        found = {wanted: (result.candidates, {"joint": result.as_dict()}) for wanted, result in joint.items()}
    if again:
        lists = {wanted: candidates for wanted, (candidates, _) in found.items()}
        ordered = ordered_by_repair(repaired, lists, number) if repaired else ordered_by_free_runs(heard, lists, number)
        found = {wanted: (ordered[wanted], details) for wanted, (_, details) in found.items()}
    return found


def compare(matrices, found, search):
    """How beam and exact search compare, for each number of layers; nothing of several stacks, which are merged exactly."""
    if len(matrices.matrices) > 1:
        return {}
    (matrix,) = matrices.matrices.values()
    compared = beam_against_exact(matrix, {wanted.total: candidates for wanted, (candidates, _) in found.items()}, **search)
    return {wanted: compared[wanted.total] for wanted in found}


def summary(candidates, compared):
    """One line for the terminal."""
    best = f"{len(candidates)} candidates, first {candidates[0].proposal} with {candidates[0].quality:.4f}"
    if not compared:
        return best
    return f"{best}; the beam finds {compared['found_by_beam']} of the true best {compared['num_true_top']}"


run(main)
