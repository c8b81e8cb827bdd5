"""What a model learns from labels: CTC's loss of frames, the cross entropy of tokens that its decoder reads, or a transducer's loss of all paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Sequence

import torch

from comflp.data.batching import AudioBatch
from comflp.data.training import LabelledBatch
from comflp.errors import ComflpError
from comflp.inference.decode import decode_batches
from comflp.models.greedy import greedy_search
from comflp.models.layered import LayeredModel, Output
from comflp.proposal import PruningProposal


class Objective(Protocol):
    """How a kind of model is taught, and how it is heard in validation.

    reads_hidden: whether the loss needs the output's hidden states. subnetworks: proposals whose outputs it needs.
    """

    reads_hidden: bool
    subnetworks: Sequence[PruningProposal]

    def taught(self, batch: LabelledBatch) -> AudioBatch:
        """The audio as the model's forward pass takes it in training."""

    def loss(self, output: Output, batch: LabelledBatch) -> tuple[torch.Tensor, int]:
        """(scalar loss, mean over utterances of nats a label; number of utterances that could not be counted)."""

    def texts(self, output: Output, batch: LabelledBatch) -> list[str]:
        """What the model recognises of a batch, whose output is there."""


def objective_of(model: LayeredModel, subnetworks: str = "", subnetwork_weight: float = 0.0) -> Objective:
    """The objective of a model: its own loss where it has one, of tokens where it writes token by token, else of CTC.

    subnetworks, subnetwork_weight: as :class:`Frames` takes them, the proposals as text, a slash between two. Raises ComflpError where another
    objective gets some, and for proposals that do not fit the model.
    """
    if subnetworks and model.teacher_forced:
        raise ComflpError(f"subnetworks {subnetworks}: only CTC models are trained together with pruned ones")
    if hasattr(model, "label_losses"):
        return Paths(model)
    if model.teacher_forced:
        return Tokens(model)
    proposals = tuple(PruningProposal.parse(text, model.num_layers) for text in subnetworks.split("/") if text)
    if not all(proposal.num_removed for proposal in proposals):
        raise ComflpError(f"subnetworks {subnetworks}: each is of layers that are removed, such as 7-12")
    return Frames(model, proposals, subnetwork_weight)


@dataclass(frozen=True)
class Frames:
    """CTC, and with a weight that of pruned models which share their layers with the whole one.

    subnetworks: their proposals. The last layers removed make it intermediate CTC (Lee and Watanabe, ICASSP 2021; Lee, Kang and Watanabe,
        Interspeech 2021), any others a supernet that is trained with its subnets (Xu et al., Interspeech 2024, whose layers are chosen by
        learned scores).
    weight: how much the mean of their losses counts, in [0, 1); the whole model's has the rest.
    """

    model: LayeredModel
    subnetworks: Sequence[PruningProposal] = ()
    weight: float = 0.0
    reads_hidden = False

    def taught(self, batch: LabelledBatch) -> AudioBatch:
        return batch.audio

    def loss(self, output: Output, batch: LabelledBatch) -> tuple[torch.Tensor, int]:
        blank = self.model.tokenizer.blank_id
        loss, left_out = ctc_loss(output, batch, blank)
        if output.subnetworks:
            others = torch.stack([ctc_loss(each, batch, blank)[0] for each in output.subnetworks])
            loss = (1 - self.weight) * loss + self.weight * others.mean()
        return loss, left_out

    def texts(self, output: Output, batch: LabelledBatch) -> list[str]:
        return greedy_search(output.logits, output.num_frames, self.model.tokenizer)


@dataclass(frozen=True)
class Tokens:
    """Cross entropy of the next token, the end of the text among them, after the label's tokens before it."""

    model: LayeredModel
    reads_hidden = False
    subnetworks = ()

    def taught(self, batch: LabelledBatch) -> AudioBatch:
        return with_labels(batch)

    def loss(self, output: Output, batch: LabelledBatch) -> tuple[torch.Tensor, int]:
        # An utterance without labels, which an error rate takes and a loss does not, has rows that are not counted.
        wanted = torch.nn.functional.pad(batch.labels[:, : int(batch.num_labels.max())], (0, 1))
        wanted[torch.arange(len(wanted)), batch.num_labels] = self.model.tokenizer.end
        own = output.own() & (batch.num_labels > 0)[:, None]
        losses = torch.nn.functional.cross_entropy(output.logits.float().transpose(1, 2), wanted, reduction="none")
        of_utterances = torch.where(own, losses, 0.0).sum(dim=1) / (batch.num_labels + 1)
        counted = batch.num_labels > 0
        return of_utterances.sum() / counted.sum().clamp_min(1), int((~counted).sum())

    def texts(self, output: Output, batch: LabelledBatch) -> list[str]:
        # Cut off at twice the label's tokens and 8 more; a text that cannot be a label has as many as there may be.
        longest = [self.model.tokenizer.end] * self.model.most_tokens
        rows = [row[:length].tolist() or (longest if utterance.text else [])
                for utterance, row, length in zip(batch.audio.utterances, batch.labels, batch.num_labels)]
        (decoded,) = decode_batches(self.model, [batch.audio.with_targets(rows)])
        return decoded.texts


@dataclass(frozen=True)
class Paths:
    """The loss that a model has itself (``label_losses``), a transducer's: of all paths through frames and labels."""

    model: LayeredModel
    reads_hidden = True
    subnetworks = ()

    def taught(self, batch: LabelledBatch) -> AudioBatch:
        # In the place of labels there may be a teacher's paths, whose rows are compared. The loss of labels reads no row.
        return with_labels(batch)

    def loss(self, output: Output, batch: LabelledBatch) -> tuple[torch.Tensor, int]:
        counted = batch.num_labels > 0
        if not counted.any():
            return output.logits.new_zeros(()), len(counted)
        hidden, frames, labels, lengths = (each[counted] for each in (output.hidden[-1], output.hidden_frames, batch.labels, batch.num_labels))
        return (self.model.label_losses(hidden, frames, labels, lengths) / lengths).mean(), int((~counted).sum())

    def texts(self, output: Output, batch: LabelledBatch) -> list[str]:
        (decoded,) = decode_batches(self.model, [batch.audio])
        return decoded.texts


def with_labels(batch: LabelledBatch) -> AudioBatch:
    """The audio of a batch with its labels as targets."""
    return batch.audio.with_targets(row[:length].tolist() for row, length in zip(batch.labels, batch.num_labels))


def ctc_loss(output: Output, batch: LabelledBatch, blank_id: int) -> tuple[torch.Tensor, int]:
    """(scalar loss, number of utterances left out because their frames are too few for their labels).

    Mean over utterances of -log p(labels | audio) / number of labels, in nats.
    Speed perturbation can make an utterance too short after it was checked; such
    a one counts as 0 instead of making the loss infinite, and so does one without labels.
    """
    log_probs = torch.log_softmax(output.logits.float(), dim=-1).transpose(0, 1)
    losses = torch.nn.functional.ctc_loss(
        log_probs, batch.labels, output.num_frames, batch.num_labels, blank=blank_id, reduction="none", zero_infinity=True
    )  # an infinite loss has gradients that are no numbers, whatever it is multiplied with
    fits = (batch.required_frames() <= output.num_frames) & (batch.num_labels > 0)
    losses = torch.where(fits, losses / batch.num_labels.clamp_min(1), 0.0)
    return losses.sum() / fits.sum().clamp_min(1), int((~fits).sum())
