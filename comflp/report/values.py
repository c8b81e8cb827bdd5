"""The results of an experiment as values: models, lists of candidates, proposals, runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Mapping

import numpy as np

from comflp.costs import ModelCosts
from comflp.measures.table import COST
from comflp.proposal import Proposal, PruningProposal
from comflp.report.rates import Rate
from comflp.result_names import FineTuned, ListName, ProposalName, Start
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.stacks import StackMatrices
from comflp.target import ENCODER, LayerCounts


@dataclass(frozen=True)
class Model:
    """A model directory. path: its directory inside the experiment. megabytes: the size of its files (10^6 bytes).

    scores: name of a data set -> its score.json. rates: the same, with intervals. exports: format -> export.json.
    """

    path: str
    scores: Mapping[str, Mapping[str, Any]]
    megabytes: float
    exports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)

    @property
    def num_parameters(self) -> int | None:
        """Parameters, known once it was decoded."""
        return next((score["num_parameters"] for score in self.scores.values()), None)

    def rate(self, data: str) -> float | None:
        """Error rate on a data set in percent, None where it was not decoded."""
        return self.rates[data].value if data in self.scores else None


@dataclass(frozen=True)
class SearchList:
    """One list of candidates: candidates.json (None for baselines) and ranked.json (None before stage 4).

    repaired: whether the candidates were repaired before they were decoded.
    """

    counts: LayerCounts
    name: ListName
    searched: Mapping[str, Any] | None
    ranked: Mapping[str, Any] | None
    repaired: bool = False

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Decoded candidates, best first, those that a race dropped left out."""
        return [entry for entry in (self.ranked or {}).get("results", []) if not entry["dropped_after"]]

    @property
    def rates(self) -> list[float]:
        """Their error rates in percent."""
        return [entry["error_rate"] for entry in self.results]

    def proposal(self, entry: Mapping[str, Any]) -> Proposal:
        """The proposal of a candidate of ranked.json or candidates.json."""
        return PruningProposal.parse(entry["proposal"], num_layers=(self.ranked or self.searched or {})["num_layers"])


@dataclass(frozen=True)
class Chosen:
    """A named proposal of stage 4 (proposal.json). error_rate: on the validation set, without fine-tuning."""

    counts: LayerCounts
    name: ProposalName
    proposal: Proposal
    error_rate: float | None


@dataclass(frozen=True)
class Run:
    """What stage 5 made of a proposal in one way of training it. Runs of proposals of the same layers share their models.

    name: the proposal's name; where it has none, what it is made of. settings: those of the training, None where there is none.
    proposal: None for a model that was started anew. log: rows of train_log.csv. snapshots: epoch -> correlation matrix.
    """

    counts: LayerCounts
    name: ProposalName | Start
    settings: FineTuned | None
    proposal: Proposal | None
    pruned: Model | None
    repaired: Model | None
    finetuned: Model | None
    log: list[dict[str, float]]
    snapshots: Mapping[int, np.ndarray]

    @property
    def num_prune(self) -> int:
        """N, of all stacks together."""
        return self.counts.total

    @property
    def states(self) -> list[tuple[str, Model]]:
        """(what it is called, model) of the models that are there, the one that most was done to first."""
        states = ("fine-tuned", self.finetuned), ("repaired", self.repaired), ("pruned", self.pruned)
        return [(state, model) for state, model in states if model is not None]


@dataclass(frozen=True)
class Experiment:
    """All results of one deep model.

    matrices: measure -> stack -> (L+1, L+1). about: measure -> the .json of its first matrix.
    records: (path, record) in order of time. deployment: deploy.json of benchmarks/deploy.py, or None.
    """

    name: str
    deep: Model | None
    matrices: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lists: tuple[SearchList, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    runs: tuple[Run, ...] = ()
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    deployment: Mapping[str, Any] | None = None
    costs: ModelCosts | None = None

    @cached_property
    def stacks(self) -> dict[str, int]:
        """Stack -> L, from whatever says it; nothing where nothing does."""
        if self.costs:
            return dict(self.costs.num_layers)
        known = [entry.proposal.num_layers for entry in (*self.chosen, *self.runs) if entry.proposal is not None]
        known += [entry.searched["num_layers"] for entry in self.lists if entry.searched]
        known += [{stack: len(matrix) - 1 for stack, matrix in each.items()} for each in self.matrices.values()]
        known += [score["num_layers"] for score in (self.deep.scores.values() if self.deep else ())]
        for found in known:
            return dict(found) if isinstance(found, Mapping) else {ENCODER: found}
        return {}

    @property
    def num_layers(self) -> int | None:
        """L of all stacks together."""
        return sum(self.stacks.values()) or None

    @property
    def counts(self) -> list[LayerCounts]:
        """Every number of removed layers with results, smallest first; not that of the deep model trained on."""
        found = {entry.counts for entry in (*self.lists, *self.chosen, *self.runs) if entry.counts.total}
        return sorted(found, key=lambda counts: (counts.total, str(counts)))

    @property
    def main_measure(self) -> str | None:
        """The measure that a lone quality column shows: dc where it is there, as in the paper's Table 1."""
        return "dc" if "dc" in self.matrices else next(iter(self.matrices), None)

    @property
    def models(self) -> dict[str, tuple[Run | None, str, Model]]:
        """Path -> (first run that has it, None for the deep model; what it is called; model)."""
        found = {self.deep.path: (None, "deep", self.deep)} if self.deep else {}
        for run in self.runs:
            for state, model in run.states:
                found.setdefault(model.path, (run, state, model))
        return found

    @property
    def data_sets(self) -> list[str]:
        """Names of the decoded sets, test last."""
        found = {name for _, _, model in self.models.values() for name in model.scores}
        return sorted(found, key=lambda name: (name == "test", name))

    def is_cost(self, measure: str) -> bool:
        """Whether a measure's matrices hold costs."""
        return self.about.get(measure, {}).get("kind") == COST

    def quality(self, proposal: Proposal | None, measure: str | None = None) -> float | None:
        """v(P) by a measure's matrices (by the main one if left out); minus the cost by matrices of costs.

        None where the proposal or a matrix is not there, or the measure forbids the proposal.
        """
        name = measure or self.main_measure or ""
        matrices, is_cost = self.matrices.get(name, {}), self.is_cost(name)
        if proposal is None or not matrices:
            return None
        return StackMatrices({stack: BlockMatrix(matrix, is_cost, unit_interval=False) for stack, matrix in matrices.items()}).quality(proposal)

    def lists_of(self, counts: LayerCounts) -> list[SearchList]:
        """The lists of one N: measures, reverse searches, random, other baselines."""
        def order(entry: SearchList) -> tuple:
            name = entry.name
            return name.reverse or name.source not in self.matrices, not name.reverse, name.source != "random", name.source
        return sorted((entry for entry in self.lists if entry.counts == counts), key=order)
