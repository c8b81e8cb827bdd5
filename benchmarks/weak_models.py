#!/usr/bin/env python3
"""What each label-free score of proposals is worth for one deep model, and what a search by it ends with.

    python ../../benchmarks/weak_models.py --model exp/transformer12/train_deep/epoch5 --out exp/weak/epoch5    # in a recipe
    python ../../benchmarks/weak_tables.py table exp/weak/*

It scores random proposals and the best by skip_kl's sum by every criterion in one pass (criteria.py), lets the pool grow
while a criterion's choice lies at its end, runs GLP, and decodes random proposals, lists and winners. Each part is kept in
``--out``; a run that was stopped goes on.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats
from tqdm import tqdm

import comflp.models
from comflp.artifacts import read_json, write_json
from comflp.data.data_dir import read_data_dir
from comflp.inference.hidden_states import collect
from comflp.inference.loop import Pass
from comflp.inference.output_change import joined
from comflp.inference.prefix_tree import PrefixTree
from comflp.inference.speech import Speech
from comflp.measures import correlation_matrix, skip_matrix
from comflp.proposal import PruningProposal
from comflp.search import BlockMatrix, baselines, coarse_search
from comflp.search.baselines.fixed import num_sets
from comflp.search.baselines.greedy import glp
from comflp.search.fine.bootstrap import difference_intervals
from comflp.search.fine.evaluate import evaluate
from criteria import CRITERIA, JOINED, SUMS

K = 10
DC_UTTERANCES = 40
PLAIN = ("dc", "skip_kl")
REFINED = (*CRITERIA, *SUMS, *JOINED)
GROWS_FOR = ("kl", "ctc", "sampled")
FORBIDDEN = 1e9
"""What JSON has in place of an infinite cost."""


def kept(path, make):
    """The JSON of ``path``, which ``make`` gives where it is not there yet."""
    if not path.exists():
        write_json(path, make())
    return read_json(path)


def keep_options(out, options):
    """Note the options of a run in its folder; a run with others ends here."""
    settings = {key: value for key, value in vars(options).items() if key not in ("function", "out")}
    if kept(out / "options.json", lambda: settings) != settings:
        raise SystemExit(f"{out} holds results of other options; take another --out")


def scores_of(speech, proposals):
    """Proposal -> criterion -> its sum over all utterances, and for what is a mean, over what."""
    model = speech.model
    tree = PrefixTree([model.nothing, *proposals], model.path)

    def work(_, audio):
        walk = tree.walk(model, model.begin(audio))
        found, waiting, compare = {}, [], None
        for proposal, state, _ in walk:
            waiting.append((proposal, model.finish(state)))
            if not proposal.num_removed:
                deep = waiting.pop()[1]
                compare = {name: criterion(model, audio, deep) for name, criterion in CRITERIA.items()}
            while waiting and compare:
                changed, output = waiting.pop()
                found[str(changed)] = {name: tuple(map(float, compared(output))) for name, compared in compare.items()}
        return found

    totals = {}
    for result in Pass(speech, proposals=list(map(str, proposals))).run(work, f"{len(proposals)} pruned models"):
        for name, values in result.items():
            so_far = totals.setdefault(name, {})
            for key, (total, weight) in values.items():
                before = so_far.get(key, (0.0, 0.0))
                so_far[key] = (before[0] + total, before[1] + weight)
    return totals


def score(values, name):
    """A criterion's value of one proposal; lower is better."""
    if name in SUMS:
        return sum(values[part][0] for part in SUMS[name])
    if name in JOINED:
        return joined([values[part][0] / values[part][1] for part in name.split("+")])
    return values[name][0] / values[name][1]


def matrices_of(speech, options):
    hidden = collect(speech.model, speech.drawn(DC_UTTERANCES, options.seed).data)
    return {
        "dc": correlation_matrix(hidden, "dc", options.seed).tolist(),
        "skip_kl": np.minimum(skip_matrix(speech, "skip_kl", options.seed), FORBIDDEN).tolist(),
    }


def scored(options, speech, matrix, num_prune):
    """Scores of the random proposals and of a pool that grows, best by skip_kl's sum first."""
    layers = speech.model.num_layers
    probe = speech.drawn(options.utterances, options.seed)
    drawn = list(map(str, baselines.random(layers, num_prune, options.seed, options.random)))
    size, scores, ranks = options.pool, {}, {}
    while True:
        size = min(size, num_sets(layers, num_prune))
        pool = [str(c.proposal) for c in coarse_search(BlockMatrix(matrix, is_cost=True), num_prune, size)]
        new = [name for name in dict.fromkeys([*drawn, *pool]) if name not in scores]
        scores |= scores_of(probe, [PruningProposal.parse(name, layers) for name in new])
        chosen = {name: sorted(pool, key=lambda p: score(scores[p], name))[:K] for name in REFINED}
        ranks = {name: [pool.index(p) + 1 for p in best] for name, best in chosen.items()}
        if size >= options.most or size >= num_sets(layers, num_prune) or all(max(ranks[name]) <= size / 2 for name in GROWS_FOR):
            break
        size *= 2
    return {"random": drawn, "pool": pool, "scores": scores, "ranks": ranks}


