"""A pruning proposal: which layers of a model are removed (Section 2.2 of the paper).

A model of one stack of layers has a :class:`PruningProposal`, written ``1,3-4,7``; a model of several stacks, such as an encoder
and a decoder, has a :class:`JointProposal`, written ``encoder=1,3-4+decoder=2``. Both are read by :meth:`PruningProposal.parse`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, Iterable, Mapping, Union

import numpy as np

from comflp.errors import ComflpError, shown

NOTHING = "none"
"""The written form of a proposal that removes no layer."""
_ITEM = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_STACK = re.compile(r"[a-z]+")


class ProposalError(ComflpError):
    """A proposal that is not well formed, or does not fit the model."""


@total_ordering
@dataclass(frozen=True)
class PruningProposal:
    """The maximal blocks ``[s, e]`` of removed layers of one stack, 1-based and inclusive, ascending.

    Layers are numbered 1 to ``num_layers``; layer i turns ``H_{i-1}`` into ``H_i``. At least one layer is kept.
    Two blocks never touch: layers 3 and 4 are the block (3, 4), not (3, 3) and (4, 4), so that a set of removed
    layers has exactly one proposal and one written form. Proposals are hashable and ordered by their removed layers.

    >>> proposal = PruningProposal.parse("1,3-4,7", num_layers=12)
    >>> proposal.blocks
    ((1, 1), (3, 4), (7, 7))
    >>> proposal.kept
    (2, 5, 6, 8, 9, 10, 11, 12)
    >>> str(PruningProposal.from_layers({7, 3, 4, 1}, 12))
    '1,3-4,7'

    Raises ProposalError if a block is out of range, out of order, touches another, or if no layer would be kept.
    """

    num_layers: int
    blocks: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not _is_int(self.num_layers) or self.num_layers < 1:
            raise ProposalError(f"a model has at least one layer, not {self.num_layers!r}")
        try:
            blocks = tuple((start, end) for start, end in self.blocks)
        except (TypeError, ValueError):
            raise ProposalError(f"blocks are pairs (first layer, last layer), not {self.blocks!r}") from None
        previous_end = -1
        for start, end in blocks:
            if not _is_int(start) or not _is_int(end):
                raise ProposalError(f"layer numbers are whole numbers, not ({start!r}, {end!r})")
            if not 1 <= start <= end <= self.num_layers:
                raise ProposalError(f"block {start}-{end} is not within the layers 1 to {self.num_layers}")
            if start <= previous_end + 1:
                raise ProposalError(f"block {start}-{end} overlaps, touches or precedes the block that ends at {previous_end}")
            previous_end = end
        object.__setattr__(self, "num_layers", int(self.num_layers))
        object.__setattr__(self, "blocks", tuple((int(start), int(end)) for start, end in blocks))
        if self.num_removed == self.num_layers:
            raise ProposalError(f"all {self.num_layers} layers would be removed; at least one has to stay")

    @classmethod
    def parse(cls, text: str, num_layers: int | Mapping[str, int]) -> Proposal:
        """Read the written form: layers and ranges joined by commas (``1,3-4,7``), or ``none`` for no removed layer.

        num_layers: L of a model of one stack; or the name and L of each stack, in the model's order. With several of
            them the form is ``encoder=1,3-4+decoder=2`` and a JointProposal is returned; a stack that is not
            named keeps all its layers, and the stacks may be named in any order.

        >>> both = PruningProposal.parse("decoder=2+encoder=4,3,1", {"encoder": 6, "decoder": 4})
        >>> str(both), both.of("decoder").kept
        ('encoder=1,3-4+decoder=2', (1, 3, 4))

        Raises ProposalError if the text is not of that form, or names a layer or stack twice or one that the model lacks.
        """
        if not isinstance(text, str):
            raise ProposalError(f"a written proposal is a text such as '1,3-4,7', not {shown(text)}")
        if not isinstance(num_layers, Mapping):
            return cls(num_layers, _merged(_ranges(text, num_layers)))
        if len(num_layers) == 1:
            return cls.parse(text, next(iter(num_layers.values())))
        parts = {} if text.strip() == NOTHING else split_by_stack(text, num_layers, "layers, as in 'encoder=1,3-4+decoder=2'")
        return JointProposal(tuple(
            (name, cls(size, _merged(_ranges(parts.get(name, NOTHING), size)))) for name, size in num_layers.items()
        ))

    @classmethod
    def from_layers(cls, layers: Iterable[int], num_layers: int) -> PruningProposal:
        """The proposal that removes ``layers`` (layer numbers in any order).

        Raises ProposalError if a layer is given twice or is outside 1..num_layers.
        """
        layers = list(layers)
        for layer in layers:
            if not _is_int(layer):
                raise ProposalError(f"layer numbers are whole numbers, not {layer!r}")
        return cls(num_layers, _merged((layer, layer) for layer in layers))

    @property
    def removed(self) -> tuple[int, ...]:
        """The removed layers, ascending."""
        return tuple(layer for start, end in self.blocks for layer in range(start, end + 1))

    @property
    def kept(self) -> tuple[int, ...]:
        """The layers that stay, ascending."""
        removed = set(self.removed)
        return tuple(layer for layer in range(1, self.num_layers + 1) if layer not in removed)

    @property
    def num_removed(self) -> int:
        """N, how many layers are removed."""
        return sum(end - start + 1 for start, end in self.blocks)

    def of(self, stack: str) -> PruningProposal:
        """This proposal itself, whatever the name of the model's one stack: what JointProposal.of is to several."""
        return self

    def block_values(self, matrix: np.ndarray) -> np.ndarray:
        """``M[s-1, e]`` of each block, a float64 array (number of blocks,), from ``matrix`` (L+1, L+1).

        Raises ProposalError if the matrix is not of that shape.
        """
        matrix = np.asarray(matrix)
        if matrix.shape != (self.num_layers + 1, self.num_layers + 1):
            raise ProposalError(
                f"a model of {self.num_layers} layers has a square matrix of {self.num_layers + 1} rows, "
                f"but this one is of shape {matrix.shape}"
            )
        return np.array([matrix[start - 1, end] for start, end in self.blocks], dtype=np.float64)

    def quality(self, matrix: np.ndarray) -> float:
        """v(P), Eq. 5: the mean of ``M[s-1, e]`` over the blocks; in [0, 1] where M is.

        Raises ProposalError for the proposal that removes nothing (it has no block to average over).
        """
        values = self.block_values(matrix)
        if not len(values):
            raise ProposalError("a proposal that removes no layer has no quality: there is no block to average over")
        return float(values.mean())

    def __str__(self) -> str:
        if not self.blocks:
            return NOTHING
        return ",".join(str(start) if start == end else f"{start}-{end}" for start, end in self.blocks)

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, PruningProposal):
            return NotImplemented
        return (self.removed, self.num_layers) < (other.removed, other.num_layers)


