"""Coarse search by what the user gets: candidates are repaired before they are compared, without labels.

What a pruned model puts out before its repair may say little about what it puts out after it: of whisper-base's encoder layers the one whose
removal hurts least is the one whose removal a repair can make up for the least. How far a model is from the deep one after the
repair says it (docs/repair.md). A quick repair is enough to compare by: few utterances, and every refit stays.
"""

from __future__ import annotations

import math
import warnings
from functools import cached_property
from typing import Hashable, Mapping, Sequence, TypeVar

from comflp.inference.journal import Journal, work_key
from comflp.inference.loop import track
from comflp.inference.speech import Speech
from comflp.proposal import Proposal
from comflp.repair.calibration import Calibration
from comflp.search.coarse.candidate import Candidate, best_by_cost
from comflp.search.coarse.joint import CostOf

_HELD_OUT = 1 / 4

Key = TypeVar("Key", bound=Hashable)


class RepairedCosts:
    """What proposals cost after a quick repair: KL(deep || repaired) on utterances that it was not fitted on, in nats a row.

    speech: the deep model and the utterances; with ``work`` a killed search goes on, and its processes share the proposals.
    num_utterances: on which the divergence is measured; three times as many more are fitted on. seed: draws both.
    before, few: of the proposals that remove as many layers of each stack only the ``few`` that cost the least by ``before``
        are repaired; the others cost infinity.
    """

    def __init__(self, speech: Speech, num_utterances: int, seed: int, before: CostOf, few: int):
        self.speech, self.seed, self.before, self.few = speech.drawn(round(num_utterances / _HELD_OUT), seed), seed, before, few
        self._known: dict[Proposal, float] = {}

    def __call__(self, proposals: Sequence[Proposal]) -> Mapping[Proposal, float]:
        """Proposal -> its cost; the deep model runs once for all of them. Raises ComflpError as a repair does."""
        groups: dict[tuple[int, ...], list[Proposal]] = {}
        for proposal in sorted(set(proposals)):
            groups.setdefault(tuple(proposal.of(stack).num_removed for stack in self.speech.model.stacks), []).append(proposal)
        many = [proposal for group in groups.values() if len(group) > self.few for proposal in group]
        before = self.before(many) if many else {}
        chosen = [proposal for group in groups.values() for proposal in sorted(group, key=lambda p: (before.get(p, 0.0), p))[: self.few]]
        self._known |= self._repaired(sorted(set(chosen) - self._known.keys()))
        return {proposal: self._known.get(proposal, math.inf) for proposal in proposals}

    @cached_property
    def _calibration(self) -> Calibration:
        return Calibration(self.speech, self.seed, held_out=_HELD_OUT, lenient=True)

    def _repaired(self, proposals: Sequence[Proposal]) -> dict[Proposal, float]:
        speech, ranks = self.speech, self.speech.ranks
        options = {"repaired": [str(proposal) for proposal in proposals], "seed": self.seed, "hypotheses": speech.hypotheses}
        journal = Journal(speech.work, lambda: work_key(speech.model, speech.data, [], **options), ranks)
        mine = ranks.share([number for number in range(len(proposals)) if number not in journal.done])
        for number in track(mine, speech.progress if ranks.is_main else None, f"{len(proposals)} repaired models", len(mine)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of few frames, which are meant to be few
                repaired = self._calibration.repair(speech.model.prune(proposals[number]))
            journal.add(number, repaired.origin["pruning"][-1]["repair"]["divergence"][1])
        done = {number: cost for part in ranks.gather(journal.done) for number, cost in part.items()}
        return {proposal: done[number] for number, proposal in enumerate(proposals)}


def ordered_by_repair(costs: RepairedCosts, lists: Mapping[Key, Sequence[Candidate]], beam_size: int) -> dict[Key, list[Candidate]]:
    """The ``beam_size`` best of each list after a repair, best first; ties go to the lower layers. The new quality is minus the cost."""
    found = costs([candidate.proposal for candidates in lists.values() for candidate in candidates])
    return {key: best_by_cost({c.proposal: found[c.proposal] for c in candidates}, beam_size) for key, candidates in lists.items()}
