#!/usr/bin/env python3
"""Stage 4: decode the validation set with every candidate and rank them by error rate.

The candidates of all measures, all N and all baselines are walked together,
so that what they share is computed once. The deep model is decoded beside them. With --repair-candidates each is
repaired before it is decoded (docs/repair.md), all but those of GLP.
"""

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import option_types
from cli import progress, run, scoring_options
from inference_options import deep_model, how, hypotheses_of, inference_parser, on_own_hypotheses, read_data, recorded
from wanted import measured_costs, wanted_counts, wanted_options

from comflp.artifacts import fingerprint_file, fingerprint_value, require
from comflp.data.data_dir import subset
from comflp.errors import ComflpError
from comflp.experiment import Layout
from comflp.inference.speech import Speech
from comflp.processes import ALONE, processes
from comflp.search.baselines import baseline
from comflp.search.baselines.fixed import NUM_RANDOM
from comflp.search.baselines.greedy_loss import greedy
from comflp.search.coarse.refine import NUM_UTTERANCES
from comflp.search.coarse.stacks import StackMatrices
from comflp.search.lists import RankedFiles, baseline_list, measure_list
from comflp.target import ENCODER


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--model", type=option_types.path, required=True, help="directory of the deep model")
    arguments.add_argument("--exp", type=option_types.path, required=True, help="experiment directory of the deep model")
    wanted_options(arguments)
    arguments.add_argument("--measures", type=option_types.names, default="dc svcca", help="correlation measures whose candidates are searched")
    arguments.add_argument("--reverse-measures", type=option_types.names, default="", help="measures whose worst candidates are decoded too")
    arguments.add_argument("--baselines", type=option_types.names, default="top random", help=f"any of: {' '.join(baseline.NAMES)}")
    arguments.add_argument("--data", type=option_types.path, default="data/valid", help="Kaldi data directory to decode")
    arguments.add_argument("--train", type=option_types.path, default="data/train", help="data that linear_probe trains its probes on")
    arguments.add_argument("--probe-utterances", type=option_types.positive, default=1000, help="how many of them it uses")
    arguments.add_argument("--num-random", type=option_types.positive, default=NUM_RANDOM, help="proposals that the random baseline draws")
    arguments.add_argument("--greedy-utterances", type=option_types.positive, default=NUM_UTTERANCES,
                           help="utterances of --probe that the greedy baseline measures its loss on")
    arguments.add_argument("--repair-candidates", type=option_types.count, default=0, metavar="N",
                           help="utterances of --probe that every candidate is repaired with before it is decoded; 0: none is")
    arguments.add_argument("--probe", type=option_types.path, default="data/probe", help="data directory for the repair and the greedy baseline")
    scoring_options(arguments, "error rate to rank by")
    arguments.add_argument("--race", action="store_true",
                           help="drop candidates that are behind with 95%% confidence after a share of the utterances")
    arguments.add_argument("--seed", type=option_types.seed, default=0, help="seed for the random draw, the intervals and the race")
    options = arguments.parse_args()
    if options.race and options.repair_candidates:
        raise ComflpError("--race and --repair-candidates: repaired candidates share nothing that a race could save; take one")
    return options


def main():
    options = parse_options()
    with processes() as ranks:
        search(options, ranks)


def search(options, ranks):
    layout = Layout(Path(options.exp))
    data = read_data(options.data, options)
    deep = deep_model(options)
    inputs = {"model": deep.fingerprint, "valid": data.fingerprint()}
    if options.repair_candidates:
        inputs["probe"] = read_data(options.probe, options, require_text=False).fingerprint()
    matrices = first_matrices(layout, options.measures.split())
    quality = matrices.quality if matrices else lambda proposal: None
    wanted = wanted_counts(options, deep.num_layers, lambda: deep, ranks)
    baselines = [baseline_named(name, options, layout, deep, matrices, wanted, data, ranks) for name in options.baselines.split()]
    lists = []
    for counts in wanted:
        lists += [measure_list(layout, counts, name) for name in options.measures.split()]
        lists += [measure_list(layout, counts, name, reverse=True) for name in options.reverse_measures.split()]
        lists += [baseline_list(entry, counts, quality) for entry in baselines]
    settings = {"normaliser": options.normaliser, "seed": options.seed, "race": options.max_seconds if options.race else False,
                "speakers": data.speakers(), **recorded(options)}
    if options.repair_candidates:
        settings["repair_candidates"] = options.repair_candidates
    if not lists:
        raise ComflpError("--measures and --baselines are both empty; there is nothing to rank")
    files = {entry: RankedFiles(layout, entry, options.metric, settings, inputs, options.force) for entry in lists}
    done = ranks.decide(lambda: [files[entry].up_to_date() for entry in lists])
    left = [entry for entry, is_done in zip(lists, done) if not is_done]
    if left:
        decode(lists, left, files, deep, data, quality, options, ranks)
    elif ranks.is_main:
        print(f"{options.exp}: fine search of {len(lists)} lists is up to date")
    if ranks.is_main:  # of lists that are up to date too: a run that was killed may have ended before this
        measured_costs(layout, deep, ALONE)
        shutil.rmtree(work_directory(options), ignore_errors=True)


