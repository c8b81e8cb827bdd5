"""How much is wanted: the numbers of layers to remove, as ``--num-prune`` takes them."""

from __future__ import annotations

import itertools
import re
from typing import Iterator, Mapping

from comflp.errors import ComflpError, shown
from comflp.proposal import ProposalError, split_by_stack

ENCODER = "encoder"
"""The one stack of a model of which only the number of layers is known."""
_RANGE = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?")
_DIRECTORY = re.compile(r"prune([0-9]{1,9})|prune((?:_[a-z]+[0-9]{1,9})+)")


class TargetError(ComflpError):
    """A number of layers to remove that is not well formed, or does not fit the model."""


class LayerCounts(Mapping[str, int]):
    """How many layers are to be removed from each stack: name -> N, in the order of the model; hashable.

    >>> counts = LayerCounts({"encoder": 1, "decoder": 2})
    >>> str(counts), counts.directory, counts.total, counts["decoder"]
    ('encoder=1+decoder=2', 'prune_encoder1_decoder2', 3, 2)
    >>> str(LayerCounts({"encoder": 6})), LayerCounts({"encoder": 6}).directory
    ('6', 'prune6')
    """

    def __init__(self, counts: Mapping[str, int]):
        self._counts = dict(counts)

    def __getitem__(self, stack: str) -> int:
        return self._counts[stack]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __hash__(self) -> int:
        return hash(frozenset(self._counts.items()))

    def __repr__(self) -> str:
        return f"LayerCounts({self._counts})"

    def __str__(self) -> str:
        """As ``--num-prune`` takes it: ``6`` of a model of one stack; else the stacks that lose layers."""
        if len(self) == 1:
            return str(self.total)
        return "+".join(f"{stack}={number}" for stack, number in self.items() if number)

    @property
    def total(self) -> int:
        """N of all stacks together."""
        return sum(self.values())

    @property
    def directory(self) -> str:
        """Where results of this many removed layers lie under exp/<model>: ``prune6``, ``prune_encoder1_decoder2``."""
        if len(self) == 1 or not self.total:
            return f"prune{self.total}"
        return "prune" + "".join(f"_{stack}{number}" for stack, number in self.items() if number)

    @classmethod
    def from_directory(cls, name: str) -> LayerCounts | None:
        """What :attr:`directory` named; None for another directory. Stacks that keep all their layers are not in the name.

        >>> LayerCounts.from_directory("prune_encoder1_decoder2")
        LayerCounts({'encoder': 1, 'decoder': 2})
        """
        match = _DIRECTORY.fullmatch(name)
        if match is None:
            return None
        if match[1]:
            return cls({ENCODER: int(match[1])})
        return cls({stack: int(number) for stack, number in re.findall(r"_([a-z]+)([0-9]+)", match[2])})


def layer_counts(text: str, num_layers: int | Mapping[str, int]) -> list[LayerCounts]:
    """The numbers of layers to remove that a text asks for, smallest first, each once.

    num_layers: L of a model of one stack, which is then called ``encoder``; or the name and L of each stack.

    One stack: numbers and ranges (both ends included), with commas or spaces between them. Several stacks:
    numbers and ranges of each, with commas; every combination is meant, but for removing nothing at all. Several such
    grids have a space between them. A stack that is not named keeps all its layers.

    >>> [str(counts) for counts in layer_counts("8,1:3", 12)]
    ['1', '2', '3', '8']
    >>> [str(counts) for counts in layer_counts("encoder=0:1+decoder=0,2", {"encoder": 6, "decoder": 6})]
    ['decoder=2', 'encoder=1', 'encoder=1+decoder=2']

    Raises TargetError for another form, or a number that would leave a stack without layers.
    """
    sizes = dict(num_layers) if isinstance(num_layers, Mapping) else {ENCODER: num_layers}
    if len(sizes) == 1:
        (stack, size), = sizes.items()
        found: set[tuple[int, ...]] = {(number,) for number in _numbers(text, text.replace(",", " ").split(), stack, size, least=1)}
    else:
        found = {combination for grid in text.split() for combination in _combinations(text, grid, sizes) if any(combination)}
    if not found:
        raise TargetError(f"--num-prune {shown(text)} holds no number of layers to remove")
    return [LayerCounts(dict(zip(sizes, combination))) for combination in sorted(found)]


def _combinations(text: str, grid: str, sizes: Mapping[str, int]) -> Iterator[tuple[int, ...]]:
    try:
        parts = split_by_stack(grid, sizes, "numbers of layers, as in 'encoder=0:3+decoder=2'")
    except ProposalError as error:
        raise TargetError(f"--num-prune {shown(text)}: {error}") from None
    numbers = [
        _numbers(text, parts[stack].split(","), stack, size, least=0) if stack in parts else {0} for stack, size in sizes.items()
    ]
    return itertools.product(*numbers)


def _numbers(text: str, items: list[str], stack: str, size: int, least: int) -> set[int]:
    found: set[int] = set()
    for item in items:
        match = _RANGE.fullmatch(item)
        if match is None:
            raise TargetError(f"--num-prune {shown(text)}: {shown(item)} is neither a number nor a range such as 1:8")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise TargetError(f"--num-prune {shown(text)}: the range {item} runs backwards; write {last}:{first}")
        for number in (first, last):
            if not least <= number <= size - 1:
                raise TargetError(
                    f"--num-prune {shown(text)}: cannot remove {number} of {size} layers of the {stack}; "
                    f"N is from {least} to {size - 1}"
                )
        found.update(range(first, last + 1))
    return found
