"""Everything that the stages left under ``exp/<model>``, as one value."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from comflp.artifacts import read_json
from comflp.errors import ComflpError
from comflp.measures import COST
from comflp.measures.matrix_file import read_matrix
from comflp.proposal import PruningProposal
from comflp.search.coarse.block_matrix import BlockMatrix

_SNAPSHOT = re.compile(r"(?P<measure>.+)_epoch(?P<epoch>[0-9]+)\.npy")
_STARTED_ANEW = ("scratch", "scratch_frontend")


@dataclass(frozen=True)
class Model:
    """A model directory. scores: name of a data set -> its score.json. megabytes: of its files (10^6 bytes)."""

    path: str
    scores: Mapping[str, Mapping[str, Any]]
    megabytes: float

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
    name: str
    searched: Mapping[str, Any] | None
    ranked: Mapping[str, Any] | None

    @property
    def is_reverse(self) -> bool:
        """Whether it holds the worst candidates."""
        return self.name.endswith("_reverse")

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
    name: str
    proposal: PruningProposal
    error_rate: float | None
    search: str | None


@dataclass(frozen=True)
class Run:
    """One fine-tuning run of stage 5. proposal: None for a model that was started anew.

    log: rows of train_log.csv. snapshots: epoch -> correlation matrix.
    """

    num_prune: int
    name: str
    proposal: PruningProposal | None
    pruned: Model | None
    finetuned: Model | None
    log: list[dict[str, float]]
    snapshots: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Experiment:
    """All results of one deep model.

    matrices: measure -> (L+1, L+1). about: measure -> its .json. pictures: measure -> its .png.
    records: (path, record) in order of time.
    deployment: deploy.json of benchmarks/deploy.py, or None. exports: path -> export.json of local/export.py.
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
    exports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
    def data_sets(self) -> list[str]:
        """Names of the decoded sets, test last."""
        models = [self.deep, *(model for run in self.runs for model in (run.pruned, run.finetuned))]
        found = {name for model in models if model for name in model.scores}
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
        def order(entry: SearchList):
            return entry.name not in self.matrices, not entry.is_reverse, entry.name != "random", entry.name
        return sorted((entry for entry in self.lists if entry.num_prune == num_prune), key=order)


def collect(exp: str | Path) -> Experiment:
    """Read an experiment directory; what is not there yet is left out.

    Raises ComflpError where there is no such directory, or a file in it is damaged (the message names it).
    """
    exp = Path(exp)
    if not exp.is_dir():
        raise ComflpError(f"experiment directory {exp} does not exist; stage 0 makes it")
    matrices = {path.stem: read_matrix(path) for path in sorted(exp.glob("correlation/*.npy"))}
    lists, chosen, runs = [], [], []
    for directory in sorted(exp.glob("prune*/*/")):
        match = re.fullmatch(r"prune([0-9]+)", directory.parent.name)
        if match is None or directory.name.startswith("."):
            continue
        num_prune = int(match[1])
        if (directory / "candidates.json").exists() or (directory / "ranked.json").exists():
            lists.append(SearchList(num_prune, directory.name, _optional(directory / "candidates.json"),
                                    _optional(directory / "ranked.json")))
        if (directory / "stage4.record.json").exists() and (directory / "proposal.json").exists():
            chosen.append(_chosen(directory, num_prune))
        if (directory / "train").is_dir() or (directory / "pruned").is_dir():
            runs.append(_run(directory, num_prune, exp))
    return Experiment(
        exp.resolve().name,
        _model(exp / "deep", exp),
        matrices,
        {name: _optional(exp / "correlation" / f"{name}.json") or {} for name in matrices},
        {path.stem: path for path in exp.glob("correlation/*.png")},
        tuple(lists),
        tuple(chosen),
        tuple(runs),
        tuple(_records(exp)),
        _optional(exp / "deploy" / "deploy.json"),
        {str(path.parent.relative_to(exp)): read_json(path) for path in sorted(exp.glob("**/export/*/export.json"))},
    )


def _optional(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _chosen(directory: Path, num_prune: int) -> Chosen:
    content = read_json(directory / "proposal.json")
    try:
        proposal = PruningProposal.parse(content["proposal"], num_layers=content["num_layers"])
    except (KeyError, TypeError) as error:
        raise ComflpError(f"{directory / 'proposal.json'} has no {error}; run stage 4 again with --force") from None
    return Chosen(num_prune, directory.name, proposal, content.get("error_rate"), content.get("search"))


def _run(directory: Path, num_prune: int, exp: Path) -> Run:
    content = _optional(directory / "proposal.json") or {}
    anew = any(directory.name == name or directory.name.startswith(f"{name}_") for name in _STARTED_ANEW)
    proposal = None
    if content and not anew:
        proposal = PruningProposal.parse(content["proposal"], num_layers=content["num_layers"])
    snapshots = {}
    for path in sorted((directory / "train" / "snapshots").glob("*.npy")):
        match = _SNAPSHOT.fullmatch(path.name)
        if match:
            snapshots[int(match["epoch"])] = read_matrix(path)
    return Run(
        num_prune, directory.name, proposal, _model(directory / "pruned", exp), _model(directory / "finetuned", exp),
        _log(directory / "train" / "train_log.csv"), snapshots,
    )


def _log(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        try:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        except (TypeError, ValueError):
            raise ComflpError(f"{path} is damaged; delete it, and stage 5 writes it again with its next epoch") from None


def _model(directory: Path, exp: Path) -> Model | None:
    if not directory.is_dir():
        return None
    scores = {path.parent.name.removeprefix("decode_"): read_json(path) for path in sorted(directory.glob("decode_*/score.json"))}
    skipped = ("README.md", "record.json")
    size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file() and path.name not in skipped)
    return Model(str(directory.relative_to(exp)), scores, size / 1e6)


def _records(exp: Path) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for path in sorted(exp.rglob("*record.json")):
        if "report" in path.relative_to(exp).parts[:1]:
            continue
        record = read_json(path)
        if isinstance(record, dict) and "stage" in record:
            found.append((str(path.relative_to(exp)), record))
    return sorted(found, key=lambda pair: (pair[1].get("finished", ""), pair[0]))
