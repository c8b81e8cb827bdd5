"""Fine search (Section 2.3): decode the candidates of coarse search, and rank them by error rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Callable, Mapping, Sequence

from comflp.data.data_dir import DataDir
from comflp.errors import ComflpError
from comflp.models.layered import LayeredModel
from comflp.proposal import Proposal
from comflp.scoring import ErrorRate
from comflp.search.coarse.candidate import Candidate
from comflp.search.fine.bootstrap import Difference, difference, rate_interval
from comflp.search.fine.evaluate import Evaluation, evaluate


@dataclass(frozen=True)
class RankedCandidate:
    """One candidate after fine search.

    rank: 1 is the best. quality: v(P), or None. errors: on the utterances it was tried on.
    difference_interval: 95% interval of its error rate less the winner's, in percentage points.
    dropped_after: number of utterances after which a race dropped it, or None.
    """

    rank: int
    proposal: Proposal
    quality: float | None
    errors: ErrorRate
    difference_interval: tuple[float, float]
    dropped_after: int | None = None


@dataclass(frozen=True)
class FineSearchResult:
    """Ranked candidates of one list, and what evaluating them took (with all lists that were walked together).

    search_cost: what a search in several steps took up to this one: ``models`` decoded, ``layer_runs`` and ``seconds``.
    deep: the evaluation of the deep model (of the proposal that removes nothing) on the same utterances, where there is one.
    seed: seed for the intervals.
    """

    results: tuple[RankedCandidate, ...]
    evaluation: Evaluation
    search_cost: Mapping[str, float] | None = None
    deep: Evaluation | None = None
    seed: int = 0

    @property
    def best(self) -> RankedCandidate:
        """The winner."""
        return self.results[0]

    def of(self, proposal: Proposal) -> RankedCandidate:
        """The result of one proposal; ComflpError where it was not among the candidates."""
        for result in self.results:
            if result.proposal == proposal:
                return result
        raise ComflpError(f"{proposal} is not among the candidates that were ranked")

    def with_quality(self, quality_of: Callable[[Proposal], float | None]) -> FineSearchResult:
        """The same ranking with v(P) filled in, for a search that did not look at it."""
        results = tuple(replace(result, quality=quality_of(result.proposal)) for result in self.results)
        return replace(self, results=results)

    def less_best(self, result: RankedCandidate) -> Difference:
        """A candidate's error rate less the winner's: whether they are tied, and how many utterances would tell them apart."""
        tried = result.dropped_after or len(self.evaluation.utt_ids)
        return Difference(self.evaluation.ranking_difference(result.proposal, self.best.proposal), *result.difference_interval, tried)

    def less_deep(self, proposal: Proposal) -> Difference | None:
        """A candidate's error rate less the deep model's; None where that was not decoded, or a race dropped the candidate."""
        if self.deep is None or proposal in self.evaluation.dropped:
            return None
        [nothing] = self.deep.counts
        counts = self.evaluation.ranking_counts(proposal), self.deep.ranking_counts(nothing)
        return difference(*counts, self.seed, self.evaluation.speakers)

    def as_json(self) -> dict:
        """The content of ranked.json (docs/artifacts.md)."""
        best = self.best.proposal
        return {
            "metric": self.evaluation.metric,
            "normaliser": self.evaluation.normaliser,
            "ranked_by": self.evaluation.ranked_by,
            "num_layers": best.num_layers,
            "num_prune": best.num_removed,
            "num_utterances": len(self.evaluation.utt_ids),
            **({"deep": self._rate(self.deep, next(iter(self.deep.counts)))} if self.deep else {}),
            "results": [self._as_json(result) for result in self.results],
            "num_batches": self.evaluation.num_batches,
            "layer_runs": self.evaluation.layer_runs,
            "frontend_runs": self.evaluation.frontend_runs,
            "seconds": self.evaluation.seconds,
            **({"search_cost": dict(self.search_cost)} if self.search_cost else {}),
        }

    def _as_json(self, result: RankedCandidate) -> dict:
        from_best, from_deep = self.less_best(result), self.less_deep(result.proposal)
        return {
            "rank": result.rank,
            "proposal": str(result.proposal),
            "quality": result.quality,
            **self._rate(self.evaluation, result.proposal),
            "difference": from_best.value,
            "difference_interval": list(result.difference_interval),
            "tied_with_best": from_best.tied,
            "utterances_to_tell": from_best.utterances_to_tell,
            "deep_difference": from_deep.value if from_deep else None,
            "deep_difference_interval": [from_deep.low, from_deep.high] if from_deep else None,
            "dropped_after": result.dropped_after,
        }

    def _rate(self, evaluation: Evaluation, proposal: Proposal) -> dict:
        errors = evaluation.error_rate(proposal)
        return {
            "error_rate": errors.rate,
            "interval": list(rate_interval(evaluation.counts[proposal], self.seed, evaluation.speakers)),
            "capped_error_rate": evaluation.capped_error_rate(proposal).rate,
            "ran_into_limit": evaluation.ran_into_limit[proposal],
            "substitutions": errors.substitutions,
            "deletions": errors.deletions,
            "insertions": errors.insertions,
            "ref_length": errors.ref_length,
        }


def fine_search(
    model: LayeredModel,
    candidates: Sequence[Candidate],
    data: DataDir,
    metric: str = "cer",
    race: bool = False,
    seed: int = 0,
    **options,
) -> FineSearchResult:
    """Decode ``data`` with each candidate and rank them; the winner comes first.

    race: drop candidates that are behind with 95% confidence after a share of the utterances.
    seed: seed for the bootstrap intervals and for a race's order of batches.
    options: those of :func:`comflp.search.fine.evaluate.evaluate`: ``max_seconds``, ``work``, ``ranks``, ``progress``...
    """
    proposals = [candidate.proposal for candidate in candidates]
    groups = [proposals] if race else ()
    evaluation = evaluate(model, proposals, data, metric, race=groups, seed=seed, **options)
    return rank(evaluation, candidates, seed)


def rank(evaluation: Evaluation, candidates: Sequence[Candidate], seed: int = 0) -> FineSearchResult:
    """Rank one list of candidates of an evaluation that may hold others too.

    Lowest error rate first; ties go to the higher quality, then to the layers. Of models that write token by token the
    rate has no utterance above 100%: one that a model repeats itself on for ever would decide the ranking.
    What a race dropped comes after what it did not, by the rate at which it stood.
    """
    quality = {candidate.proposal: candidate.quality for candidate in candidates}

    def order(proposal: Proposal) -> tuple:
        worth = -math.inf if quality[proposal] is None else quality[proposal]
        return proposal in evaluation.dropped, evaluation.ranking_rate(proposal), -worth, proposal

    ordered = sorted(quality, key=order)
    intervals = evaluation.intervals(ordered, ordered[0], seed)
    return FineSearchResult(
        tuple(
            RankedCandidate(
                number,
                proposal,
                quality[proposal],
                evaluation.error_rate(proposal),
                interval,
                evaluation.dropped.get(proposal),
            )
            for number, (proposal, interval) in enumerate(zip(ordered, intervals), start=1)
        ),
        evaluation,
        seed=seed,
    )
