"""Everything that the stages left under ``exp/<model>``, as one value."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Iterator, Mapping

import numpy as np

from comflp.artifacts import read_json
from comflp.errors import ComflpError
from comflp.experiment import Layout, ListFiles, NamedFiles, Result, decodes, exports, read_proposal, snapshots
from comflp.measures import COST
from comflp.measures.matrix_file import read_matrix
from comflp.proposal import PruningProposal
from comflp.result_names import FineTuned, ListName, ProposalName, Pruned, Repaired, Scratch, Start
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.target import LayerCounts


@dataclass(frozen=True)
class Model:
    """A model directory. path: inside the experiment. megabytes: of its files (10^6 bytes).

    scores: name of a data set -> its score.json. exports: format -> export.json of local/export.py.
    """

    path: str
    scores: Mapping[str, Mapping[str, Any]]
    megabytes: float
    exports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def _any(self, key: str) -> Any:
        return next((score[key] for score in self.scores.values()), None)

    @property
    def num_layers(self) -> int | None:
        """Layers, known once it was decoded."""
        return self._any("num_layers")

    @property
    def num_parameters(self) -> int | None:
        """Parameters, known once it was decoded."""
        return self._any("num_parameters")

    def rate(self, data: str) -> float | None:
        """Error rate on a data set in percent, None where it was not decoded."""
        return self.scores[data]["error_rate"] if data in self.scores else None


@dataclass(frozen=True)
class SearchList:
    """One list of candidates: candidates.json (None for baselines) and ranked.json (None before stage 4)."""

    num_prune: int
    name: ListName
    searched: Mapping[str, Any] | None
    ranked: Mapping[str, Any] | None

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Decoded candidates, best first, those that a race dropped left out."""
        return [entry for entry in (self.ranked or {}).get("results", []) if not entry.get("dropped_after")]

    @property
    def rates(self) -> list[float]:
        """Their error rates in percent."""
        return [entry["error_rate"] for entry in self.results]


@dataclass(frozen=True)
class Chosen:
    """A named proposal of stage 4 (proposal.json). error_rate: on the validation set, without fine-tuning."""

    num_prune: int
    name: ProposalName
    proposal: PruningProposal
    error_rate: float | None


@dataclass(frozen=True)
class Run:
    """What stage 5 made of a proposal in one way of training it. Runs of proposals of the same layers share their models.

    name: the proposal's name; where it has none, what it is made of. settings: of the training, None where there is none.
    proposal: None for a model that was started anew. log: rows of train_log.csv. snapshots: epoch -> correlation matrix.
    """

    num_prune: int
    name: ProposalName | Start
    settings: FineTuned | None
    proposal: PruningProposal | None
    pruned: Model | None
    repaired: Model | None
    finetuned: Model | None
    log: list[dict[str, float]]
    snapshots: Mapping[int, np.ndarray]

    @property
    def states(self) -> list[tuple[str, Model]]:
        """(what it is called, model) of the models that are there, the one that most was done to first."""
        states = ("fine-tuned", self.finetuned), ("repaired", self.repaired), ("pruned", self.pruned)
        return [(state, model) for state, model in states if model is not None]


