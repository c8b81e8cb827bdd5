"""Whisper and its like as graphs that PyTorch can export, in the two layouts that people's runtimes read.

The library's own layers run; only where keys and values are kept is given to them (:class:`_Given`). Tokens that the
model's generation settings forbid get logits of minus infinity within the graph, since not every runtime reads those settings.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import torch
from transformers import Cache, EncoderDecoderCache

from comflp.models.transformers.seq2seq import TransformersSeq2Seq

Pair = tuple[torch.Tensor, torch.Tensor]
Keep = Callable[[torch.Tensor, torch.Tensor, int], Pair]


class Encoder(torch.nn.Module):
    """Log-mel features (B, bins, frames) of one window to encoder states (B, T, D)."""

    def __init__(self, model: TransformersSeq2Seq):
        super().__init__()
        self.encoder = model.model.model.encoder

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        """Encoder states."""
        return self.encoder(input_features).last_hidden_state


class _Decoder(torch.nn.Module):
    """Logits (B, n, V) of ``n`` tokens that stand at ``offset`` in the text, with keys and values kept by the caller."""

    def __init__(self, model: TransformersSeq2Seq):
        super().__init__()
        self.decoder = model.model.model.decoder
        self.head = model.model.proj_out
        self.num_layers = len(self.decoder.layers)
        self.num_heads = self.decoder.layers[0].self_attn.num_heads
        settings, size = model.model.generation_config, model.model.config.vocab_size
        self.register_buffer("never", _forbidden(settings.suppress_tokens, size), persistent=False)
        self.register_buffer("never_first", _forbidden(settings.begin_suppress_tokens, size), persistent=False)

    def run(self, tokens: torch.Tensor, offset: Any, states: torch.Tensor, keep: Keep, crossed: list[Pair], mask: torch.Tensor) -> torch.Tensor:
        """Logits (B, n, V), of which forbidden tokens are left out.

        states: (B, T, D) of the encoder; only their shape is read where ``crossed`` has keys and values of every layer,
        else these are made and appended to it. mask: (1, 1, n, keys), true where a token sees a key.
        """
        positions = (offset + torch.arange(tokens.shape[1]))[None].expand(tokens.shape[0], -1)
        added = torch.where(mask, 0.0, torch.finfo(torch.float32).min)
        hidden = self.decoder(
            input_ids=tokens, attention_mask=added, encoder_hidden_states=states, position_ids=positions,
            past_key_values=_Given(keep, crossed, self.num_layers), use_cache=True,
        ).last_hidden_state
        return self.head(hidden) + self.never

    def split(self, values: torch.Tensor) -> torch.Tensor:
        """(B, n, D) to (B, heads, n, D / heads)."""
        return values.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class FirstTokens(_Decoder):
    """The tokens before a text, and encoder states: logits, then keys and values of each layer (decoder, then encoder)."""

    def forward(self, input_ids: torch.Tensor, encoder_hidden_states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits and 4 tensors (B, heads, n or T, D / heads) a layer."""
        own: list[Pair] = []
        crossed: list[Pair] = []

        def keep(keys: torch.Tensor, values: torch.Tensor, layer: int) -> Pair:
            own.append((keys, values))
            return keys, values

        mask = torch.ones(input_ids.shape[1], input_ids.shape[1], dtype=torch.bool).tril()[None, None]
        logits = self.run(input_ids, 0, encoder_hidden_states, keep, crossed, mask)
        logits = torch.cat([logits[:, :-1], logits[:, -1:] + self.never_first], dim=1)
        return (logits, *(tensor for pairs in zip(own, crossed) for pair in pairs for tensor in pair))


