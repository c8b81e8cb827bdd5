"""Greedy CTC search: the best label of each frame, repeats merged, blanks removed."""

from __future__ import annotations

import torch

from comflp.models.finite import finite_rows, not_finite
from comflp.models.tokenizer import Tokenizer


def greedy_search(logits: torch.Tensor, num_frames: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """The best label of each frame, repeats merged and blanks removed, as B texts.

    logits: (B, T, V). num_frames: (B,), frames beyond it are not read.
    """
    return texts_of(best_paths(logits, num_frames).cpu(), tokenizer)


def best_paths(logits: torch.Tensor, num_frames: torch.Tensor) -> torch.Tensor:
    """(B, 1 + T) int32 on the logits' device: how many frames are an utterance's own, then the best label of each frame.

    One tensor holds all that text is made of, so that one copy from a GPU brings the texts of many models. Where a value
    of an own frame is not finite there is no best label, and -1 frames say so
    (:func:`comflp.models.finite.refuse_marked`).
    """
    marked = torch.where(finite_rows(logits, num_frames), num_frames, -1)
    return torch.cat([marked[:, None], logits.argmax(dim=-1)], dim=1).int()


def texts_of(paths: torch.Tensor, tokenizer: Tokenizer) -> list[str]:
    """B texts of :func:`best_paths` (on the CPU)."""
    return [tokenizer.decode(labels.tolist()) for labels in labels_of(paths, tokenizer.blank_id)]


def labels_of(paths: torch.Tensor, blank_id: int) -> list[torch.Tensor]:
    """Repeats merged and blanks removed: B tensors (labels,) int64 of :func:`best_paths` (on the CPU)."""
    if (paths[:, 0] < 0).any():
        raise not_finite("the model's output")
    merged = [torch.unique_consecutive(path[1 : 1 + path[0]]).long() for path in paths]
    return [labels[labels != blank_id] for labels in merged]
