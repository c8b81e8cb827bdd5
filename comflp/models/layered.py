"""LayeredModel: any CTC encoder as a front end, a list of layers and a head."""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, Protocol, Sequence

import torch
import torch.utils.checkpoint

from comflp.data.batching import AudioBatch, own_frames
from comflp.errors import ComflpError
from comflp.proposal import PruningProposal


class Tokenizer(Protocol):
    """Text to CTC label ids and back, in the words of the model's own processor."""

    vocab_size: int
    blank_id: int

    def encode(self, text: str) -> list[int]:
        """Label ids of ``text``, without blanks; ComflpError names a character that has none."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of label ids after the CTC collapse (no repeats, no blanks)."""

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files into a model directory."""


@dataclass(frozen=True)
class LayerState:
    """What flows from one layer to the next.

    hidden: (B, T, D) float, H_i of Eq. 1 (frames beyond an utterance's end hold anything).
    num_frames: (B,) int64, frames of each utterance, 1 to T.
    context: what every layer of the family reads besides (masks, position biases);
        made by the front end, the same for all layers.
    """

    hidden: torch.Tensor
    num_frames: torch.Tensor
    context: Mapping[str, Any] = field(default_factory=dict)

    def with_hidden(self, hidden: torch.Tensor) -> LayerState:
        """The same state carrying another layer's output."""
        return replace(self, hidden=hidden)

    def time_average(self) -> torch.Tensor:
        """(B, D): the mean of H_i over an utterance's own frames (Section 2.1); padding never enters it."""
        mask = own_frames(self.num_frames, self.hidden.shape[1])
        summed = torch.where(mask[:, :, None], self.hidden, 0).sum(dim=1)
        return summed / mask.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class CTCOutput:
    """Result of a whole forward pass.

    logits: (B, T, V), unnormalised. num_frames: (B,) int64, frames of the logits.
    hidden: H_0..H_L as L+1 tensors (B, T, D) when they were asked for, else None;
        a layer that layerdrop skipped repeats its input.
    hidden_frames: (B,) int64, frames of ``hidden`` when it was asked for; other
        than ``num_frames`` in families whose head changes the frame rate.
    """

    logits: torch.Tensor
    num_frames: torch.Tensor
    hidden: tuple[torch.Tensor, ...] | None = None
    hidden_frames: torch.Tensor | None = None


class LayeredModel(torch.nn.Module, ABC):
    """A CTC encoder in three pieces: ``frontend(batch)``, ``layers[i](state)``, ``head(state)``.

    Running the three one after another equals the model's own forward pass. A
    family implements the abstract members; everything else (forward, prune)
    is common. Attributes every family sets:

    tokenizer: Tokenizer.
    sample_rate: int, Hz, of the waveforms that the front end takes.
    origin: dict, JSON-able; how this model came to be (source, proposals applied, training).
    library_note: Markdown for the model card: how the library of origin loads the directory.
    reads_padding: whether padding in a batch changes the output of an utterance's own frames (norms over the
        padded length, convolutions over padded frames), as it does in the library of origin too. Searches, dumps
        and decoding then batch utterances of equal length only, so that results do not depend on batches.
    """

    tokenizer: Tokenizer
    sample_rate: int
    origin: dict
    library_note: str = ""
    reads_padding: bool = False

    @abstractmethod
    def frontend(self, batch: AudioBatch) -> LayerState:
        """H_0: what enters the first layer (convolutions, projection, positions)."""

    @property
    @abstractmethod
    def layer_modules(self) -> torch.nn.ModuleList:
        """The encoder's layers in order, as the family stores them."""

    @abstractmethod
    def run_layer(self, module: torch.nn.Module, state: LayerState) -> LayerState:
        """Apply one of ``layer_modules``: H_{i-1} to H_i."""

    @abstractmethod
    def head(self, state: LayerState) -> torch.Tensor:
        """(B, T, V) logits from H_L: final norm where the family has one, and projection."""

    def logit_frames(self, state: LayerState) -> torch.Tensor:
        """(B,) int64 frames of the logits that :meth:`head` makes of ``state``.

        As many as H_L has, except in families whose head changes the frame rate
        (SEW upsamples, adapters shorten).
        """
        return state.num_frames

    @abstractmethod
    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames of logits that utterances of ``num_samples`` samples become."""

    @abstractmethod
    def keep_layers(self, kept: Sequence[int]) -> None:
        """Shorten this model in place to the layers ``kept`` (1-based, ascending), config included."""

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
        """L."""
        return len(self.layer_modules)

    @property
    def layers(self) -> list[Callable[[LayerState], LayerState]]:
        """The layers as functions of a LayerState; ``layers[i]`` is layer i+1 of the paper."""
        return [partial(self.run_layer, module) for module in self.layer_modules]

    @property
    def num_parameters(self) -> int:
        """Number of scalar parameters, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self,
        batch: AudioBatch,
        layerdrop: float = 0.0,
        return_hidden: bool = False,
        checkpoint_layers: bool = False,
        drop_generator: random.Random | None = None,
    ) -> CTCOutput:
        """Front end, layers and head in one go.

        layerdrop: probability in [0, 1) of skipping each layer (Section 3.3), one draw
            a layer from ``drop_generator``. Searches and decoding leave it at 0.
        checkpoint_layers: recompute the layers in the backward pass to save memory.
        """
        if layerdrop and drop_generator is None:
            raise ValueError("layerdrop needs a drop_generator, so that runs can be repeated")
        state = self.frontend(batch)
        hidden = [state.hidden]
        for layer in self.layers:
            if not (layerdrop and drop_generator.random() < layerdrop):
                if checkpoint_layers:
                    state = torch.utils.checkpoint.checkpoint(layer, state, use_reentrant=False)
                else:
                    state = layer(state)
            if return_hidden:
                hidden.append(state.hidden)
        logits = self.head(state)
        if not return_hidden:
            return CTCOutput(logits, self.logit_frames(state))
        return CTCOutput(logits, self.logit_frames(state), tuple(hidden), state.num_frames)

    def prune(self, proposal: PruningProposal) -> LayeredModel:
        """A new model without the proposal's layers; this one is left as it is.

        Raises ComflpError when the proposal is for another number of layers, or removes all.
        """
        if proposal.num_layers != self.num_layers:
            raise ComflpError(
                f"proposal {proposal} is for a model of {proposal.num_layers} layers, this one has {self.num_layers}"
            )
        if not proposal.kept:
            raise ComflpError(f"proposal {proposal} removes all {self.num_layers} layers; at least one must stay")
        pruned = copy.deepcopy(self)
        pruned.keep_layers(proposal.kept)
        steps = [*self.origin.get("pruning", []), {"num_layers": self.num_layers, "removed": str(proposal)}]
        pruned.origin = {**self.origin, "pruning": steps}
        pruned.origin.pop("training", None)  # what was measured of this model does not hold of that one
        return pruned
