"""LayeredModel: any recogniser as stacks of layers that can be run one by one, left out, and saved again."""

from __future__ import annotations

import copy
import functools
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

import torch
import torch.utils.checkpoint

from comflp.data.batching import AudioBatch, own_frames
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError
from comflp.models.finite import output_of, refuse_marked
from comflp.models.greedy import best_paths, texts_of
from comflp.models.tokenizer import Tokenizer
from comflp.proposal import Proposal, PruningProposal, joined
from comflp.stacks import depth_of


class Step(NamedTuple):
    """One step of a forward pass: layer ``layer`` (from 1) of a stack.

    ``ENTER`` (0) is the step from the end of the stack before to H_0 of this one. A family may have steps of its
    own between its layers; they have negative numbers.
    """

    stack: str
    layer: int


ENTER = 0


@dataclass(frozen=True)
class State:
    """What flows from one layer to the next.

    hidden: (B, T, D) float, H_i of Eq. 1 (frames beyond an utterance's end hold anything).
    num_frames: (B,) int64, frames of each utterance, 1 to T; of a decoder, tokens.
    first: the first frame that is an utterance's own; those before it are of a prompt that all utterances share.
    context: what the layers and the head read besides (masks, positions); made where a stack begins.
    revisited: whether layers run more than once from here, with the same weights, so that they may keep what they would repeat.
    """

    hidden: torch.Tensor
    num_frames: torch.Tensor
    context: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0
    revisited: bool = False

    def with_hidden(self, hidden: torch.Tensor) -> State:
        """The same state carrying another layer's output."""
        return replace(self, hidden=hidden)

    def time_average(self) -> torch.Tensor:
        """(B, D): the mean of H_i over an utterance's own frames (Section 2.1); padding and prompt never enter it."""
        mask = own_frames(self.num_frames, self.hidden.shape[1])
        mask[:, : self.first] = False
        summed = torch.where(mask[:, :, None], self.hidden, 0).sum(dim=1)
        return summed / mask.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class Output:
    """What a recogniser puts out for a batch: rows of logits.

    logits: (B, T, V) float, unnormalised. num_frames: (B,) int64, the rows that are each utterance's own.
    hidden: H_0..H_L as L+1 tensors (B, T, D) when they were asked for, else None; a layer that layerdrop skipped repeats its
        input. hidden_frames: (B,) int64, frames of ``hidden``; other than ``num_frames`` where the head changes the frame rate.
    subnetworks: the outputs of pruned models for the same batch, where they were asked for.
    """

    logits: torch.Tensor
    num_frames: torch.Tensor
    hidden: tuple[torch.Tensor, ...] | None = None
    hidden_frames: torch.Tensor | None = None
    subnetworks: tuple[Output, ...] = ()

    def log_probs(self) -> torch.Tensor:
        """(B, T, V) float32 log-posteriors."""
        return torch.log_softmax(self.logits.float(), dim=-1)

    def own(self) -> torch.Tensor:
        """(B, T) bool, true on rows that are an utterance's own and not padding."""
        return own_frames(self.num_frames, self.logits.shape[1])


@dataclass(frozen=True)
class Stack:
    """A sequence of layers of a model.

    name: such as ``encoder``. layers: the library's modules in order. must_stay: layer number (from 1) -> why this
    layer cannot be removed.
    """

    name: str
    layers: torch.nn.ModuleList
    must_stay: Mapping[int, str] = field(default_factory=dict)

    @property
    def num_layers(self) -> int:
        """L of this stack."""
        return len(self.layers)


