"""The models that one can have: the deep one, and each proposal in each state, with what it costs and how well it recognises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterator, Mapping

from comflp.proposal import Proposal
from comflp.report.collect import Experiment, Model, Run, SearchList
from comflp.report.names import label
from comflp.report.rates import Rate, ranked_rate
from comflp.result_names import FineTuned, ProposalName, Start
from comflp.target import LayerCounts

VALID = "valid"
"""The data set that stage 4 decodes."""
DEEP, PREDICTED, PRUNED, REPAIRED, FINE_TUNED = "deep", "predicted", "pruned", "repaired", "fine-tuned"
STATES = (DEEP, PREDICTED, PRUNED, REPAIRED, FINE_TUNED)
_TEST = "test"
_DRAWN = ("random", "reverse")
"""Lists of which nothing is chosen."""


def is_test(data: str) -> bool:
    """Whether a data set, or a decode of one with a tag, is the test set, by which nothing is chosen.

    >>> is_test("test"), is_test("test_beam50"), is_test("dev")
    (True, True, False)
    """
    return data.partition("_")[0] == _TEST


@dataclass(frozen=True)
class Speed:
    """How many times as fast as the deep model. measured: one utterance at a time in turns; else by multiply-adds, at most."""

    times: float
    measured: bool
    rtf: float | None = None

    @property
    def how(self) -> str:
        """What kind of number it is."""
        return "measured, one thread" if self.measured else "at most, by multiply-adds"


@dataclass(frozen=True)
class Choice:
    """A model that one can have.

    names: what was asked for, all that lead to the same layers. state: one of STATES; ``predicted`` is what nobody has decoded.
    counts: how many layers are removed; None for the deep model. proposal: None where there is none. settings: those of its training.
    path: its directory inside the experiment, None where it has not been made. rates: data set -> error rate.
    parameters, megabytes, multiply_adds (of a second of audio): counted where the model is there, else computed from the deep one's.
    """

    names: tuple[ProposalName | Start, ...]
    state: str
    counts: LayerCounts | None
    proposal: Proposal | None
    settings: FineTuned | None
    path: str | None
    rates: Mapping[str, Rate]
    num_layers: int | None
    parameters: float | None
    megabytes: float | None
    multiply_adds: float | None
    speed: Speed | None

    @property
    def label(self) -> str:
        """What it is called, without its state."""
        if self.counts is None:
            return "Deep model"
        if not self.counts.total:
            return label("Deep model, trained on", self.settings)
        return "; ".join(label(name, self.settings) for name in self.names)

    @property
    def is_deep(self) -> bool:
        """Whether it has all the layers."""
        return self.counts is None or not self.counts.total


def choices(experiment: Experiment) -> list[Choice]:
    """All of them: the deep model first, then those with all layers, then by the number of removed layers and the state."""
    maker = _Maker(experiment)
    found: dict[tuple, Choice] = {}
    for choice in (*maker.built(), *maker.searched(), *maker.predicted()):
        key = choice.proposal or choice.names, choice.counts, choice.state, choice.settings
        known = found.get(key)
        if known is not None:
            names = dict.fromkeys((*known.names, *choice.names))
            choice = replace(known, names=tuple(names), rates={**choice.rates, **known.rates})
        found[key] = choice
    decoded = {choice.proposal for choice in found.values() if choice.proposal and choice.state != PREDICTED}
    kept = [choice for choice in found.values() if choice.state != PREDICTED or choice.proposal not in decoded]
    kept.sort(key=lambda choice: (choice.counts.total, str(choice.counts), STATES.index(choice.state), choice.label))
    return [*maker.deep(), *kept]


class _Maker:
    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        rows = (experiment.deployment or {}).get("rows", [])
        measured = {row["path"]: row for row in rows if row["format"] == "torch"}
        self.times = {path.rpartition("/")[0] or path: row["rtf"]["1"] for path, row in measured.items() if "1" in row["rtf"]}

    def deep(self) -> Iterator[Choice]:
        """The deep model, where anything is known of it."""
        model, lists = self.experiment.deep, [entry for entry in self.experiment.lists if "deep" in (entry.ranked or {})]
        rates = dict(model.rates) if model else {}
        if lists:
            ranked = lists[0].ranked
            rates.setdefault(VALID, ranked_rate(ranked["deep"], ranked))
        if model or rates:
            yield self._choice((), DEEP, None, None, None, model, rates)

    def built(self) -> Iterator[Choice]:
        """The models that stage 5 made."""
        for run in self.experiment.runs:
            for state, model in run.states:
                yield self._choice((run.name,), state, run.counts, run.proposal, run.settings if state == FINE_TUNED else None,
                                   model, model.rates)

    def searched(self) -> Iterator[Choice]:
        """What stage 4 chose, as it decoded it."""
        lists = {(entry.counts, entry.name): entry for entry in self.experiment.lists if entry.ranked}
        for chosen in self.experiment.chosen:
            entry = lists.get((chosen.counts, chosen.name.list))
            rates = of_candidates(entry) if entry else {}
            if chosen.proposal in rates and chosen.name.source not in _DRAWN:
                state = REPAIRED if entry.repaired else PRUNED
                yield self._choice((chosen.name,), state, chosen.counts, chosen.proposal, None, None, {VALID: rates[chosen.proposal]})

    def predicted(self) -> Iterator[Choice]:
        """The first candidates of coarse search, where nothing was decoded."""
        for entry in self.experiment.lists:
            candidates = (entry.searched or {}).get("candidates", [])
            if candidates and not entry.ranked and not entry.name.reverse and entry.name.source not in _DRAWN:
                proposal = entry.proposal(candidates[0])
                yield self._choice((ProposalName(entry.name.source, "coarse"),), PREDICTED, entry.counts, proposal, None, None, {})

    def _choice(self, names: tuple, state: str, counts: LayerCounts | None, proposal: Proposal | None, settings: FineTuned | None,
                model: Model | None, rates: Mapping[str, Rate]) -> Choice:
        costs, removed = self.experiment.costs, counts or LayerCounts({})
        known = costs is not None and all(stack in costs.num_layers for stack in removed)
        parameters = model.num_parameters if model and model.num_parameters else costs.parameters.after(removed) if known else None
        layers = self.experiment.num_layers
        return Choice(
            names, state, counts, proposal, settings, model.path if model else None, rates,
            layers - removed.total if layers else None,
            parameters,
            model.megabytes if model else self._megabytes(removed) if known else None,
            costs.multiply_adds.after(removed) if known else None,
            self._speed(removed, model, known),
        )

    def _megabytes(self, removed: LayerCounts) -> float:
        """Of a model that is not there: the deep model's files, tokenizer and all, less the weights of the layers that go."""
        costs, deep = self.experiment.costs.bytes, self.experiment.deep
        return (deep.megabytes if deep else costs.whole / 1e6) - (costs.whole - costs.after(removed)) / 1e6

    def _speed(self, removed: LayerCounts, model: Model | None, known: bool) -> Speed | None:
        mine = self.times.get(model.path.rpartition("/")[0] or model.path) if model else None
        if mine and self.times.get("deep"):
            return Speed(self.times["deep"] / mine, True, mine)
        return Speed(self.experiment.costs.multiply_adds.ratio(removed), False) if known else None


def of_candidates(entry: SearchList) -> dict[Proposal, Rate]:
    """Proposal -> its error rate on the validation set, of the decoded candidates of a list."""
    return {entry.proposal(result): ranked_rate(result, entry.ranked or {}) for result in entry.results}


def runs_of(experiment: Experiment, counts: LayerCounts) -> list[Run]:
    """The runs of one number of removed layers."""
    return [run for run in experiment.runs if run.counts == counts]
