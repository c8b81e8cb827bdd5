"""Where everything of an experiment lies: nobody else joins or splits these paths.

    exp/<model>/
        deep/  train_deep/  hidden/  correlation/  deploy/  report/
        prune6/                          everything that removes six layers
            dc/  dc_reverse/  random/        lists of candidates: candidates.json, ranked.json
            dc_coarse/  dc_fine/  top/       named proposals: proposal.json says which layers; the rest are links to
            layers_1,3-4,7-9/                what was made of these layers, whatever their names:
                                             pruned/  repaired/  finetuned[_<settings>]/  train[_<settings>]/
            scratch/                         models of this depth that were trained from random weights

What there is of each stack lies under the stack's name where a model has several: hidden/decoder/, correlation/decoder/.
A model directory holds its record, its decodes (``decode_<set>[_<tag>]/``), its exports (``export/<format>/``) and, of a
model that writes token by token, its own hypotheses (``hypotheses_<set>/``).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

from comflp.artifacts import read_json, write_json
from comflp.errors import ComflpError
from comflp.proposal import Proposal, PruningProposal
from comflp.replacing import REPORT, marked
from comflp.result_names import FineTuned, ListName, ProposalName, Pruned, Repaired, Scratch, Start, State, parse_state
from comflp.target import ENCODER, LayerCounts

_LAYERS = "layers_"
_SNAPSHOT = re.compile(r"(?P<measure>.+)_epoch(?P<epoch>[0-9]+)\.npy")


@dataclass(frozen=True)
class ListFiles:
    """The files of a list of candidates, in its directory."""

    directory: Path

    @property
    def candidates(self) -> Path:
        """What coarse search found, or what was drawn at random."""
        return self.directory / "candidates.json"

    @property
    def candidates_record(self) -> Path:
        """Stage 3's record."""
        return self.directory / "stage3.record.json"

    @property
    def ranked(self) -> Path:
        """The error rates of the candidates."""
        return self.directory / "ranked.json"

    @property
    def ranked_record(self) -> Path:
        """Stage 4's record; that of the proposal too, where a baseline's list and its proposal have one directory."""
        return self.directory / "stage4.record.json"


@dataclass(frozen=True)
class NamedFiles:
    """The files of a named proposal, and links to what was made of its layers."""

    directory: Path

    @property
    def proposal(self) -> Path:
        """Which layers it removes."""
        return self.directory / "proposal.json"

    @property
    def record(self) -> Path:
        """Stage 4's record."""
        return self.directory / "stage4.record.json"

    def choose(self, content: Mapping[str, Any]) -> None:
        """Write proposal.json; links to what was made of other layers go."""
        for path in self.links():
            if path.resolve().parent.name != f"{_LAYERS}{content['proposal']}":
                path.unlink()
        write_json(self.proposal, content)

    def link(self, target: Path) -> None:
        """A link to a directory of the proposal's layers, such as ``dc_fine/finetuned`` -> ``../layers_1,3/finetuned``."""
        link, relative = self.directory / target.name, os.path.relpath(target, self.directory)
        if not link.is_symlink() or os.readlink(link) != relative:
            temporary = link.with_name(f".tmp-{link.name}")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(relative)
            os.replace(temporary, link)

    def links(self) -> list[Path]:
        """The links that :meth:`link` made, by name."""
        return sorted(path for path in self.directory.glob("*") if path.is_symlink())


@dataclass(frozen=True)
class Result:
    """What was made of one start: a directory of models in their states, and of trainings."""

    directory: Path
    start: Start

    @property
    def proposal(self) -> Path:
        """Which layers are removed, and of how many; not there for random weights."""
        return self.directory / "proposal.json"

    def model(self, state: State) -> Path:
        """The model directory of a state; its record lies in it."""
        return self.directory / str(state)

    def training(self, state: FineTuned) -> Path:
        """What a training leaves on its way to a state."""
        return self.directory / state.training

    def states(self) -> list[State]:
        """The states whose model directories are there and finished, pruned first; a record is what is written last."""
        found = [parse_state(path.parent.name) for path in sorted(self.directory.glob("*/record.json"))]
        return sorted(filter(None, found), key=lambda state: ((Pruned, Repaired, FineTuned).index(type(state)), state))

    def trainings(self) -> list[FineTuned]:
        """The states that were trained for, whether the training is finished or not."""
        return sorted(state for state in map(_state_of, self.directory.glob("train*/")) if isinstance(state, FineTuned))


