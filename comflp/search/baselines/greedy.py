"""Greedy layer pruning by error rate (GLP, [28]).

It decodes with the tree walk of fine search, and removes, step by step, the layer without which the error rate is
lowest: O(L N) evaluations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Collection

from comflp.data import MAX_SECONDS
from comflp.data.data_dir import DataDir
from comflp.inference.loop import plan_batches
from comflp.models.layered import LayeredModel
from comflp.proposal import PruningProposal
from comflp.search.baselines.fixed import removable
from comflp.search.coarse.candidate import Candidate
from comflp.search.fine.evaluate import evaluate
from comflp.search.fine.ranking import FineSearchResult, rank
from comflp.inference.prefix_tree import StateCache

CACHE_BYTES = 2**30
"""Memory for states that one step of GLP leaves to the next."""


def glp(
    model: LayeredModel,
    num_prune: int,
    data: DataDir,
    metric: str = "cer",
    seed: int = 0,
    max_seconds: float = MAX_SECONDS,
    cache_bytes: float = CACHE_BYTES,
    must_stay: Collection[int] = (),
    **options,
) -> list[FineSearchResult]:
    """The ranked proposals of each step; ``result[n - 1].best`` is GLP's proposal for n removed layers.

    Ties go to the lower layers. cache_bytes: memory for states that a step
    leaves to the next; more of it saves layer runs, the result is the same. must_stay: layers that are never removed.
    options: what else :func:`comflp.search.fine.evaluate.evaluate` takes, such as ``normaliser``, ``hypotheses`` and ``work``.
    """
    layers = removable(model.num_layers, num_prune, must_stay)
    seconds = [batch[0].duration * len(batch) for batch in plan_batches(model, data, max_seconds)]
    caches = {index: StateCache(cache_bytes * share / sum(seconds)) for index, share in enumerate(seconds)}
    removed: tuple[int, ...] = ()
    steps, cost = [], {"models": 0, "layer_runs": 0, "seconds": 0.0}
    for _ in range(num_prune):
        left = [layer for layer in layers if layer not in removed]
        proposals = [PruningProposal.from_layers((*removed, layer), model.num_layers) for layer in left]
        evaluation = evaluate(model, proposals, data, metric, max_seconds=max_seconds, caches=caches, **options)
        cost = {
            "models": cost["models"] + len(proposals),
            "layer_runs": cost["layer_runs"] + evaluation.layer_runs,
            "seconds": cost["seconds"] + evaluation.seconds,
        }
        ranked = rank(evaluation, [Candidate(proposal, quality=None) for proposal in proposals], seed)
        steps.append(replace(ranked, search_cost=cost))
        removed = steps[-1].best.proposal.removed
    return steps
