"""The lists of candidates that fine search ranks: where each comes from, what is proposed from it, and what is written."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence

import numpy as np

from comflp.artifacts import fingerprint_value, require, write_json
from comflp.experiment import Layout
from comflp.proposal import Proposal
from comflp.record import Stage
from comflp.result_names import COARSE, FINE, ListName, ProposalName
from comflp.search.baselines.baseline import BEST, FIRST, Baseline
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.candidates_file import read_candidates
from comflp.target import LayerCounts

if TYPE_CHECKING:
    from comflp.search.fine.ranking import FineSearchResult, RankedCandidate

Quality = Callable[[Proposal], "float | None"]
"""A proposal's quality by a matrix; None where it has none."""


class CandidateList:
    """Candidates for one number of layers to remove, and what is proposed from them.

    counts: how many layers go. name: what the list is called. measure: whose candidates they are; None for a baseline.
    find: gives the candidates in the order of their search, called when they are needed; None of a baseline that decodes
        to find them. details: more for ranked.json, called when the candidates have been found.
    identity: what the candidates follow from (JSON-able), for the record. upstream: records of the stages they come from.
    choices: the proposals that are chosen from the list, and how: FIRST or BEST.
    """

    def __init__(
        self,
        counts: LayerCounts,
        name: ListName,
        find: Callable[[], Sequence[Candidate]] | None,
        identity: Any,
        choices: Mapping[ProposalName, str],
        measure: str | None = None,
        details: Callable[[], Mapping[str, Any]] = dict,
        upstream: Iterable[Path] = (),
    ):
        self.counts, self.name, self.measure, self.choices = counts, name, measure, choices
        self.identity, self.upstream, self.details = identity, tuple(upstream), details
        self.find = find

    @cached_property
    def candidates(self) -> Sequence[Candidate]:
        """In the order of their search; none of a baseline that decodes to find them."""
        return self.find() if self.find else ()

    @property
    def proposals(self) -> list[Proposal]:
        """Those of the candidates."""
        return [candidate.proposal for candidate in self.candidates]

    def chosen(self, result: FineSearchResult) -> dict[ProposalName, RankedCandidate]:
        """The proposals that are chosen from the list once it is ranked."""
        return {
            name: result.best if choice == BEST else result.of(self.candidates[0].proposal)
            for name, choice in self.choices.items()
        }


def measure_list(layout: Layout, counts: LayerCounts, measure: str, reverse: bool = False) -> CandidateList:
    """The candidates that coarse search found by a measure; from the worst ones (``reverse``) nothing is proposed.

    Raises ComflpError where stage 3 has not made them, or they are damaged.
    """
    files = layout.list(counts, name := ListName(measure, reverse))
    candidates, content = read_candidates(require(files.candidates, "stage 3 (coarse search)"))
    choices = {} if reverse else {ProposalName(measure, COARSE): FIRST, ProposalName(measure, FINE): BEST}
    return CandidateList(
        counts, name, lambda: candidates, content["candidates"], choices, measure, upstream=[files.candidates_record]
    )


def baseline_list(baseline: Baseline, counts: LayerCounts, quality: Quality) -> CandidateList:
    """The candidates of a baseline, with their quality."""
    propose = baseline.propose

    def find() -> list[Candidate]:
        return [Candidate(proposal, quality(proposal)) for proposal in propose(counts)]

    return CandidateList(
        counts, ListName(baseline.name), find if propose else None, list(baseline.identity),
        {ProposalName(baseline.name): baseline.choice}, details=baseline.details, upstream=baseline.upstream,
    )


class RankedFiles:
    """What fine search leaves of one list, ranked.json and a proposal.json for each choice, with their records.

    options, inputs: those of the stage, as records hold them. metric: the error rate that the list is ranked by, ``cer`` or ``wer``.
    """

    def __init__(
        self,
        layout: Layout,
        entry: CandidateList,
        metric: str,
        options: Mapping[str, Any],
        inputs: Mapping[str, str],
        force: bool = False,
    ):
        self._entry, self._metric = entry, metric
        self._list = layout.list(entry.counts, entry.name)
        self._named = {name: layout.named(entry.counts, name) for name in entry.choices}
        recorded = {"metric": metric, **options, "candidates": fingerprint_value(entry.identity)}
        self._stages = {
            record: Stage(record, "stage4_fine_search", recorded, inputs, entry.upstream, force)
            for record in {self._list.ranked_record, *(files.record for files in self._named.values())}
        }

    def up_to_date(self) -> bool:
        """True when everything of this list is there and intact; ComflpError where it was made otherwise."""
        stale = [stage for stage in self._stages.values() if not stage.up_to_date()]
        return not stale

    def write(self, result: FineSearchResult) -> str:
        """Write the ranking and the proposals, then their records; returns a line that says so."""
        entry, outputs = self._entry, {record: [] for record in self._stages}
        key = result.evaluation.ranked_by
        ranked = {"name": str(entry.name), "measure": entry.measure, **result.as_json(), **entry.details()}
        write_json(self._list.ranked, ranked)
        outputs[self._list.ranked_record].append(self._list.ranked)
        if entry.name.source == "random":
            write_json(self._list.candidates, {
                "measure": None, "num_layers": ranked["num_layers"], "num_prune": entry.counts.total, "method": "random",
                "candidates": [candidate.as_dict() for candidate in entry.candidates],
            })
            outputs[self._list.ranked_record].append(self._list.candidates)
        for name, chosen in entry.chosen(result).items():
            files = self._named[name]
            files.choose({
                "name": str(name),
                "proposal": str(chosen.proposal),
                "num_layers": ranked["num_layers"],
                "num_prune": entry.counts.total,
                "measure": entry.measure,
                "search": name.search or "baseline",
                "quality": chosen.quality,
                "metric": self._metric,
                "ranked_by": key,
                "error_rate": chosen.errors.rate,
                "capped_error_rate": result.evaluation.capped_error_rate(chosen.proposal).rate,
                "ran_into_limit": result.evaluation.ran_into_limit[chosen.proposal],
            })
            outputs[files.record].append(files.proposal)
        for record, stage in self._stages.items():
            stage.finish(outputs[record])
        best, others = ranked["results"][0], ranked["results"][1:]
        deep = f", deep model {ranked['deep'][key]:.2f}%" if "deep" in ranked else ""
        tied = sum(other["tied_with_best"] for other in others)
        said = f", {tied} of {len(others)} others not distinguishable from it" if tied else ""
        mean = np.mean([entry[key] for entry in ranked["results"]])
        return (f"wrote {self._list.ranked}: {entry.name}, {entry.counts} layers removed: best {best['proposal']} with "
                f"{self._metric.upper()} {best[key]:.2f}%{deep}{said}, mean of {len(others) + 1} {mean:.2f}%"
                f"{' (no utterance above 100%)' if result.evaluation.capped else ''}")
