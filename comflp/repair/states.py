"""States of a model on calibration speech: made layer by layer when they are asked for, and never twice."""

from __future__ import annotations

from typing import Callable, Iterable, Sequence

import torch

from comflp.data.batching import AudioBatch, own_frames
from comflp.data.utterance import Utterance
from comflp.models.finite import check_finite
from comflp.models.layered import LayeredModel, State
from comflp.repair.watch import inputs_of


class DeepStates:
    """The deep model's states on some batches.

    batches: gives them, again at every call. keep: hold the states after every step, so that several pruned models can be repaired with one deep pass;
    otherwise those before :meth:`forget` are dropped.
    """

    def __init__(self, model: LayeredModel, batches: Callable[[], Iterable[AudioBatch]], keep: bool):
        self.model, self.keep, self.batches = model, keep, batches
        self.path = model.path()
        self.utterances: list[Sequence[Utterance]] = []
        states = []
        for batch in batches():
            self.utterances.append(batch.utterances)
            states.append(finite(model.begin(batch), self.utterances[-1]))
        self._after: dict[int, list[State]] = {0: states}
        self.frames = sum(int(state.num_frames.sum()) for state in states)

    def after(self, steps: int) -> list[State]:
        """The states of all batches after the first ``steps`` steps of the path."""
        for done in range(max(number for number in self._after if number <= steps), steps):
            states = [self.model.run(state, self.path[done]) for state in self._after[done]]
            self._after[done + 1] = list(map(finite, states, self.utterances))
        return self._after[steps]

    def begun_by(self, model: LayeredModel) -> list[State]:
        """The states of all batches before the first step of another model."""
        return [finite(model.begin(batch), batch.utterances) for batch in self.batches()]

    def inside(self, steps: int, names: Sequence[str]) -> list[dict[str, torch.Tensor]]:
        """For each batch the inputs of modules within the layer that runs after ``steps`` steps; those called once only."""
        passes = [inputs_of(self.model, state, self.path[steps], names, to_end=True) for state in self.after(steps)]
        self._after.setdefault(steps + 1, [finite(end, utterances) for (_, end), utterances in zip(passes, self.utterances)])
        return [inputs for inputs, _ in passes]

    def forget(self, steps: int) -> None:
        """The states before ``steps`` steps, but for the first, are not needed soon; they go unless all are kept."""
        if not self.keep:
            self._after = {number: states for number, states in self._after.items() if number >= steps or number == 0}


def own(state: State) -> torch.Tensor:
    """(B, T) bool: frames that are an utterance's own."""
    return own_frames(state.num_frames, state.hidden.shape[1])


def finite(state: State, utterances: Sequence[Utterance]) -> State:
    """``state`` itself; ComflpError names the first utterance of which a value is NaN or infinite."""
    check_finite(state.hidden, state.num_frames, utterances, what="the output of a layer")
    return state