@dataclass(frozen=True)
class Experiment:
    """All results of one deep model.

    matrices: measure -> (L+1, L+1). about: measure -> its .json. pictures: measure -> its .png.
    records: (path, record) in order of time. deployment: deploy.json of benchmarks/deploy.py, or None.
    """

    name: str
    deep: Model | None
    matrices: Mapping[str, np.ndarray] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)
    lists: tuple[SearchList, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    runs: tuple[Run, ...] = ()
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    deployment: Mapping[str, Any] | None = None

    @cached_property
    def num_layers(self) -> int | None:
        """L, from whatever says it."""
        if self.matrices:
            return len(next(iter(self.matrices.values()))) - 1
        if self.deep and self.deep.num_layers:
            return self.deep.num_layers
        return next((entry.proposal.num_layers for entry in self.chosen), None)

    @property
    def num_prunes(self) -> list[int]:
        """Every N with results."""
        return sorted({entry.num_prune for entry in (*self.lists, *self.chosen, *self.runs)})

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

    def quality(self, proposal: PruningProposal | None, measure: str | None = None) -> float | None:
        """v(P) by a measure's matrix (by the main one if left out), minus the cost by a matrix of costs.

        None where the proposal or the matrix is not there, or the measure forbids the proposal.
        """
        measure = measure or self.main_measure
        if proposal is None or measure not in self.matrices:
            return None
        is_cost = self.about.get(measure, {}).get("kind") == COST
        return BlockMatrix(self.matrices[measure], is_cost, unit_interval=False).quality(proposal)

    def lists_of(self, num_prune: int) -> list[SearchList]:
        """The lists of one N: measures, reverse searches, random, other baselines."""
        def order(entry: SearchList) -> tuple:
            name = entry.name
            return name.reverse or name.source not in self.matrices, not name.reverse, name.source != "random", name.source
        return sorted((entry for entry in self.lists if entry.num_prune == num_prune), key=order)


def collect(exp: str | Path) -> Experiment:
    """Read an experiment directory; what is not there yet is left out.

    Raises ComflpError where there is no such directory or nothing in it, a file in it is damaged (the message names it), or it was made by
    a version that kept models elsewhere.
    """
    layout = Layout(Path(exp))
    if not any(path.name != "log" and not path.name.startswith(".") for path in layout.root.glob("*")):
        raise ComflpError(f"experiment directory {exp} does not exist or is empty; stage 0 fills it")
    reader = _Reader(layout)
    matrices = {path.stem: read_matrix(path) for path in sorted(layout.correlation("*").parent.glob("*.npy"))}
    return Experiment(
        layout.root.resolve().name,
        reader.model(layout.deep),
        matrices,
        {name: _optional(layout.correlation(name, ".json")) or {} for name in matrices},
        {name: layout.correlation(name, ".png") for name in matrices if layout.correlation(name, ".png").exists()},
        tuple(_list(*found) for found in layout.lists()),
        tuple(_chosen(*found) for found in layout.names()),
        tuple(reader.runs()),
        tuple(_records(layout)),
        _optional(layout.deployment),
    )


def _optional(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _list(counts: LayerCounts, name: ListName, files: ListFiles) -> SearchList:
    return SearchList(counts.total, name, _optional(files.candidates), _optional(files.ranked))


def _chosen(counts: LayerCounts, name: ProposalName, files: NamedFiles) -> Chosen:
    return Chosen(counts.total, name, read_proposal(files.proposal), read_json(files.proposal).get("error_rate"))


class _Reader:
    """Reads the models of an experiment, each once."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self._models: dict[Path, Model | None] = {}

    def model(self, directory: Path) -> Model | None:
        """The model of a directory, None where there is none."""
        if directory not in self._models:
            self._models[directory] = _model(directory, self.layout.root) if directory.is_dir() else None
        return self._models[directory]

    def runs(self) -> Iterator[Run]:
        """For each result the runs of the names that point to it, then those that no name points to."""
        links = {}
        for _, name, files in self.layout.names():
            for link in files.links():
                links.setdefault(link.resolve(), []).append(name)
        for result in self.layout.results():
            start, states = result.start, result.states()
            trained = {state for state in states if isinstance(state, FineTuned)} | set(result.trainings())
            named: dict[ProposalName | Start, set[FineTuned]] = {}
            for state in sorted(trained):
                for name in links.get(result.training(state).resolve(), [start]):
                    named.setdefault(name, set()).add(state)
            if not trained and states:
                named = {name: set() for name in links.get(result.model(Pruned()).resolve(), [start])}
            for name, settings in named.items():
                for setting in sorted(settings) or [None]:
                    yield self._run(result, name, setting)

    def _run(self, result: Result, name: ProposalName | Start, settings: FineTuned | None) -> Run:
        anew = isinstance(result.start, Scratch)
        training = result.training(settings) if settings else result.directory / "none"
        return Run(
            result.start.counts.total if anew else result.start.num_removed,
            name,
            settings,
            None if anew else result.start,
            self.model(result.model(Pruned())),
            self.model(result.model(Repaired())),
            self.model(result.model(settings)) if settings else None,
            _log(training / "train_log.csv"),
            {epoch: read_matrix(path) for epoch, path in snapshots(training).items()},
        )


def _log(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        try:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        except (TypeError, ValueError):
            raise ComflpError(f"{path} is damaged; delete it, and stage 5 writes it again with its next epoch") from None


def _model(directory: Path, exp: Path) -> Model:
    skipped = ("README.md", "record.json")
    size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file() and path.name not in skipped)
    scores, exported = ({name: read_json(path) for name, path in found.items()} for found in (decodes(directory), exports(directory)))
    return Model(str(directory.relative_to(exp)), scores, size / 1e6, exported)


def _records(layout: Layout) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for path in sorted(layout.root.rglob("*record.json")):
        record = None if path.is_relative_to(layout.report) else read_json(path)
        if isinstance(record, dict) and "stage" in record:
            found.append((str(path.relative_to(layout.root)), record))
    return sorted(found, key=lambda pair: (pair[1].get("finished", ""), pair[0]))
