"""What a coarse search may not do: remove certain layers, long blocks, or too many blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from comflp.errors import ComflpError
from comflp.proposal import PruningProposal


@dataclass(frozen=True)
class Constraints:
    """keep: layers that must stay; max_block: layers of the longest block; max_blocks: the most blocks (None: any).

    >>> Constraints(keep=(1, 12), max_block=2).allow(PruningProposal.parse("3-5", 12))
    False
    """

    keep: tuple[int, ...] = ()
    max_block: int | None = None
    max_blocks: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "keep", tuple(sorted(set(map(int, self.keep)))))
        for name, value in (("longest block", self.max_block), ("largest number of blocks", self.max_blocks)):
            if value is not None and value < 1:
                raise ComflpError(f"the {name} is at least 1, not {value}")

    def check(self, num_layers: int) -> None:
        """ComflpError where a layer to keep is not one of the model's."""
        for layer in self.keep:
            if not 1 <= layer <= num_layers:
                raise ComflpError(f"layer {layer} cannot be kept: the layers are 1 to {num_layers}")

    def allowed_blocks(self, num_layers: int) -> np.ndarray:
        """(L+1, L+1) of bool: whether layers i+1..j may be removed as a block; only i < j can be True."""
        start, end = np.ogrid[: num_layers + 1, : num_layers + 1]
        allowed = end > start
        if self.max_block is not None:
            allowed &= end - start <= self.max_block
        for layer in self.keep:
            allowed &= (end < layer) | (start >= layer)
        return allowed

    def allow(self, proposal: PruningProposal) -> bool:
        """Whether the proposal keeps to all of them."""
        lengths = [end - start + 1 for start, end in proposal.blocks]
        return (
            not set(self.keep) & set(proposal.removed)
            and (self.max_block is None or max(lengths, default=0) <= self.max_block)
            and (self.max_blocks is None or len(lengths) <= self.max_blocks)
        )

    def as_dict(self) -> dict:
        """As candidates.json holds them."""
        return {"keep": list(self.keep), "max_block": self.max_block, "max_blocks": self.max_blocks}
