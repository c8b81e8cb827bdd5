"""Layer importance by linear probes ([27]): how much better can a layer's output be read than its input?

A linear CTC classifier is trained on the frozen output of every layer, all in
one pass over the data. A layer whose output is hardly easier to read than its
input goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Collection

import numpy as np
import torch

from comflp.data.batching import make_batches
from comflp.data.data_dir import DataDir
from comflp.data.training import LabelledBatch, LabelledDataset
from comflp.errors import ComflpError
from comflp.inference.device import evaluation
from comflp.inference.loop import track
from comflp.models.layered import ENTER, LayeredModel
from comflp.proposal import PruningProposal
from comflp.search.baselines.fixed import removable


@dataclass(frozen=True)
class ProbeResult:
    """losses: (L+1,) CTC loss in nats a label of the probe on H_0..H_L, on held-out data."""

    losses: tuple[float, ...]

    @property
    def gains(self) -> tuple[float, ...]:
        """(L,): by how much each layer lowers the loss; below 0 where it raises it."""
        return tuple((np.array(self.losses[:-1]) - np.array(self.losses[1:])).tolist())

    def proposal(self, num_prune: int, must_stay: Collection[int] = ()) -> PruningProposal:
        """Remove the ``num_prune`` layers of least gain that may be removed; of equal ones, the higher.

        >>> ProbeResult((5.0, 4.0, 3.9, 2.0, 2.0)).proposal(2)
        PruningProposal(num_layers=4, blocks=((2, 2), (4, 4)))
        """
        gains = self.gains
        order = sorted(removable(len(gains), num_prune, must_stay), key=lambda layer: (gains[layer - 1], -layer))
        return PruningProposal.from_layers(order[:num_prune], len(gains))


class LinearProbes(torch.nn.Module):
    """One linear CTC classifier for each of H_0..H_L: (L+1, B, T, D) to (L+1, B, T, V).

    Frames are brought to zero mean and unit variance over D first, because the
    outputs of pre-norm layers grow with depth. The weights start at zero, so
    nothing is drawn at random.
    """

    def __init__(self, num_states: int, width: int, vocab_size: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(num_states, width, vocab_size))
        self.bias = torch.nn.Parameter(torch.zeros(num_states, 1, vocab_size))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of all probes."""
        states, batch, frames, width = hidden.shape
        normalised = torch.nn.functional.layer_norm(hidden, (width,)).reshape(states, batch * frames, width)
        return torch.baddbmm(self.bias, normalised, self.weight).view(states, batch, frames, -1)


def linear_probe(
    model: LayeredModel,
    train: DataDir,
    held_out: DataDir,
    num_epochs: int = 4,
    learning_rate: float = 0.01,
    max_seconds: float = 40.0,
    seed: int = 0,
    allow_pipes: bool = False,
    progress: Callable | None = None,
) -> ProbeResult:
    """Train a probe on every layer's output of the frozen model, and measure it on ``held_out``.

    seed: seed for the random order of batches. max_seconds: padded seconds of audio in a batch.
    Utterances too short for their text under CTC are left out.
    """
    device = model.device
    train_set, held_out_set = (LabelledDataset(data.utterances, model, allow_pipes) for data in (train, held_out))
    rng = np.random.default_rng(seed)
    probes, optimizer = None, None
    for epoch in range(num_epochs):
        batches = _batches(train_set, max_seconds)
        order = rng.permutation(len(batches))
        for index in track(order, progress, f"linear probes, epoch {epoch + 1} of {num_epochs}", len(order)):
            batch = train_set.collate(batches[index]).to(device)
            hidden, frames = _hidden(model, batch)
            if probes is None:
                probes = LinearProbes(len(hidden), hidden.shape[-1], model.tokenizer.vocab_size).to(device)
                optimizer = torch.optim.Adam(probes.parameters(), lr=learning_rate)
            loss = _losses(probes(hidden), frames, batch, model.tokenizer.blank_id).sum() / batch.num_labels.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return ProbeResult(_measure(model, probes, held_out_set, max_seconds))


def _measure(model: LayeredModel, probes: LinearProbes, dataset: LabelledDataset, max_seconds: float) -> tuple[float, ...]:
    total, num_labels = 0.0, 0
    with torch.no_grad():
        for items in _batches(dataset, max_seconds):
            batch = dataset.collate(items).to(model.device)
            hidden, frames = _hidden(model, batch)
            total = total + _losses(probes(hidden), frames, batch, model.tokenizer.blank_id).double()
            num_labels += int(batch.num_labels.sum())
    return tuple((total / num_labels).tolist())


def _batches(dataset: LabelledDataset, max_seconds: float) -> list[list]:
    labels = {utterance.utt_id: ids for utterance, ids in zip(dataset.utterances, dataset.labels)}
    return [
        [(utterance, labels[utterance.utt_id]) for utterance in batch]
        for batch in make_batches(dataset.utterances, max_seconds=max_seconds)
    ]


def _hidden(model: LayeredModel, batch: LabelledBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """(L+1, B, T, D) outputs of the frozen layers and (B,) frames."""
    with evaluation(model):
        state = model.begin(batch.audio)
        hidden = [state.hidden]
        for step in model.path():
            state = model.run(state, step)
            if step.layer > ENTER:
                hidden.append(state.hidden)
    if len({each.shape for each in hidden}) > 1:
        raise ComflpError("linear_probe: the layers of this model change how many frames there are, and its probes read the same ones of every layer")
    return torch.stack(hidden).float(), state.num_frames


def _losses(logits: torch.Tensor, frames: torch.Tensor, batch: LabelledBatch, blank_id: int) -> torch.Tensor:
    """(L+1,) CTC losses in nats, added over the batch."""
    states, size = logits.shape[:2]
    log_probs = logits.log_softmax(dim=-1).flatten(0, 1).transpose(0, 1)
    losses = torch.nn.functional.ctc_loss(
        log_probs, batch.labels.repeat(states, 1), frames.repeat(states), batch.num_labels.repeat(states),
        blank=blank_id, reduction="none", zero_infinity=True,
    )
    return losses.view(states, size).sum(dim=1)
