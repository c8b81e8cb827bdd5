"""Scores of a decoder that writes token by token, looked at while the library searches: a NaN would be written as the end, or as any token."""

from __future__ import annotations

from typing import Sequence

import torch
from transformers import LogitsProcessor

from comflp.data.utterance import Utterance
from comflp.models.finite import not_finite


class CheckedScores(LogitsProcessor):
    """Changes nothing of the scores, and notes of which utterances they are NaN, or infinite but for tokens that are forbidden.

    utterances: the batch's; none of audio that has no name. what: the model, as errors name it.
    """

    def __init__(self, utterances: Sequence[Utterance], what: str):
        self._utterances, self._what = utterances, what
        self._bad: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.note(scores)
        return scores

    def note(self, scores: torch.Tensor) -> None:
        """Look at the scores (B, ...) of a step."""
        bad = ~(scores.flatten(1) < float("inf")).all(dim=-1)  # minus infinity is a token that may not come
        self._bad = bad if self._bad is None else self._bad | bad

    def check(self) -> None:
        """ComflpError for the first utterance that was noted."""
        if self._bad is not None and self._bad.any():
            raise not_finite(self._what, self._utterances[int(self._bad.nonzero()[0])] if self._utterances else None)
