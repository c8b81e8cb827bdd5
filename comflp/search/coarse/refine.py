"""Between coarse and fine search: candidates judged by what the whole pruned model puts out, without labels.

The sum of a proposal's block costs takes the blocks for independent. They are not; but the sum is good enough to bring the
best proposals near the top, and the first of them can all be run on a small probe set, since they share most prefixes.

How many have to be run depends on the deep model: the pool of those that are run doubles until the chosen ones all lie in
its first half, so that the other half has shown that nothing better follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

from comflp.errors import ComflpError
from comflp.inference.speech import Speech
from comflp.proposal import Proposal
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidate import Candidate, best_by_cost
from comflp.search.coarse.search import coarse_searches
from comflp.search.baselines.fixed import num_sets

NUM_UTTERANCES = 64
"""Utterances that candidates are run on."""

KINDS = ("near+text", "kl", "ctc")
"""What candidates of CTC models can be judged by without labels, the default first: kinds of ``comflp.inference.output_change``."""

FORCED_KINDS = ("kl+text", "kl")
"""The same of models that write token by token: by ``kl``, and the best of these by what they write too (:mod:`.free_runs`)."""

REPAIR = "repair"
"""Of models of either sort: by the first kind, ``kl`` of those that write token by token, and the best of these by what they are after a
repair (:mod:`comflp.repair.quick`)."""

NUM_AGAIN = 3
"""Candidates that are looked at a second time, one by one, for each one that is wanted."""

MOST_GROWN = 4
"""How many times its first size the pool has at most."""


@dataclass(frozen=True)
class Refined:
    """What refinement found. candidates: the best by true cost, best first; their quality is minus that cost.

    pool: how many of the best by the matrix were run.
    """

    candidates: list[Candidate]
    pool: int


@dataclass(frozen=True)
class Refinement:
    """How candidates are refined.

    num_proposals: how many of the best by the matrix are run at first, if that is more than are asked for.
    num_utterances, seed: how many utterances of the probe set they are run on, and the seed for drawing them.
    kind: what is measured, of :func:`comflp.inference.output_change.output_changes`.
    """

    num_proposals: int
    num_utterances: int
    seed: int
    kind: str = KINDS[0]

    def as_dict(self) -> dict[str, Any]:
        """As candidates.json holds it."""
        return {"by": self.kind, "proposals": self.num_proposals, "num_utterances": self.num_utterances, "seed": self.seed}

    def search(
        self,
        speech: Speech,
        matrix: BlockMatrix,
        num_prunes: Sequence[int],
        beam_size: int = 10,
        **options: Any,
    ) -> dict[int, Refined]:
        """N -> the ``beam_size`` best by true cost of the best by the matrix; ties go to the lower layers.

        speech: the deep model and its probe set, of which the utterances are drawn. options: those of
        :func:`comflp.search.coarse.search.coarse_searches`. All N are walked in one prefix tree, the added halves of the
        pools that grow in another.
        """
        from comflp.inference.output_change import output_changes  # loads torch, which a search by a matrix alone can do without

        if self.num_proposals < 1:
            raise ComflpError(f"refinement runs at least 1 proposal, not {self.num_proposals}")
        heard = speech.drawn(self.num_utterances, self.seed)
        size = first = max(self.num_proposals, beam_size)
        costs: dict[Proposal, float] = {}
        found: dict[int, Refined] = {}
        while growing := [n for n in num_prunes if n not in found]:
            there_are = {n: num_sets(matrix.num_layers, n, matrix.must_stay) for n in growing}
            pools = {n: coarse_searches(matrix, [n], min(size, there_are[n]), **options)[n] for n in growing}
            new = [c.proposal for pool in pools.values() for c in pool if c.proposal not in costs]
            costs |= output_changes(heard, new, self.kind)
            for n, pool in pools.items():
                best = best_by_cost({c.proposal: costs[c.proposal] for c in pool}, beam_size)
                later = {c.proposal for c in pool[size // 2 :]}
                if len(pool) < size or len(pool) == there_are[n] or size >= MOST_GROWN * first or later.isdisjoint(c.proposal for c in best):
                    found[n] = Refined(best, len(pool))
            size *= 2
        return found