@dataclass(frozen=True)
class Layout:
    """The directory of an experiment, exp/<model>."""

    root: Path

    @property
    def deep(self) -> Path:
        """The deep model's directory."""
        return self.root / "deep"

    @classmethod
    def around(cls, model_directory: Path) -> Layout | None:
        """The experiment that a model's directory lies in, the deep one's or a pruned one's; None where it lies in none."""
        for place in (Path(os.path.abspath(model_directory)), Path(model_directory).resolve()):  # by the name that it has, or as a link to it
            if place == cls(place.parent).deep:
                return cls(place.parent)
            of_result = len(place.parents) > 2 and LayerCounts.from_directory(place.parents[1].name) is not None
            if of_result and cls(place.parents[2]).deep.is_dir():
                return cls(place.parents[2])
        return None

    @property
    def deep_training(self) -> Path:
        """What training the deep model leaves, where the recipe trains it."""
        return self.root / "train_deep"

    @property
    def report(self) -> Path:
        """The report's directory."""
        return self.root / "report"

    def reports(self) -> list[Path]:
        """Every report's directory, wherever in the experiment it was written to."""
        return [self.report, *marked(self.root, REPORT)]

    @property
    def deployment(self) -> Path:
        """What benchmarks/deploy.py measured."""
        return self.root / "deploy" / "deploy.json"

    @property
    def costs(self) -> Path:
        """What the parts of the deep model cost (comflp.costs), counted by stage 4."""
        return self.root / "costs.json"

    def correlation(self, measure: str, ending: str = ".npy", stack: str = "") -> Path:
        """A measure's matrix, its ``.json`` or ``.svg``; its ``.record.json``, one of all stacks.

        stack: the folder of a stack, of :func:`stack_folders`.
        """
        return self.root / "correlation" / stack / f"{measure}{ending}"

    def matrices(self, measure: str) -> dict[str, Path]:
        """Stack -> a measure's matrix, in the order of the model; nothing where stage 2 has not made it."""
        if self.correlation(measure).exists():
            return {ENCODER: self.correlation(measure)}
        found = {path.parent.name: path for path in self.root.glob(f"correlation/*/{measure}.npy")}
        about = next((read_json(path.with_suffix(".json")) for path in found.values()), {})
        return {stack: found[stack] for stack in about.get("stacks", sorted(found)) if stack in found}

    def measures(self) -> list[str]:
        """The measures of which there are matrices, by name."""
        return sorted({path.stem for depth in ("*", "*/*") for path in self.root.glob(f"correlation/{depth}.npy")})

    def list(self, counts: LayerCounts, name: ListName) -> ListFiles:
        """A list of candidates."""
        return ListFiles(self.root / counts.directory / str(name))

    def named(self, counts: LayerCounts, name: ProposalName) -> NamedFiles:
        """A named proposal."""
        return NamedFiles(self.root / counts.directory / str(name))

    def result(self, start: Start) -> Result:
        """What is made of a start."""
        if isinstance(start, Scratch):
            return Result(self.root / start.counts.directory / str(start), start)
        return Result(self.root / counts_of(start).directory / f"{_LAYERS}{start}", start)

    def lists(self) -> Iterator[tuple[LayerCounts, ListName, ListFiles]]:
        """The lists of candidates that are there."""
        for counts, directory in self._directories():
            files = ListFiles(directory)
            if files.candidates.exists() or files.ranked.exists():
                yield counts, ListName.parse(directory.name), files

    def names(self) -> Iterator[tuple[LayerCounts, ProposalName, NamedFiles]]:
        """The named proposals that are there."""
        for counts, directory in self._directories():
            files = NamedFiles(directory)
            if files.record.exists() and files.proposal.exists():
                yield counts, ProposalName.parse(directory.name), files

    def results(self) -> Iterator[Result]:
        """What was made, of every start; ComflpError where names hold copies of it (:meth:`refuse_copies`)."""
        self.refuse_copies()
        for counts, directory in self._directories():
            start: Start | None = Scratch.parse(directory.name, counts)
            if directory.name.startswith(_LAYERS) and (directory / "proposal.json").exists():
                start = read_proposal(directory / "proposal.json")
            if start is not None:
                yield Result(directory, start)

    def refuse_copies(self) -> None:
        """ComflpError that says what to do where a name holds models and trainings, and not links to them."""
        for _, _, files in self.names():
            held = [path.name for path in sorted(files.directory.glob("*/")) if not path.is_symlink() and _state_of(path)]
            if held:
                raise ComflpError(
                    f"{files.directory} holds copies where links to {_LAYERS}... belong, as where an experiment was copied with its links followed; "
                    f"remove {', '.join(held)} from it, and run stage 5 again, which links them"
                )

    def _directories(self) -> Iterator[tuple[LayerCounts, Path]]:
        for parent in sorted(self.root.glob("prune*/")):
            counts = LayerCounts.from_directory(parent.name)
            if counts is not None:
                yield from ((counts, path) for path in sorted(parent.glob("*/")) if not path.name.startswith("."))


