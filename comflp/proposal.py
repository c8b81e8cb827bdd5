"""A pruning proposal: which layers of an L-layer encoder are removed (Section 2.2 of the paper)."""

import re
from dataclasses import dataclass
from functools import total_ordering

import numpy as np

from comflp.errors import ComflpError

EMPTY = "none"
_ITEM = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


class ProposalError(ComflpError):
    """A proposal that is not well formed, or does not fit the model."""


@total_ordering
@dataclass(frozen=True)
class PruningProposal:
    """The maximal blocks ``[s, e]`` of removed layers, 1-based and inclusive, ascending.

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
    blocks: tuple

    def __post_init__(self):
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
    def parse(cls, text, num_layers):
        """Read the written form: layers and ranges joined by commas (``1,3-4,7``), or ``none`` for no removed layer.

        Raises ProposalError if the text is not of that form or a layer is given twice or is outside 1..num_layers.
        """
        if not isinstance(text, str):
            raise ProposalError(f"a written proposal is a text such as '1,3-4,7', not {text!r}")
        if text.strip() == EMPTY:
            return cls(num_layers, ())
        layers = []
        for item in text.split(","):
            match = _ITEM.fullmatch(item.strip())
            if match is None:
                raise ProposalError(f"cannot read {item.strip()!r} in {text!r}; write layers and ranges as in '1,3-4,7'")
            start, end = int(match[1]), int(match[2] or match[1])
            if not 1 <= start <= end <= num_layers:
                raise ProposalError(f"{item.strip()!r} in {text!r} is not within the layers 1 to {num_layers}")
            layers.extend(range(start, end + 1))
        return cls.from_layers(layers, num_layers)

    @classmethod
    def from_layers(cls, layers, num_layers):
        """The proposal that removes ``layers`` (an iterable of layer numbers in any order).

        Raises ProposalError if a layer is given twice or is outside 1..num_layers.
        """
        layers = list(layers)
        for layer in layers:
            if not _is_int(layer):
                raise ProposalError(f"layer numbers are whole numbers, not {layer!r}")
        blocks = []
        previous = None
        for layer in sorted(layers):
            if layer == previous:
                raise ProposalError(f"layer {layer} is given twice")
            if blocks and layer == previous + 1:
                blocks[-1] = (blocks[-1][0], layer)
            else:
                blocks.append((layer, layer))
            previous = layer
        return cls(num_layers, tuple(blocks))

    @property
    def removed(self):
        """The removed layers, ascending, a tuple."""
        return tuple(layer for start, end in self.blocks for layer in range(start, end + 1))

    @property
    def kept(self):
        """The layers that stay, ascending, a tuple."""
        removed = set(self.removed)
        return tuple(layer for layer in range(1, self.num_layers + 1) if layer not in removed)

    @property
    def num_removed(self):
        """N, how many layers are removed."""
        return sum(end - start + 1 for start, end in self.blocks)

    def block_values(self, matrix):
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

    def quality(self, matrix):
        """v(P), Eq. 5: the mean of ``M[s-1, e]`` over the blocks, a float; in [0, 1] where M is.

        Raises ProposalError for the proposal that removes nothing (it has no block to average over).
        """
        values = self.block_values(matrix)
        if not len(values):
            raise ProposalError("a proposal that removes no layer has no quality: there is no block to average over")
        return float(values.mean())

    def __str__(self):
        if not self.blocks:
            return EMPTY
        return ",".join(str(start) if start == end else f"{start}-{end}" for start, end in self.blocks)

    def __lt__(self, other):
        if not isinstance(other, PruningProposal):
            return NotImplemented
        return (self.removed, self.num_layers) < (other.removed, other.num_layers)


def _is_int(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
