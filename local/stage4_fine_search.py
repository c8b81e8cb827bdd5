#!/usr/bin/env python3
"""Stage 4: decode the validation set with every candidate and rank them by error rate.

The candidates of all measures, all N and all baselines are walked together,
so that what they share is computed once.
"""

import shutil
from pathlib import Path

from cli import progress, run
from inference_options import inference_parser, load_model, read_data
from search_lists import NAMES_OF_BASELINES, baseline_list, measure_list, quality_function, reverse_list

from comflp.artifacts import fingerprint_model, require
from comflp.processes import processes
from comflp.scoring import UNIT_OF_METRIC
from comflp.search.fine.evaluate import evaluate
from comflp.search.fine.ranking import rank
from comflp.search.baselines.greedy import glp
from comflp.target import layer_counts


def parse_options():
    arguments = inference_parser(__doc__)
    arguments.add_argument("--model", required=True, help="directory of the deep model")
    arguments.add_argument("--exp", required=True, help="experiment directory of the deep model")
    arguments.add_argument("--num-prune", required=True, help="N, layers to remove: a number, a list 4,6,8 or a range 1:8")
    arguments.add_argument("--measures", default="dc svcca", help="correlation measures whose candidates are searched")
    arguments.add_argument("--reverse-measures", default="", help="measures whose worst candidates are decoded too")
    arguments.add_argument("--baselines", default="top random", help=f"any of: {' '.join(NAMES_OF_BASELINES)}")
    arguments.add_argument("--data", default="data/valid", help="Kaldi data directory to decode")
    arguments.add_argument("--train", default="data/train", help="data that linear_probe trains its probes on")
    arguments.add_argument("--probe-utterances", type=int, default=1000, help="how many of them it uses")
    arguments.add_argument("--metric", choices=tuple(UNIT_OF_METRIC), default="cer", help="error rate to rank by")
    arguments.add_argument("--race", action="store_true",
                           help="drop candidates that are behind with 95%% confidence after a share of the utterances")
    arguments.add_argument("--seed", type=int, default=0, help="of the random draw, the intervals and the race")
    return arguments.parse_args()


def main():
    options = parse_options()
    with processes() as ranks:
        search(options, ranks)


def search(options, ranks):
    data = read_data(options.data, options)
    inputs = {"model": fingerprint_model(require(options.model, "stage 0 (deep model)")), "valid": data.fingerprint()}
    model = load_model(options.model, options)
    lists = []
    for num_prune in (counts.total for counts in layer_counts(options.num_prune, model.num_layers)):
        lists += [measure_list(options, num_prune, name, inputs) for name in options.measures.split()]
        lists += [reverse_list(options, num_prune, name, inputs) for name in options.reverse_measures.split()]
        lists += [baseline_list(options, num_prune, name, inputs, model, ranks) for name in options.baselines.split()]
    done = ranks.decide(lambda: [entry.up_to_date() for entry in lists])
    wanted = [entry for entry, is_done in zip(lists, done) if not is_done]
    if not wanted:
        if ranks.is_main:
            print(f"{options.exp}: fine search of {len(lists)} lists is up to date")
        return
    for searched, entries in (
        (walk_together, [entry for entry in wanted if entry.name != "glp"]),
        (greedy, [entry for entry in wanted if entry.name == "glp"]),
    ):
        results = searched(model, entries, data, options, ranks) if entries else []
        for entry, result in zip(entries, results):
            if ranks.is_main:
                entry.write(result)
                print(f"wrote {entry.directory}/ranked.json: {entry.summary(result)}")
    if ranks.is_main:
        shutil.rmtree(work_directory(options), ignore_errors=True)


def walk_together(model, entries, data, options, ranks):
    """Every list but GLP's in one walk."""
    proposals = [[candidate.proposal for candidate in entry.candidates] for entry in entries]
    evaluation = evaluate(
        model, [proposal for group in proposals for proposal in group], data,
        race=proposals if options.race else (), **common(options, ranks),
    )
    return [rank(evaluation, entry.candidates, options.seed) for entry in entries]


def greedy(model, entries, data, options, ranks):
    """GLP's steps on the way to the largest N hold its proposals for the smaller ones."""
    steps = glp(model, max(entry.num_prune for entry in entries), data, **common(options, ranks))
    return [steps[entry.num_prune - 1].with_quality(quality_function(options)) for entry in entries]


def common(options, ranks):
    return {
        "unit": UNIT_OF_METRIC[options.metric],
        "max_seconds": options.max_seconds,
        "seed": options.seed,
        "work": work_directory(options),
        "ranks": ranks,
        "allow_pipes": options.allow_pipes,
        "progress": progress,
    }


def work_directory(options):
    return Path(options.exp) / ".stage4"


run(main)
