"""Distillation from the deep model: what the paper leaves to future work (Section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Sequence

import torch

from comflp.data.batching import own_frames
from comflp.errors import ComflpError
from comflp.models.layered import Output, LayeredModel
from comflp.train import DISTILLATIONS


@dataclass(frozen=True)
class Distillation:
    """How a pruned model learns from the deep one.

    teacher: the deep model; run once a batch, without gradients, in evaluation mode.
    kept: for each layer of the student, its 1-based layer in the teacher.
    ctc_weight: weight of the KL divergence of each row (a frame, or a token) to the teacher's posteriors (0: off).
    hidden_weight: weight of the mean squared error between a kept layer's output and
        the teacher's output of the same layer, over its variance (0: off).
    temperature: both models' logits are divided by it in the KL term, which is
        multiplied by its square so that gradients keep their size.
    hypotheses: None where the loss of the labels is added. Else no text is read: for each utterance to learn from, the tokens
        of the teacher's own hypothesis, which models that write token by token read instead; no tokens for the others.
    """

    teacher: LayeredModel
    kept: Sequence[int]
    ctc_weight: float
    hidden_weight: float
    temperature: float = 1.0
    hypotheses: Mapping[str, Sequence[int]] | None = None

    @classmethod
    def of_kind(
        cls, kind: str, teacher: LayeredModel, kept: Sequence[int], hypotheses: Mapping[str, Sequence[int]] | None = None, **weights: float
    ) -> Distillation | None:
        """The Distillation named ``ctc``, ``hidden``, ``both`` or ``only``; None for ``none``.

        Of models that write token by token the posteriors that ``ctc`` compares are those of tokens, after the labels' tokens
        before them. ``only`` compares posteriors and reads no labels: it needs ``hypotheses``. Raises ComflpError for another
        name, for the hidden states of several stacks, and for what needs the path of a transducer's labels.
        """
        if kind not in DISTILLATIONS:
            raise ComflpError(f"--distill {kind} is none of {', '.join(DISTILLATIONS)}")
        if kind == "none":
            return None
        if kind in ("hidden", "both") and len(teacher.stacks) > 1:
            raise ComflpError(f"--distill {kind}: hidden states are compared in models of one stack; take ctc, the posteriors")
        if kind in ("ctc", "both") and hasattr(teacher, "label_losses"):
            raise ComflpError(f"--distill {kind}: the labels of a transducer do not say at which frames its posteriors are compared; "
                              f"take only, which compares them along the deep model's own paths, or hidden")
        made = cls(teacher.eval(), tuple(kept), **weights)
        if kind == "only":
            return replace(made, hidden_weight=0.0, hypotheses=hypotheses)
        return replace(made, **{"ctc": {"hidden_weight": 0.0}, "hidden": {"ctc_weight": 0.0}, "both": {}}[kind])

    def loss(self, student: Output, audio) -> torch.Tensor:
        """The weighted distillation loss of a batch, a scalar; the frames of padding do not count."""
        with torch.no_grad():
            teacher = self.teacher(audio, return_hidden=self.hidden_weight > 0)
        total = student.logits.new_zeros(())
        if self.ctc_weight:
            mask = own_frames(student.num_frames, student.logits.shape[1])
            total = total + self.ctc_weight * posterior_divergence(
                teacher.logits[mask], student.logits[mask], self.temperature
            )
        if self.hidden_weight:
            total = total + self.hidden_weight * self._hidden_loss(student, teacher)
        return total

    def _hidden_loss(self, student: Output, teacher: Output) -> torch.Tensor:
        mask = own_frames(student.hidden_frames, student.hidden[0].shape[1])
        terms = []
        for index, layer in enumerate(self.kept, start=1):
            if student.hidden[index] is student.hidden[index - 1]:
                continue  # layerdrop skipped this layer, it has no output to compare
            if teacher.hidden[layer].shape != student.hidden[index].shape or len(mask[0]) != student.hidden[index].shape[1]:
                raise ComflpError("--distill hidden: the layers of this model change how many frames there are; take ctc, the posteriors")
            target = teacher.hidden[layer][mask]
            error = torch.nn.functional.mse_loss(student.hidden[index][mask], target)
            terms.append(error / target.var().clamp_min(1e-6))
        return torch.stack(terms).mean() if terms else student.logits.new_zeros(())


def posterior_divergence(teacher: torch.Tensor, student: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Mean over frames of KL(teacher || student), in nats, times temperature squared.

    teacher, student: (frames, V) logits.
    """
    return (
        torch.nn.functional.kl_div(
            torch.log_softmax(student / temperature, dim=-1),
            torch.log_softmax(teacher / temperature, dim=-1),
            log_target=True,
            reduction="batchmean",
        )
        * temperature**2
    )