@total_ordering
@dataclass(frozen=True)
class JointProposal:
    """What is removed from each of a model's stacks, which are two or more.

    parts: (name of a stack, its PruningProposal), in the order of the model; a mapping of the same is taken too. Names are
    lower-case letters. Proposals are hashable and ordered by the removed layers of the first stack, then of the next.

    >>> both = JointProposal({"encoder": PruningProposal(6, ((1, 1),)), "decoder": PruningProposal(4, ())})
    >>> str(both), both.num_removed, both.num_layers
    ('encoder=1', 1, {'encoder': 6, 'decoder': 4})
    >>> PruningProposal.parse(str(both), both.num_layers) == both
    True

    Raises ProposalError for fewer than two stacks, or for a name that is no name or comes twice.
    """

    parts: tuple[tuple[str, PruningProposal], ...]

    def __post_init__(self) -> None:
        parts = tuple(self.parts.items() if isinstance(self.parts, Mapping) else self.parts)
        names = [name for name, _ in parts]
        if len(parts) < 2 or len(set(names)) < len(names):
            raise ProposalError(f"a joint proposal is for two or more stacks of different names, not for {shown(names)}")
        for name, part in parts:
            if not isinstance(name, str) or not _STACK.fullmatch(name):
                raise ProposalError(f"the name of a stack is lower-case letters, not {shown(name)}")
            if not isinstance(part, PruningProposal):
                raise ProposalError(f"what is removed from the stack {name} is a PruningProposal, not {shown(part)}")
        object.__setattr__(self, "parts", parts)

    @property
    def num_layers(self) -> dict[str, int]:
        """L of each stack."""
        return {name: part.num_layers for name, part in self.parts}

    @property
    def num_removed(self) -> int:
        """How many layers are removed, of all stacks together."""
        return sum(part.num_removed for _, part in self.parts)

    def of(self, stack: str) -> PruningProposal:
        """What is removed from one stack; ProposalError where there is no stack of that name."""
        for name, part in self.parts:
            if name == stack:
                return part
        raise ProposalError(f"there is no stack {shown(stack)}; there are {', '.join(self.num_layers)}")

    def __str__(self) -> str:
        return "+".join(f"{name}={part}" for name, part in self.parts if part.blocks) or NOTHING

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, JointProposal):
            return NotImplemented
        return self._order < other._order

    @property
    def _order(self) -> tuple:
        return tuple(part.removed for _, part in self.parts), tuple(self.num_layers.items())


