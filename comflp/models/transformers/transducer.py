"""TransformersTransducer: a transducer of the transformers library (RNN-T, TDT), whose encoder is cut at its layers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Iterator, Mapping, NamedTuple, Sequence

import torch
from transformers import PreTrainedModel, ProcessorMixin
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput

from comflp.data.batching import AudioBatch, own_frames
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError
from comflp.models.finite import check_finite, output_of
from comflp.models.layered import Output, State
from comflp.models.transformers.checked_scores import CheckedScores
from comflp.models.transformers.logging import quiet
from comflp.models.transformers.model import TransformersCTC
from comflp.models.transformers.split import Split
from comflp.proposal import Proposal

_NEVER = -1e4
"""The logit of what a row cannot say: finite, and nothing of a sum of posteriors."""


class _Path(NamedTuple):
    """Greedy paths of a batch, B of at most S steps. frames: (B, S) the frame that each step reads. before: (B, S) how many labels come
    before it. labels: (B, 1 + U) what the prediction network reads: the symbol that starts it, then the labels."""

    frames: torch.Tensor
    before: torch.Tensor
    labels: torch.Tensor


class TransformersTransducer(TransformersCTC):
    """A transducer of transformers: one stack, the encoder, before a prediction network over labels and a joint network.

    The encoder is cut as that of a CTC model (:class:`TransformersCTC`). Its frames meet the labels along a path: a step
    reads a frame and the labels before it, puts out a label or blank, and says how many frames to advance. An RNN-T
    advances by one frame on a blank, or after as many labels as a frame may have, a TDT by the duration that it predicts.
    Passes are teacher-forced: ``batch.targets`` are such paths, the deep model's own, each step as symbol + V * frames to
    advance, V being the symbols, blank among them. The rows of :meth:`finish` are the joint network's logits at the steps;
    of a TDT every step has two rows, of its symbol and of its duration, so that a divergence counts both.

    model: the library's ``...ForRNNT`` or ``...ForTDT``, in float32. The other arguments are those of :class:`TransformersCTC`.
    """

    row = "step"
    teacher_forced = True
    most_tokens = 10**9
    """Steps of a path: it ends with the frames, so that none has so many."""

    def __init__(self, model: PreTrainedModel, split: Split, processor: ProcessorMixin, origin: dict):
        super().__init__(model, split, processor, origin)
        self.tokenizer.blank_id = model.config.blank_token_id
        self.num_symbols = model.config.vocab_size

    @property
    def library_class(self) -> str:
        return "AutoModelForTDT" if self._has_durations else "AutoModelForRNNT"

    @property
    def _has_durations(self) -> bool:
        return hasattr(self.model.config, "durations")

    def begin(self, batch: AudioBatch) -> State:
        state = super().begin(batch)
        return replace(state, context={**state.context, "targets": batch.targets, "num_targets": batch.num_targets,
                                       "utterances": batch.utterances})

    def finish(self, state: State) -> Output:
        targets, num_steps = state.context["targets"], state.context["num_targets"]
        if targets is None:
            raise ComflpError("a teacher-forced pass of a transducer needs hypotheses: batches with targets")
        path = self._path(targets, num_steps, state.num_frames)
        rows = torch.arange(len(targets), device=targets.device)[:, None]
        with self._float32():
            encoded = self.model.encoder_projector(self.split.tail(state).float())
            predicted = self.model.decoder(path.labels)
            logits = self.model.joint(
                encoder_hidden_states=encoded[rows, path.frames], decoder_hidden_states=predicted[rows, path.before]
            )
        return Output(*self._as_rows(logits, num_steps))

    def _float32(self) -> torch.autocast:
        """Prediction and joint network in float32, whatever the encoder is computed in: a CPU has no LSTM in other types, and they are small."""
        return torch.autocast(self.device.type, enabled=False)

    def _as_rows(self, logits: torch.Tensor, num_steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, R, V') rows and (B,) their number from (B, S, V + D) logits of steps; R is 2S where there are durations."""
        if not self._has_durations:
            return logits, num_steps
        parts = logits.split([self.num_symbols, logits.shape[-1] - self.num_symbols], dim=-1)
        width = max(part.shape[-1] for part in parts)
        padded = [torch.nn.functional.pad(part, (0, width - part.shape[-1]), value=_NEVER) for part in parts]
        return torch.stack(padded, dim=2).flatten(1, 2), 2 * num_steps

    def _path(self, targets: torch.Tensor, num_steps: torch.Tensor, num_frames: torch.Tensor) -> _Path:
        """What the steps ``targets`` (B, S) read; steps beyond an utterance's frames read its last one."""
        symbols, advances = targets % self.num_symbols, targets // self.num_symbols
        frames = (advances.cumsum(dim=1) - advances).minimum(num_frames[:, None] - 1)
        is_label = (symbols != self.tokenizer.blank_id) & own_frames(num_steps, targets.shape[1])
        before = is_label.cumsum(dim=1) - is_label.long()
        num_labels = is_label.sum(dim=1)
        labels = symbols.new_full((len(targets), 1 + int(num_labels.max())), self._start)
        row, step = is_label.nonzero(as_tuple=True)
        labels[row, 1 + before[row, step]] = symbols[row, step]
        return _Path(frames, before, labels)

    @property
    def _start(self) -> int:
        """The symbol that the library's search starts the prediction network with: blank, where its settings do not say."""
        generation = self.model.generation_config
        named = (generation.decoder_start_token_id, generation.bos_token_id, self.tokenizer.blank_id)
        return next(symbol for symbol in named if symbol is not None)

    def library_logits(self, batch: AudioBatch) -> torch.Tensor:
        """(1, R, V): the rows of a path in the library's own forward pass, which gives every frame with every number of labels."""
        num_frames = self.num_frames(batch.num_samples)
        path = self._path(batch.targets, batch.num_targets, num_frames)
        logits = self.model(**self._features(batch.waveforms[0]).to(self.device), decoder_input_ids=path.labels).logits
        logits = logits.view(1, -1, path.labels.shape[1], logits.shape[-1])
        return self._as_rows(logits[0, path.frames, path.before], batch.num_targets)[0]

    def spell(self, state: State, proposal: Proposal | None = None) -> list[list[int]]:
        """The greedy path of each utterance by the library's own search, as ``batch.targets`` have them.

        It ends with the utterance's frames, or where it is cut off: after as many symbols a frame as the library allows, or
        twice the steps of the batch's targets and 8 more, where there are some, so that a model that repeats itself costs little.
        Raises ComflpError, naming model and utterance, where an output is not finite.
        """
        hidden, limits, what = self.split.tail(state).float(), self._limits(state), output_of(proposal)
        check_finite(hidden, state.num_frames, state.context["utterances"], what=what)
        scores = CheckedScores(state.context["utterances"], what)
        encoded = ParakeetEncoderModelOutput(hidden, attention_mask=own_frames(state.num_frames, hidden.shape[1]).int())
        with self._encoding(encoded, scores), self._float32(), quiet():
            found = self.model.generate(
                input_features=hidden, decoder_start_token_id=self._start, max_new_tokens=max(limits), num_beams=1, do_sample=False,
                num_return_sequences=1, return_dict_in_generate=True,
            )
        scores.check()
        # Without the symbol that starts it; the library goes on with an utterance until the longest of the batch is done.
        frames = found.durations[:, 1:].cumsum(dim=1) - found.durations[:, 1:]
        steps = found.sequences[:, 1:] + self.num_symbols * found.durations[:, 1:]
        inside = (frames < state.num_frames[:, None]).sum(dim=1).tolist()
        return [row[: min(length, limit)] for row, length, limit in zip(steps.tolist(), inside, limits)]

    own_targets = spell

    def _limits(self, state: State) -> list[int]:
        """The most steps of each utterance's path."""
        limits = (state.num_frames * self.model.max_symbols_per_step).tolist()
        if state.context["num_targets"] is None:
            return limits
        return [min(limit, 2 * length + 8) for limit, length in zip(limits, state.context["num_targets"].tolist())]

    def label_losses(
        self, hidden: torch.Tensor, num_frames: torch.Tensor, labels: torch.Tensor, num_labels: torch.Tensor
    ) -> torch.Tensor:
        """(B,) nats: -log p(labels | audio), summed over all paths that put them out; the library's own loss.

        hidden: (B, T, D), H_L, of which (B,) ``num_frames`` are own. labels: (B, U), of which (B,) ``num_labels`` are own, 1 at least.
        """
        labels, config = labels[:, : int(num_labels.max())], self.model.config
        padding = config.pad_token_id if self._has_durations else config.blank_token_id  # what the library counts labels by
        wanted = labels.masked_fill(~own_frames(num_labels, labels.shape[1]), padding)
        read = torch.nn.functional.pad(labels, (1, 0), value=self._start)
        own = own_frames(num_frames, hidden.shape[1]).int()
        with self._float32():
            encoded = ParakeetEncoderModelOutput(pooler_output=self.model.encoder_projector(hidden.float()), attention_mask=own)
            return self.model(encoder_outputs=encoded, decoder_input_ids=read, labels=wanted, reduction="none").loss

    @contextlib.contextmanager
    def _encoding(self, encoded: ParakeetEncoderModelOutput, scores: CheckedScores) -> Iterator[None]:
        """Within the block the library's encoder gives ``encoded``, whatever it reads, and ``scores`` sees those of each step."""
        self.model.encoder.forward = lambda **_: encoded
        watch = self.model.joint.register_forward_hook(lambda _, __, output: scores.note(output))
        try:
            yield
        finally:
            watch.remove()
            del self.model.encoder.forward

    def unended(self, spelled: list[list[int]], state: State) -> list[bool]:
        return [sum(step // self.num_symbols for step in steps) < frames for steps, frames in zip(spelled, state.num_frames.tolist())]

    def texts(self, spelled: Mapping[str, list[list[int]]], utterances: Sequence[Utterance] = ()) -> dict[str, list[str]]:
        return {name: [self.tokenizer.decode(self.labels_of(steps)) for steps in batch] for name, batch in spelled.items()}

    def labels_of(self, steps: Sequence[int]) -> list[int]:
        """The labels of a path."""
        return [step % self.num_symbols for step in steps if step % self.num_symbols != self.tokenizer.blank_id]

    def example_targets(self, size: int, length: int = 6) -> list[list[int]]:
        """``size`` paths of ``length`` labels drawn at random, four blanks after each: three labels a second at frames of 80 ms."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(0, self.num_symbols, (size, length), generator=generator).tolist()
        blanks = [self.tokenizer.blank_id + self.num_symbols] * 4
        return [[step for label in row for step in (label, *blanks)] for row in labels]