def _state_of(path: Path) -> State | None:
    """The state that a directory holds a model or the training of; None of any other."""
    return parse_state(path.name.replace("train", "finetuned", 1))


def counts_of(proposal: Proposal) -> LayerCounts:
    """How many layers a proposal removes of each stack."""
    if isinstance(proposal, PruningProposal):
        return LayerCounts({ENCODER: proposal.num_removed})
    return LayerCounts({name: part.num_removed for name, part in proposal.parts})


def read_proposal(path: Path) -> Proposal:
    """The proposal of a proposal.json; ComflpError names the file where it holds none."""
    content = read_json(path)
    try:
        return PruningProposal.parse(content["proposal"], num_layers=content["num_layers"])
    except (KeyError, TypeError) as error:
        raise ComflpError(f"{path} has no {error}; the stage that wrote it makes it again with --force") from None


def write_proposal(path: Path, proposal: Proposal) -> None:
    """Write a proposal.json that says nothing but the layers."""
    counts = counts_of(proposal)
    write_json(path, {"proposal": str(proposal), "num_layers": proposal.num_layers, "num_prune": counts.total})


def stack_folders(stacks: Iterable[str]) -> dict[str, str]:
    """Stack -> the folder that results of it lie in, below those of the model: none where there is one stack.

    >>> stack_folders(["encoder"]), stack_folders(["encoder", "decoder"])
    ({'encoder': ''}, {'encoder': 'encoder', 'decoder': 'decoder'})
    """
    names = list(stacks)
    return {name: name if len(names) > 1 else "" for name in names}


def hypotheses_directory(model: Path, data: str) -> Path:
    """Where a model's own hypotheses of a data set lie, which it is measured, repaired and cut off by."""
    return model / f"hypotheses_{data}"


def decode_directory(model: Path, data: str, tag: str = "") -> Path:
    """Where a data set's decode lies. tag: tells the results of several searches from each other."""
    return model / "_".join(["decode", data, *filter(None, [tag])])


def decodes(model: Path) -> dict[str, Path]:
    """Name of a data set, with its tag -> score.json, of the decodes of a model directory."""
    return {path.parent.name.removeprefix("decode_"): path for path in sorted(model.glob("decode_*/score.json"))}


def export_directory(model: Path) -> Path:
    """Where a model's exports lie, each format in a directory of its own."""
    return model / "export"


def exports(model: Path) -> dict[str, Path]:
    """Format -> export.json, of the exports of a model directory."""
    return {path.parent.name: path for path in sorted(export_directory(model).glob("*/export.json"))}


def snapshot(training: Path, measure: str, epoch: int) -> Path:
    """The correlation matrix of the model in training after an epoch; 0 is before the first."""
    return training / "snapshots" / f"{measure}_epoch{epoch:04d}.npy"


def snapshots(training: Path) -> dict[int, Path]:
    """Epoch -> matrix, of the snapshots of a training."""
    found = {path: _SNAPSHOT.fullmatch(path.name) for path in sorted((training / "snapshots").glob("*.npy"))}
    return {int(match["epoch"]): path for path, match in found.items() if match}