def run(options):
    out, data = Path(options.out), Path(options.data)
    out.mkdir(parents=True, exist_ok=True)
    keep_options(out, options)
    model = comflp.models.load(options.model)
    how = {"progress": tqdm, "work": out / "work"}
    speech = Speech(model, read_data_dir(data / "probe"), **how)
    valid, test = (Speech(model, read_data_dir(data / name)).drawn(number, options.seed).data
                   for name, number in (("valid", options.valid), ("test", options.test)))
    layers, nothing = model.num_layers, PruningProposal(model.num_layers, ())
    matrices = kept(out / "matrices.json", lambda: matrices_of(speech, options))
    found = {n: kept(out / f"scores{n}.json", lambda n=n: scored(options, speech, np.array(matrices["skip_kl"]), n))
             for n in options.num_prune}
    lists = {}
    for n in options.num_prune:
        lists[n] = {
            name: [str(c.proposal) for c in coarse_search(BlockMatrix(np.array(matrices[name]), name == "skip_kl"), n, K)]
            for name in PLAIN
        }
        for name in REFINED:
            lists[n][name] = sorted(found[n]["pool"], key=lambda p, n=n, name=name: score(found[n]["scores"][p], name))[:K]
    listed = {p for by_name in lists.values() for best in by_name.values() for p in best}
    random = {p for case in found.values() for p in case["random"]}

    def decoded(data, names):
        evaluation = evaluate(model, [nothing, *(PruningProposal.parse(name, layers) for name in sorted(names))], data, **how)
        return {str(p): counts.tolist() for p, counts in evaluation.counts.items()}

    on_valid = kept(out / "valid.json", lambda: decoded(valid, listed | random))
    greedy = kept(out / "glp.json", lambda: {"steps": [
        str(step.best.proposal) for step in glp(model, max(found), valid, **how)]})["steps"]
    winners = {n: {name: min(best, key=lambda p: rate(on_valid[p])) for name, best in lists[n].items()} for n in lists}
    chosen = {p for by_name in winners.values() for p in by_name.values()} | {greedy[n - 1] for n in found}
    on_test = kept(out / "test.json", lambda: decoded(test, chosen))
    write_json(out / "summary.json", {
        "deep": {"valid": rate(on_valid[str(nothing)]), "test": rate(on_test[str(nothing)])},
        **{str(n): summary(found[n], lists[n], winners[n], greedy[n - 1], matrices, on_valid, on_test, layers) for n in found},
    })


def rate(counts):
    substitutions, deletions, insertions, hits = np.sum(counts, axis=0)
    return float(100 * (substitutions + deletions + insertions) / (substitutions + deletions + hits))


def summary(case, lists, winners, greedy, matrices, on_valid, on_test, layers):
    rates = [rate(on_valid[p]) for p in case["random"]]
    result = {"random": [min(rates), float(np.mean(rates)), max(rates)], "pool": len(case["pool"]),
              "glp": {"test": rate(on_test[greedy]), "proposal": greedy}, "methods": {}}
    for name, best in lists.items():
        if name in PLAIN:
            matrix = BlockMatrix(np.array(matrices[name]), name == "skip_kl")
            costs = [-matrix.quality(PruningProposal.parse(p, layers)) for p in case["random"]]
        else:
            costs = [score(case["scores"][p], name) for p in case["random"]]
        interval = difference_intervals(np.array([on_test[winners[name]]]), np.array(on_test[greedy]), 0)[0]
        result["methods"][name] = {
            "spearman": float(stats.spearmanr(costs, rates).statistic),
            "first": rate(on_valid[best[0]]), "ten": float(np.mean([rate(on_valid[p]) for p in best])),
            "winner": rate(on_test[winners[name]]), "winner_less_glp": interval,
            **({"last_rank": max(case["ranks"][name])} if name in case["ranks"] else {}),
        }
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory of the deep model; train_deep/epoch<E> will do")
    parser.add_argument("--data", default="data", help="folder with the data directories probe, valid and test")
    parser.add_argument("--out", required=True, help="folder for results; what is there already is not made again")
    parser.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    parser.add_argument("--random", type=int, default=60, help="random proposals that scores are compared on")
    parser.add_argument("--pool", type=int, default=60, help="best proposals by skip_kl's sum that are run at first")
    parser.add_argument("--most", type=int, default=240, help="size at which the pool stops growing")
    parser.add_argument("--utterances", type=int, default=32, help="utterances that criteria are measured on")
    parser.add_argument("--valid", type=int, default=96, help="utterances that random proposals, GLP and fine search decode")
    parser.add_argument("--test", type=int, default=96, help="utterances that winners are compared with GLP on")
    parser.add_argument("--seed", type=int, default=0, help="seed for the random draw of proposals and utterances")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
