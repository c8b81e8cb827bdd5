"""How much of a refit is kept: the divergence from the deep model on utterances that no fit has seen."""

from __future__ import annotations

import math
from typing import Iterable, Sequence

import torch

from comflp.models.layered import LayeredModel, State
from comflp.repair.fit import Changes, exchange

_SHARES = (1.0, 0.5, 0.25)
"""How much of the way from the old weights to the refitted ones is tried, in this order."""


class Judge:
    """Holds the repaired model to the deep one's posteriors on held-out speech, step by step along the repair.

    lenient: every refit stays whole and nothing is measured on the way, which takes a fraction of the time.
    model: the model under repair. states: those of the held-out batches, after its first ``steps`` steps, which will not change.
    targets: log-posteriors (frames, V) of the deep model on each batch's own rows.
    """

    def __init__(self, model: LayeredModel, states: Sequence[State], targets: Sequence[torch.Tensor], steps: int = 0, lenient: bool = False):
        self.model, self.states, self.targets, self.steps = model, list(states), targets, steps
        self.path, self.lenient = model.path(), lenient
        self.refitted: list[str] = []
        self.kept: list[str] = []
        self.before = self.now = math.inf if lenient else self.divergence()

    def divergence(self) -> float:
        """KL(deep || model) in nats a row of posteriors; infinity where the model's output is not finite."""
        total = 0.0
        for state, target in zip(self.states, self.targets):
            for step in self.path[self.steps :]:
                state = self.model.run(state, step)
            log_probs = own_log_probs(self.model, state)
            total += float(torch.nn.functional.kl_div(log_probs, target, log_target=True, reduction="sum").double())
        total /= sum(len(target) for target in self.targets)
        return total if math.isfinite(total) else math.inf

    def decide(self, changes: Changes, names: Iterable[str]) -> None:
        """Go as much of the way as does not make the divergence worse, or none; either way note the names of what was to change.

        New values are what :meth:`LayeredModel.save` writes of them, so that what is measured is what will lie on disk.
        """
        back = exchange(self._as_saved(changes))
        if self.lenient:
            self.refitted += names
            return
        for share in _SHARES:
            if share < 1:  # the whole way is there already
                exchange(self._as_saved([(parameter, torch.lerp(old, new.to(old), share)) for (parameter, new), (_, old) in zip(changes, back)]))
            after = self.divergence()
            if after <= self.now:
                self.now = after
                self.refitted += names
                return
        exchange(back)
        self.kept += names

    def _as_saved(self, changes: Changes) -> Changes:
        return [(parameter, value.to(self.model.weight_type)) for parameter, value in changes]

    def advance(self) -> None:
        """The next step of the path is done with: its map will not change again."""
        self.states = [self.model.run(state, self.path[self.steps]) for state in self.states]
        self.steps += 1


def own_log_probs(model: LayeredModel, state: State) -> torch.Tensor:
    """(rows, V) float32 log-posteriors of the utterances' own rows, from the state after the last layer."""
    output = model.finish(state)
    return output.log_probs()[output.own()]
