"""Between coarse and fine search: candidates judged by what the whole pruned model puts out, without labels.

The sum of a proposal's block costs takes the blocks for independent. They are not; but the sum is good enough to bring the
best proposals into the first hundred, and these can all be run on a small probe set, since they share most prefixes.

They are ordered by the CTC loss of what the deep model spells, not by the divergence of posteriors that the sum was made
of: a frame's label that comes a frame later costs divergence and no error. Among bad proposals the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from comflp.inference.speech import Speech
from comflp.search.baselines.fixed import num_sets
from comflp.search.coarse.block_matrix import BlockMatrix
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.search import coarse_searches

NUM_UTTERANCES = 64
"""Utterances that candidates are run on."""


@dataclass(frozen=True)
class Refinement:
    """How candidates are refined.

    num_proposals: how many of the best by the matrix are run, if that is more than are asked for.
    num_utterances, seed: how many utterances of the probe set they are run on, and the seed for drawing them.
    kind: what is measured, a name of ``comflp.inference.output_change.CHANGES``.
    """

    num_proposals: int
    num_utterances: int
    seed: int
    kind: str = "ctc"

    def as_dict(self) -> dict[str, Any]:
        """As candidates.json holds it."""
        return {"proposals": self.num_proposals, "num_utterances": self.num_utterances, "seed": self.seed}

    def search(
        self,
        speech: Speech,
        matrix: BlockMatrix,
        num_prunes: Sequence[int],
        beam_size: int = 10,
        **options: Any,
    ) -> dict[int, list[Candidate]]:
        """N -> the ``beam_size`` best by true cost of the best by the matrix.

        speech: the deep model and its probe set, of which the utterances are drawn. options: those of
        :func:`comflp.search.coarse.search.coarse_searches`.
        """
        found = {}
        for num_prune in num_prunes:
            count = min(max(self.num_proposals, beam_size), num_sets(matrix.num_layers, num_prune, matrix.must_stay))
            found |= coarse_searches(matrix, [num_prune], count, **options)
        ordered = refine(speech.drawn(self.num_utterances, self.seed), found, self.kind)
        return {num_prune: candidates[:beam_size] for num_prune, candidates in ordered.items()}


def refine(speech: Speech, found: Mapping[int, Sequence[Candidate]], kind: str = "ctc") -> dict[int, list[Candidate]]:
    """N -> the candidates of each N by their true cost, best first; their quality is minus that cost.

    found: N -> candidates of coarse search. kind: of change, a name of ``comflp.inference.output_change.CHANGES``.
    All N are walked in one prefix tree. Ties go to the lower layers.
    """
    from comflp.inference.output_change import output_changes  # loads torch, which a search by a matrix alone can do without

    costs = output_changes(speech, [c.proposal for group in found.values() for c in group], kind)
    return {
        num_prune: sorted((Candidate(c.proposal, -costs[c.proposal]) for c in group), key=lambda c: (-c.quality, c.proposal))
        for num_prune, group in found.items()
    }
