"""Everything that the stages left under ``exp/<model>``, as one value."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Iterator, Mapping


from comflp.artifacts import read_json, read_text
from comflp.costs import ModelCosts
from comflp.errors import ComflpError
from comflp.experiment import Layout, ListFiles, NamedFiles, Result, counts_of, decodes, exports, read_proposal, snapshots
from comflp.measures.matrix_file import read_matrix
from comflp.origins import refuse_other_data, refuse_other_origins
from comflp.record import read_record, refuse_changed, refuse_outdated
from comflp.report.rates import Rate, read_rate
from comflp.report.values import Chosen, Experiment, Model, Run, SearchList
from comflp.result_names import FineTuned, ListName, ProposalName, Pruned, Repaired, Scratch, Start
from comflp.target import LayerCounts


def collect(exp: str | Path, metric: str = "cer") -> Experiment:
    """Read an experiment directory; what is not there yet is left out.

    metric: what the utterances' errors are counted by, ``cer`` or ``wer``. Raises ComflpError where there is no such directory or
    nothing of an experiment in it, a file in it is damaged (the message names it), or names in it hold copies of models.
    """
    layout = Layout(Path(exp))
    records = tuple(_records(layout))  # first: what was changed since it was written is not read
    refuse_other_origins(layout)
    refuse_other_data(records)
    lists = tuple(_list(*found, metric) for found in layout.lists())
    reader = _Reader(layout, metric, {stack: 0 for each in lists for stack in each.counts})
    paths = {measure: layout.matrices(measure) for measure in layout.measures()}
    found = Experiment(
        layout.root.resolve().name,
        reader.model(layout.deep),
        {measure: {stack: read_matrix(path) for stack, path in found.items()} for measure, found in paths.items()},
        {measure: read_json(next(iter(found.values())).with_suffix(".json")) for measure, found in paths.items() if found},
        lists,
        tuple(_chosen(*found, metric) for found in layout.names()),
        tuple(reader.runs()),
        records,
        _optional(layout.deployment),
        ModelCosts.read(layout.costs) if layout.costs.exists() else None,
    )
    if found == Experiment(found.name, None):
        what = "holds nothing of an experiment: no model, search or result" if layout.root.is_dir() else "does not exist"
        raise ComflpError(f"{exp} {what}; stage 0 begins one")
    return found


def metric_of(exp: str | Path) -> str:
    """What the searches of an experiment, or else its decodes, were asked for; ``cer`` where there are none."""
    layout = Layout(Path(exp))
    found = [files.ranked for _, _, files in layout.lists() if files.ranked.exists()] or sorted(layout.root.rglob("score.json"))
    return read_json(found[0])["metric"] if found else "cer"


def _files(directory: Path) -> Iterator[Path]:
    """The files of a model, and not of what was made with it."""
    for path in directory.iterdir():
        if path.is_file():
            yield path
        elif not path.name.startswith((".", "decode_", "hypotheses_", "export")):
            yield from (file for file in path.rglob("*") if file.is_file())


def _optional(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _list(counts: LayerCounts, name: ListName, files: ListFiles, metric: str) -> SearchList:
    record = _optional(files.ranked_record) or {}
    repaired = bool(record.get("options", {}).get("repair_candidates")) and name.source != "glp"
    searched, ranked = _optional(files.candidates), _optional(files.ranked)
    sizes = (searched if ranked is None else ranked)["num_layers"]
    if ranked is not None and ranked["metric"] != metric:
        ranked = None  # an order by another error rate than what is shown
    if isinstance(sizes, Mapping):  # the directory's name leaves out stacks that keep all their layers
        counts = LayerCounts({stack: counts.get(stack, 0) for stack in sizes})
    return SearchList(counts, name, searched, ranked, repaired)


def _chosen(_: LayerCounts, name: ProposalName, files: NamedFiles, metric: str) -> Chosen:
    proposal, content = read_proposal(files.proposal), read_json(files.proposal)
    return Chosen(counts_of(proposal), name, proposal, _of_metric(content, metric).get("error_rate"))


def _of_metric(content: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    """What a file says, without its error rates where they are of another metric than what is shown."""
    if content.get("metric", metric) == metric:
        return content
    return {key: value for key, value in content.items() if not key.endswith("error_rate")}


class _Reader:
    """Reads the models of an experiment, each once.

    none: the stacks of its models where searches know them, each without a layer removed.
    """

    def __init__(self, layout: Layout, metric: str, none: Mapping[str, int]):
        self.layout, self.metric, self.none = layout, metric, none
        self._models: dict[Path, Model | None] = {}

    def model(self, directory: Path) -> Model | None:
        """The model of a directory, None where there is none."""
        if directory not in self._models:
            self._models[directory] = self._read(directory) if directory.is_dir() else None
        return self._models[directory]

    def _read(self, directory: Path) -> Model:
        size = sum(path.stat().st_size for path in _files(directory) if path.name not in ("README.md", "record.json"))
        found = decodes(directory)
        scores = {name: read_json(path) for name, path in found.items()}
        exported = {name: _of_metric(read_json(path), self.metric) for name, path in exports(directory).items()}
        rates = {name: read_rate(path.parent, scores[name], self.metric) for name, path in found.items()}
        facts = (_optional(directory / "record.json") or {}).get("facts", {})
        if "set" in facts and facts["metric"] == self.metric:  # its training's own, until stage 6 decodes it
            rates.setdefault(facts["set"], Rate(facts["error_rate"]))
        return Model(str(directory.relative_to(self.layout.root)), scores, size / 1e6, exported, rates)

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
        record = _optional(result.model(settings) / "record.json") if settings else None
        log = _log(training / "train_log.csv")
        if (record or {}).get("facts", {}).get("metric", self.metric) != self.metric:
            log = [{key: value for key, value in row.items() if key != "valid_error_rate"} for row in log]
        return Run(
            LayerCounts({**self.none, **result.start.counts}) if anew else counts_of(result.start),
            name,
            settings,
            None if anew else result.start,
            self.model(result.model(Pruned())),
            self.model(result.model(Repaired())),
            self.model(result.model(settings)) if settings else None,
            log,
            {epoch: read_matrix(path) for epoch, path in snapshots(training).items()},
        )


def _log(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        if "valid_error_rate" not in (rows.fieldnames or ()):
            raise ValueError
        return [{key: float(value) for key, value in row.items()} for row in rows]
    except (TypeError, ValueError, csv.Error):
        raise ComflpError(f"{path} is damaged; delete it, and stage 5 writes it again with its next epoch") from None


def _records(layout: Layout) -> list[tuple[str, Mapping[str, Any]]]:
    found, reports = [], layout.reports()
    for path in sorted(layout.root.rglob("*record.json")):
        if not any(map(path.is_relative_to, reports)):
            record = read_record(path)
            refuse_changed(path.parent, record)
            refuse_outdated(path, record)
            found.append((str(path.relative_to(layout.root)), record))
    return sorted(found, key=lambda pair: (pair[1].get("finished", ""), pair[0]))
