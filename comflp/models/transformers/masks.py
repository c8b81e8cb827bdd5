"""Padding and positions in the form that the layers of transformers take them."""

from __future__ import annotations

import torch
from transformers.masking_utils import create_bidirectional_mask


def without_padding(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """``hidden`` (B, T, D) with zeros where ``mask`` (B, T) is false."""
    return hidden if mask is None else hidden.masked_fill(~mask[:, :, None], 0.0)


def attention_mask(encoder: torch.nn.Module, hidden: torch.Tensor, mask: torch.Tensor | None):
    """The mask in the form that the model's attention implementation takes."""
    return create_bidirectional_mask(config=encoder.config, inputs_embeds=hidden, attention_mask=mask)


def position_embeddings(encoder: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor | None:
    """Relative or rotary position embeddings of a conformer encoder, None where it has none."""
    return None if encoder.embed_positions is None else encoder.embed_positions(hidden)