def decode(lists, left, files, deep, data, quality, options, ranks):
    """Rank the lists that are not there yet, and write them. In a race all lists run, as each has a say in what is dropped."""
    walked, decoding = [entry for entry in left if entry.find], [entry for entry in left if not entry.find]
    if options.race and walked:
        walked = [entry for entry in lists if entry.find]
    # What runs models imports torch, which takes seconds; lists that are up to date need none of it.
    from comflp.search.fine.evaluate import evaluate

    model = deep.model
    how_to = common(options, model, data, ranks)
    whole = evaluate(model, [model.nothing], data, **how_to)
    for entries, results in (
        (walked, walk_together(model, walked, data, options, how_to) if walked else []),
        (decoding, greedily(model, decoding, data, quality, how_to) if decoding else []),
    ):
        for entry, result in zip(entries, results):
            if ranks.is_main and entry in left:
                print(files[entry].write(replace(result, deep=whole)))


def first_matrices(layout, measures):
    """The matrices of the first measure, by which qualities are given; None where stage 2 has not made them."""
    paths = layout.matrices(measures[0]) if measures else None
    return StackMatrices.read(paths) if paths else None


def baseline_named(name, options, layout, deep, matrices, wanted, data, ranks):
    """A baseline with all that it looks at; ComflpError for a name that there is not."""
    if name in baseline.FIXED:
        return baseline.fixed(name, deep.stacks)
    if name == "random":
        return baseline.random(deep.stacks, options.seed, options.num_random)
    if name == "glp":
        return baseline.glp(deep.stacks)
    if name == "reverse":
        if not options.measures.split():
            raise ComflpError("--measures is empty; the reverse baseline needs one")
        measure = options.measures.split()[0]
        paths = list(layout.matrices(measure).values()) or [require(layout.correlation(measure), "stage 2 (correlation)")]
        read = [fingerprint_file(path) for path in paths]
        fingerprint = read[0] if len(read) == 1 else fingerprint_value(read)
        return baseline.reverse(matrices, fingerprint, layout.correlation(measure, ".record.json"))
    if name == "greedy":
        probe = read_data(options.probe, options, require_text=False)

        def costs(proposals):
            from comflp.inference.output_change import output_changes

            heard = on_own_hypotheses(options.model, Speech(deep.model, probe, **how(options, ranks)))
            return output_changes(heard.drawn(options.greedy_utterances, options.seed), proposals, "kl")

        return greedy(costs, deep.stacks, wanted, probe.fingerprint(), options.greedy_utterances)
    if name == "linear_probe":
        train = read_data(options.train, options)

        @functools.cache
        def probe():
            from comflp.search.baselines.linear_probe import linear_probe

            # The probes do not depend on N: trained once a run, by one process, for all lists.
            drawn = subset(train, min(options.probe_utterances, len(train)), options.seed)
            return ranks.decide(lambda: linear_probe(
                deep.model, drawn, data, seed=options.seed, allow_pipes=options.allow_pipes, progress=progress
            ))

        return baseline.linear_probe(probe, train.fingerprint(), options.probe_utterances, deep.stacks)
    raise ComflpError(f"--baselines: {name} is not known; there are {', '.join(baseline.NAMES)}")


def walk_together(model, entries, data, options, how_to):
    """Every list but GLP's in one walk."""
    from comflp.search.fine.evaluate import evaluate
    from comflp.search.fine.ranking import rank

    groups = [entry.proposals for entry in entries]
    proposals = [proposal for group in groups for proposal in group]
    if options.repair_candidates:
        from comflp.repair import Calibration
        from comflp.repair.candidates import evaluate_repaired

        speech = Speech(model, read_data(options.probe, options, require_text=False), options.max_seconds, allow_pipes=options.allow_pipes)
        speech = on_own_hypotheses(options.model, speech).drawn(options.repair_candidates, options.seed)
        evaluation = evaluate_repaired(Calibration(speech, options.seed), proposals, data, **how_to)
    else:
        evaluation = evaluate(model, proposals, data, race=groups if options.race else (), **how_to)
    return [rank(evaluation, entry.candidates, options.seed) for entry in entries]


def greedily(model, entries, data, quality, how_to):
    """GLP's steps on the way to the largest N hold its proposals for the smaller ones."""
    from comflp.search.baselines.greedy import glp

    most = max(entry.counts.total for entry in entries)
    steps = glp(model, most, data, must_stay=model.stacks[ENCODER].must_stay, **how_to)
    return [steps[entry.counts.total - 1].with_quality(quality) for entry in entries]


def common(options, model, data, ranks):
    """What every decoding has in common; with what the deep model recognises, at twice whose tokens a search is cut off."""
    return {
        "hypotheses": hypotheses_of(options.model, Speech(model, data, **how(options, ranks))),
        "metric": options.metric,
        "normaliser": options.normaliser,
        "seed": options.seed,
        "work": work_directory(options),
        **how(options, ranks),
    }


def work_directory(options):
    return Path(options.exp) / ".stage4"


run(main)
