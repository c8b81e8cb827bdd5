"""Between coarse and fine search: candidates judged by what the whole pruned model puts out, without labels.

The sum of a proposal's block costs takes the blocks for independent. They are not; but the sum is good enough to bring the
best proposals into the first hundred, and these can all be run on a small probe set, since they share most prefixes.

They are ordered by the CTC loss of what the deep model spells, not by the divergence of posteriors that the sum was made
of: a frame's label that comes a frame later costs divergence and no error. Among bad proposals the two agree.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from comflp.inference.output_change import output_changes
from comflp.inference.speech import Speech
from comflp.search.coarse.candidate import Candidate

NUM_UTTERANCES = 64


def refine(
    speech: Speech, found: Mapping[int, Sequence[Candidate]], kind: str = "ctc", progress: Callable | None = None
) -> dict[int, list[Candidate]]:
    """N -> the candidates of each N by their true cost, best first; quality is minus that cost.

    found: N -> candidates of coarse search. kind: of change, a name of ``comflp.inference.output_change.CHANGES``.
    All N are walked in one prefix tree. Ties go to the lower layers.
    """
    costs = output_changes(speech, [c.proposal for group in found.values() for c in group], kind, progress)
    return {
        num_prune: sorted(
            (Candidate(c.proposal, -costs[c.proposal]) for c in group), key=lambda c: (-c.quality, c.proposal.removed)
        )
        for num_prune, group in found.items()
    }
