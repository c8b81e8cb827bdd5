"""A deep model and some speech, ready to repair pruned models of it."""

from __future__ import annotations

import copy
import math
import warnings
from functools import partial
from typing import Callable, Iterator

from comflp.data.batching import AudioBatch
from comflp.data.data_dir import DataDir, subset
from comflp.errors import ComflpError
from comflp.inference.device import evaluation
from comflp.inference.hypotheses import on_own_hypotheses
from comflp.inference.loop import load_batches, plan_batches
from comflp.inference.speech import Speech
from comflp.models.layered import LayeredModel
from comflp.proposal import Proposal, PruningProposal
from comflp.repair.fit import PRIOR_FRAMES
from comflp.repair.judge import Judge, own_log_probs
from comflp.repair.refit import Refit
from comflp.repair.states import DeepStates
from comflp.stacks import depths_of

HELD_OUT = 0.1
"""Share of the utterances that judges."""


class Calibration:
    """A deep model and some speech, ready to repair pruned models of it.

    speech: the deep model and the utterances; their texts are not read, a decoder reads the model's own hypotheses.
        A part of them (``held_out``, in (0, 1)), drawn with ``seed``, is held out from the fits and decides which of them stay.
    keep_states: hold all of the deep model's states, (L + 1) x frames x D floats, so that it runs once for any number
        of pruned models; otherwise only those of the layer at work.
    prior_frames: the old weights count as much as so many frames of speech.
    lenient: every refit stays, and what is held out says how well the whole went: for models that are compared and not kept.

    Raises ComflpError for fewer than two utterances, and where the deep model's states are not finite.
    """

    def __init__(
        self, speech: Speech, seed: int = 0, keep_states: bool = True, prior_frames: float = PRIOR_FRAMES,
        held_out: float = HELD_OUT, lenient: bool = False,
    ):
        speech = on_own_hypotheses(speech)
        if len(speech.data) < 2:
            raise ComflpError("a repair needs at least two utterances: some to fit on and one to judge by")
        self.deep, self.seed, self.prior_frames, self.lenient = speech.model, seed, prior_frames, lenient
        self.num_utterances = len(speech.data)
        judging = subset(speech.data, math.ceil(held_out * len(speech.data)), seed)
        fitted_on = DataDir(speech.data.path, [utterance for utterance in speech.data if utterance.utt_id not in judging])
        with evaluation(self.deep):
            self.states = DeepStates(self.deep, partial(_batches, speech, fitted_on), keep_states)
            self.held_out = DeepStates(self.deep, partial(_batches, speech, judging), keep_states)
            self.held_targets = [own_log_probs(self.deep, state) for state in self.held_out.after(len(self.held_out.path))]

    def repair(self, pruned: LayeredModel, progress: Callable | None = None) -> LayeredModel:
        """A repaired copy of ``pruned``, which came of the deep model by :meth:`LayeredModel.prune`.

        What was done is in the last entry of ``origin["pruning"]`` under ``repair``: utterances, frames and seed, the
        divergence from the deep model on held-out speech before and after, which maps were refitted, and which kept
        their old weights because a refit made that divergence worse.

        Warns of too few frames for the widest map. Raises ComflpError where ``pruned`` is not a pruned form of the
        deep model, and where its states are not finite.
        """
        proposal = _proposal_of(self.deep, pruned)
        if not proposal.num_removed:
            return pruned
        repaired = copy.deepcopy(pruned)
        with evaluation(self.deep), evaluation(repaired):
            refit = Refit(self.states, repaired, proposal, self.prior_frames)
            judged = self.held_out.after(refit.untouched) if refit.as_pruned else self.held_out.begun_by(repaired)
            judge = Judge(repaired, judged, self.held_targets, refit.untouched, self.lenient)
            refit.run(judge, progress)
            divergence = [judge.before, judge.divergence()]
        if self.states.frames < refit.widest:
            enough = math.ceil(refit.widest / self.states.frames * self.num_utterances)
            warnings.warn(
                f"{self.num_utterances} utterances give {self.states.frames} frames to fit maps of {refit.widest} inputs; "
                f"about {enough} utterances would do",
                stacklevel=2,
            )
        steps = repaired.origin["pruning"]
        done = {
            "utterances": self.num_utterances, "frames": self.states.frames, "seed": self.seed,
            "divergence": divergence, "refitted": judge.refitted, "kept": judge.kept,
        }
        repaired.origin = {**repaired.origin, "pruning": [*steps[:-1], {**steps[-1], "repair": done}]}
        return repaired


def repair(speech: Speech, pruned: LayeredModel, seed: int = 0, progress: Callable | None = None) -> LayeredModel:
    """A repaired copy of ``pruned``, a pruned form of ``speech.model``; :class:`Calibration` says what is done.

    >>> speech = Speech(deep, read_data_dir("data/probe")).drawn(256, seed=0)       # doctest: +SKIP
    >>> repaired = repair(speech, deep.prune(proposal))                              # doctest: +SKIP
    """
    return Calibration(speech, seed, keep_states=False).repair(pruned, progress)


def _batches(speech: Speech, data: DataDir) -> Iterator[AudioBatch]:
    for batch in load_batches(speech.model, plan_batches(speech.model, data, speech.max_seconds), speech.allow_pipes):
        yield speech.with_targets(batch)


def _proposal_of(deep: LayeredModel, pruned: LayeredModel) -> Proposal:
    """What was removed from the deep model to make the pruned one, from the pruned one's origin."""
    if depths_of(pruned.stacks) == depths_of(deep.stacks):
        return deep.nothing
    steps = pruned.origin.get("pruning", [])
    if steps and steps[:-1] == deep.origin.get("pruning", []):
        proposal = PruningProposal.parse(steps[-1]["removed"], depths_of(deep.stacks))
        if {name: len(proposal.of(name).kept) for name in depths_of(deep.stacks)} == depths_of(pruned.stacks):
            return proposal
    raise ComflpError("the model to repair was not made by pruning the deep model that it is to be repaired with")