class NextToken(_Decoder):
    """One more token, and the keys and values of those before it: logits, then the decoder's keys and values with its own."""

    def forward(self, input_ids: torch.Tensor, past: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Logits (B, 1, V) and 2 tensors (B, heads, past + 1, D / heads) a layer."""
        own: list[Pair] = []
        crossed = [(past[4 * layer + 2], past[4 * layer + 3]) for layer in range(self.num_layers)]

        def keep(keys: torch.Tensor, values: torch.Tensor, layer: int) -> Pair:
            own.append((torch.cat([past[4 * layer], keys], dim=2), torch.cat([past[4 * layer + 1], values], dim=2)))
            return own[-1]

        length = past[0].shape[2]
        mask = torch.ones(1, 1, 1, length + 1, dtype=torch.bool)
        logits = self.run(input_ids, length, crossed[0][0], keep, crossed, mask)
        return (logits, *(tensor for pair in own for tensor in pair))


class SherpaEncoder(torch.nn.Module):
    """sherpa-onnx's encoder: features to keys and values (layers, B, T, D) of the decoder's attention to the encoder.

    The runtime ends an utterance with frames of zeros. They become what silence is in these features, up to the
    window that the model was trained with.
    """

    def __init__(self, model: TransformersSeq2Seq):
        super().__init__()
        self.encoder = model.model.model.encoder
        self.layers = model.model.model.decoder.layers
        self.frames = model.model.config.max_source_positions * 2

    def forward(self, mel: torch.Tensor) -> Pair:
        """Keys and values."""
        silence = (mel.amax(dim=(1, 2), keepdim=True) - _RANGE).clamp_min(_FLOOR)
        padded = torch.cat([mel, torch.zeros(1, mel.shape[1], self.frames)], dim=2)[:, :, : self.frames]
        states = self.encoder(torch.where((padded == 0).all(dim=1, keepdim=True), silence, padded)).last_hidden_state
        keys = torch.stack([layer.encoder_attn.k_proj(states) for layer in self.layers])
        return keys, torch.stack([layer.encoder_attn.v_proj(states) for layer in self.layers])


class SherpaDecoder(_Decoder):
    """sherpa-onnx's decoder: caches (layers, B, positions, D) of a fixed length, written at ``offset``."""

    def forward(
        self, tokens: torch.Tensor, self_k: torch.Tensor, self_v: torch.Tensor, cross_k: torch.Tensor, cross_v: torch.Tensor,
        offset: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits (B, n, V) and the caches with the tokens' own keys and values."""
        own: list[Pair] = []
        crossed = [(self.split(cross_k[layer]), self.split(cross_v[layer])) for layer in range(self.num_layers)]
        positions = torch.arange(self_k.shape[2])
        places = offset + torch.arange(tokens.shape[1])
        here = (positions[:, None] == places[None]).float()  # (positions, n): where the tokens' own go

        def keep(keys: torch.Tensor, values: torch.Tensor, layer: int) -> Pair:
            written = [torch.where(here.any(dim=1)[:, None], here @ new.transpose(1, 2).flatten(2), old[layer])
                       for new, old in ((keys, self_k), (values, self_v))]
            own.append((written[0], written[1]))
            return self.split(written[0]), self.split(written[1])

        mask = (positions[None] <= places[:, None])[None, None]
        logits = self.run(tokens, offset, crossed[0][0], keep, crossed, mask)
        logits = logits + torch.where(offset == 0, self.never_first, 0.0)
        return logits, torch.stack([pair[0] for pair in own]), torch.stack([pair[1] for pair in own])


_RANGE = 2.0
"""How far silence is below the loudest of Whisper's normalised features: 8 powers of ten, divided by 4."""
_FLOOR = -1.5
"""Digital silence in them: ten powers of ten below 1, and (-10 + 4) / 4."""


class _Own(Cache):
    """The decoder's keys and values, kept by a function of the caller."""

    def __init__(self, keep: Keep, num_layers: int):
        self.keep = keep
        self.layers = [object()] * num_layers  # the library asks each whether it is of a special kind

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Pair:
        return self.keep(key_states, value_states, layer_idx)


class _Crossed(Cache):
    """Keys and values of the attention to the encoder, read from the caller's list or appended to it."""

    def __init__(self, pairs: list[Pair]):
        self.pairs = pairs
        self.layers = [_Layer(*pair) for pair in pairs]

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Pair:
        self.pairs.append((key_states, value_states))
        return key_states, value_states


class _Layer:
    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        self.keys, self.values = keys, values


class _Given(EncoderDecoderCache):
    """A cache whose tensors are the graph's own inputs and outputs."""

    def __init__(self, keep: Keep, crossed: list[Pair], num_layers: int):
        self.is_updated = dict.fromkeys(range(num_layers), bool(crossed))
        self.self_attention_cache, self.cross_attention_cache = _Own(keep, num_layers), _Crossed(crossed)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The positions are given, so that nothing follows from a length."""
        return 0


def _forbidden(tokens: Sequence[int] | None, size: int) -> torch.Tensor:
    """(V,): minus infinity (the least float32) at tokens that are never written, else 0."""
    row = torch.zeros(size)
    row[list(tokens or ())] = torch.finfo(torch.float32).min
    return row