Proposal = Union[PruningProposal, JointProposal]
"""What is removed from a model, of one stack or of several; ``of(stack)`` and ``num_removed`` are of both."""


def joined(parts: Mapping[str, PruningProposal]) -> Proposal:
    """The proposal that removes ``parts`` (stack -> what goes, in the order of the model); of one stack, that part itself.

    >>> str(joined({"encoder": PruningProposal(6, ((2, 3),))}))
    '2-3'
    """
    return JointProposal(tuple(parts.items())) if len(parts) > 1 else next(iter(parts.values()))


def split_by_stack(text: str, stacks: Iterable[str], form: str) -> dict[str, str]:
    """The texts of ``encoder=TEXT+decoder=TEXT`` by the names of the stacks.

    stacks: the names that there are. form: what stands after a name and an example, for the message.

    >>> split_by_stack("decoder = 2", ["encoder", "decoder"], "")
    {'decoder': '2'}

    Raises ProposalError for another form, for a stack that there is not, and for one that is named twice.
    """
    stacks, found = list(stacks), {}
    for part in text.split("+"):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ProposalError(f"cannot read {shown(part)}; write the name of a stack ({', '.join(stacks)}), '=' and {form}")
        if name not in stacks:
            raise ProposalError(f"there is no stack {shown(name)}; there are {', '.join(stacks)}")
        if name in found:
            raise ProposalError(f"the stack {name} is given twice in {shown(text)}")
        found[name] = value
    return found


def _ranges(text: str, num_layers: int) -> Iterable[tuple[int, int]]:
    """(first layer, last layer) of each item of a written proposal of one stack."""
    if text.strip() == NOTHING:
        return
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise ProposalError(f"cannot read {shown(item.strip())} in {shown(text)}; write layers and ranges as in '1,3-4,7'")
        start, end = int(match[1]), int(match[2] or match[1])
        if not 1 <= start <= end <= num_layers:
            raise ProposalError(f"{shown(item.strip())} in {shown(text)} is not within the layers 1 to {num_layers}")
        yield start, end


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges of layers in any order as maximal blocks, ascending; ProposalError where two have a layer in common."""
    blocks: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if blocks and start <= blocks[-1][1]:
            raise ProposalError(f"layer {start} is given twice")
        if blocks and start == blocks[-1][1] + 1:
            blocks[-1] = blocks[-1][0], end
        else:
            blocks.append((start, end))
    return tuple(blocks)


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