class LayeredModel(torch.nn.Module, ABC):
    """A recogniser in pieces: ``begin(batch)``, a ``run`` for each step, ``finish(state)``.

    Running them one after another equals the model's own forward pass on each utterance alone: no result depends on
    the batch. A family implements the abstract members; everything else is common. Attributes every family sets:

    family: str, the kind of model in the words of its library, such as ``wav2vec2``; for messages.
    tokenizer: Tokenizer. sample_rate: int, Hz, of the waveforms that the model takes.
    origin: dict, JSON-able; how this model came to be (source, proposals applied, training).
    library_name, library_note: which library loads the directory, and how it does in Markdown, for the model card.
    window: seconds to which the model pads every utterance, None where it takes them as they are.
    row: what a row of the output's logits is of: ``frame``, ``token``, or ``step`` of a transducer's path.
    teacher_forced: whether passes read ``batch.targets``, what the deep model itself recognises (``own_targets(state)`` gives it).
    longest: seconds of the longest utterance that the model takes, None where it takes any.
    weight_type: what :meth:`save` writes parameters in, as the checkpoint had them; they are computed with in float32.
    """

    family: str
    tokenizer: Tokenizer
    sample_rate: int
    origin: dict
    library_name: str = "comflp"
    library_note: str = ""
    window: float | None = None
    row: str = "frame"
    teacher_forced: bool = False
    longest: float | None = None
    weight_type: torch.dtype = torch.float32

    @property
    @abstractmethod
    def stacks(self) -> Mapping[str, Stack]:
        """Name -> stack, in the order in which they run; a CTC model has the one stack ``encoder``."""

    @abstractmethod
    def begin(self, batch: AudioBatch) -> State:
        """H_0 of the first stack: what enters its first layer (convolutions, projection, positions)."""

    @abstractmethod
    def run(self, state: State, step: Step) -> State:
        """One step: H_{i-1} to H_i of a stack."""

    @abstractmethod
    def finish(self, state: State) -> Output:
        """Rows of logits from the end of the last stack: final norm where the family has one, and projection."""

    @abstractmethod
    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames of logits that utterances of ``num_samples`` samples become."""

    @abstractmethod
    def keep_layers(self, kept: Mapping[str, Sequence[int]]) -> None:
        """Shorten this model in place to the layers ``kept`` of each stack (1-based, ascending), configuration included."""

    @abstractmethod
    def reinitialize(self, seed: int, keep_frontend: bool) -> None:
        """Draw the weights anew in place, as for training from scratch; ``keep_frontend`` spares the front end's."""

    @abstractmethod
    def freeze_feature_extractor(self) -> None:
        """Keep the convolutional feature extractor as it is in training."""

    @abstractmethod
    def save(self, directory: str | Path) -> None:
        """Write the whole model directory; it appears complete or not at all."""

    @property
    def num_layers(self) -> int:
        """L of the first stack; of the whole model where it has one stack."""
        return next(iter(self.stacks.values())).num_layers

    @property
    def num_parameters(self) -> int:
        """Number of scalar parameters, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def round_weights(self) -> None:
        """Round the parameters, in place, to what :meth:`save` writes of them."""
        for parameter in self.parameters():
            parameter.data.copy_(parameter.data.to(self.weight_type))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def path(self, proposal: Proposal | None = None) -> tuple[Step, ...]:
        """The steps that a pruned model runs after :meth:`begin`; of the whole model without a proposal.

        Raises ComflpError where the proposal does not fit the model (:meth:`check`).
        """
        if proposal is not None:
            self.check(proposal)
        steps: list[Step] = []
        for number, (name, stack) in enumerate(self.stacks.items()):
            if number:
                steps.append(Step(name, ENTER))
            kept = range(1, stack.num_layers + 1) if proposal is None else proposal.of(name).kept
            steps += self.steps_of_stack(name, kept)
        return tuple(steps)

    def steps_of_stack(self, name: str, kept: Sequence[int]) -> list[Step]:
        """The steps of one stack of which the layers ``kept`` stay."""
        return [Step(name, layer) for layer in kept]

    @property
    def nothing(self) -> Proposal:
        """The proposal that removes no layer."""
        return self.proposing({})

    def proposing(self, parts: Mapping[str, PruningProposal]) -> Proposal:
        """The proposal that removes ``parts`` (stack -> what goes of it) and leaves other stacks whole."""
        return joined({name: parts.get(name, PruningProposal(stack.num_layers, ())) for name, stack in self.stacks.items()})

    def recognition_path(self, proposal: Proposal | None = None) -> tuple[Step, ...]:
        """The steps from :meth:`begin` to where :meth:`spell` takes over: all, where text is read from the last rows."""
        return self.path(proposal)

    def recognition_state(self, batch: AudioBatch) -> State:
        """The state of a batch at the end of the :meth:`recognition_path`."""
        return functools.reduce(self.run, self.recognition_path(), self.begin(batch))

    def spell(self, state: State, proposal: Proposal | None = None) -> Any:
        """What a pruned model spells from the end of its :meth:`recognition_path`, for :meth:`texts`."""
        output = self.finish(state)
        return best_paths(output.logits, output.num_frames)

    def unended(self, spelled: Any, state: State) -> list[bool]:
        """Of each utterance whether the search of :meth:`spell` from ``state`` was cut off; never, where rows are read."""
        return [False] * len(state.hidden)

    def texts(self, spelled: Mapping[str, Any], utterances: Sequence[Utterance] = ()) -> dict[str, list[str]]:
        """The texts of a batch by each of several models, from what :meth:`spell` gave; one copy from a GPU brings all.

        spelled: proposal (as text; empty for a model that is whole) -> what was spelled. utterances: those of the batch.
        Raises ComflpError, naming model and utterance, where an output was not finite.
        """
        found = {}
        for name, paths in zip(spelled, torch.stack(list(spelled.values())).cpu()):
            refuse_marked(paths, utterances, output_of(name))
            found[name] = texts_of(paths, self.tokenizer)
        return found

    def check(self, proposal: Proposal) -> None:
        """ComflpError where a proposal is for other depths, or removes a layer that must stay."""
        for name, stack in self.stacks.items():
            part = proposal.of(name)
            if part.num_layers != stack.num_layers:
                raise ComflpError(
                    f"proposal {proposal} is for a model of {part.num_layers} layers, this one has {stack.num_layers}"
                    + (f" in its {name}" if len(self.stacks) > 1 else "")
                )
            for layer in part.removed:
                if layer in stack.must_stay:
                    raise ComflpError(f"proposal {proposal} removes layer {layer} of the {name}, which must stay: "
                                      f"{stack.must_stay[layer]}")

    def forward(
        self, batch: AudioBatch, layerdrop: float = 0.0, return_hidden: bool = False, checkpoint_layers: bool = False,
        drop_generator: random.Random | None = None, subnetworks: Sequence[Proposal] = (),
    ) -> Output:
        """All pieces in one go.

        layerdrop: probability in [0, 1) of skipping each layer (Section 3.3), one draw
            a layer from ``drop_generator``. Searches and decoding leave it at 0.
        checkpoint_layers: recompute the layers in the backward pass to save memory.
        subnetworks: proposals whose pruned models' outputs are wanted too; each starts where its path leaves the whole model's.
        """
        if layerdrop and drop_generator is None:
            raise ValueError("layerdrop needs a drop_generator, so that runs can be repeated")
        run = functools.partial(torch.utils.checkpoint.checkpoint, self.run, use_reentrant=False) if checkpoint_layers else self.run
        state = self.begin(batch)
        states, hidden = [state], [state.hidden]
        for step in self.path():
            if not (layerdrop and step.layer > ENTER and self._may_drop(step) and drop_generator.random() < layerdrop):
                state = run(state, step)
            if subnetworks:
                states.append(state)
            if return_hidden and step.layer > ENTER:
                hidden.append(state.hidden)
        output = self.finish(state)
        if return_hidden:
            output = replace(output, hidden=tuple(hidden), hidden_frames=state.num_frames)
        return replace(output, subnetworks=tuple(self._after(states, proposal) for proposal in subnetworks)) if subnetworks else output

    def _after(self, states: Sequence[State], proposal: Proposal) -> Output:
        """The output of a pruned model, from the last of the whole model's states that is its own too."""
        path = self.path(proposal)
        shared = next(number for number, (step, other) in enumerate(zip((*path, None), self.path())) if step != other)
        return self.finish(functools.reduce(self.run, path[shared:], states[shared]))

    def _may_drop(self, step: Step) -> bool:
        return step.layer not in self.stacks[step.stack].must_stay

    def prune(self, proposal: Proposal) -> LayeredModel:
        """A new model without the proposal's layers; this one is left as it is.

        Raises ComflpError when the proposal is for another number of layers, or removes a layer that must stay.
        """
        self.check(proposal)
        pruned = copy.deepcopy(self)
        pruned.keep_layers({name: proposal.of(name).kept for name in self.stacks})
        steps = [*self.origin.get("pruning", []), {"num_layers": depth_of(self.stacks), "removed": str(proposal)}]
        pruned.origin = {**self.origin, "pruning": steps}
        pruned.origin.pop("training", None)  # what was measured of this model does not hold of that one
        return pruned
