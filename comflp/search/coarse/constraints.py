"""What a coarse search may not do: remove certain layers, or long blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Iterable

import numpy as np

from comflp.errors import ComflpError


@dataclass(frozen=True)
class Constraints:
    """keep: layers that must stay. max_block: number of layers of the longest block that may be removed (None: any).

    Raises ComflpError for a max_block below 1.
    """

    keep: tuple[int, ...] = ()
    max_block: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", tuple(sorted(set(map(int, self.keep)))))
        if self.max_block is not None and self.max_block < 1:
            raise ComflpError(f"the longest block that may be removed has at least 1 layer, not {self.max_block}")

    def keeping(self, layers: Iterable[int]) -> Constraints:
        """These constraints, with ``layers`` that must stay too.

        >>> Constraints(keep=(12,), max_block=2).keeping([1])
        Constraints(keep=(1, 12), max_block=2)
        """
        return replace(self, keep=(*self.keep, *layers))

    def allowed_blocks(self, num_layers: int) -> np.ndarray:
        """(L+1, L+1) of bool: whether layers i+1..j may be removed as a block; only i < j can be True.

        Raises ComflpError where a layer to keep is not one of the model's.
        """
        start, end = np.ogrid[: num_layers + 1, : num_layers + 1]
        allowed = end > start
        if self.max_block is not None:
            allowed &= end - start <= self.max_block
        for layer in self.keep:
            if not 1 <= layer <= num_layers:
                raise ComflpError(f"layer {layer} cannot be kept: the layers are 1 to {num_layers}")
            allowed &= (end < layer) | (start >= layer)
        return allowed

    def as_dict(self) -> dict[str, Any]:
        """As candidates.json holds them."""
        return {"keep": list(self.keep), "max_block": self.max_block}
