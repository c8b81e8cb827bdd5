"""TransformersSeq2Seq: a model of two stacks, an encoder and a decoder that attends to it, such as Whisper."""

from __future__ import annotations

import contextlib
import copy
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import torch
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel, ProcessorMixin

from comflp.data.batching import AudioBatch, refuse_too_long, refuse_too_short
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError
from comflp.models.finite import check_finite, output_of
from comflp.models.layered import ENTER, LayeredModel, Output, Stack, State, Step
from comflp.models.transformers.checked_scores import CheckedScores
from comflp.models.transformers.catching import catch, without_random_skipping
from comflp.models.transformers.logging import quiet
from comflp.models.transformers.processor import input_lengths, normalised_waveforms
from comflp.models.transformers.prompt import TokenTokenizer
from comflp.models.transformers.saving import write
from comflp.models.transformers.seq2seq_families import Seq2SeqFamily
from comflp.models.transformers.split import module_at, numbered, place_of
from comflp.proposal import Proposal


_OTHER_SEARCHES = (
    "temperature", "logprob_threshold", "no_speech_threshold", "compression_ratio_threshold", "stop_strings", "penalty_alpha", "dola_layers",
    "guidance_scale", "constraints", "force_words_ids", "num_beam_groups", "diversity_penalty", "prompt_lookup_num_tokens", "cache_implementation",
    "max_time",
)
"""Generation settings that ask for another search than a greedy one, for a second try or an end by the clock. Whisper's thresholds read features, which
a search from the end of the encoder has not; they are for audio of several windows."""


class _Unkept(DynamicCache):
    """The place of a decoder's own keys and values in its cache, for passes that read all tokens at once: nothing is kept."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return key_states, value_states


class TransformersSeq2Seq(LayeredModel):
    """An encoder-decoder model of transformers, its two stacks cut at their layers.

    Passes are teacher-forced: the decoder reads ``batch.targets``, the tokens of a hypothesis, after the prompt; a row
    of logits says what comes next, and the last one that the hypothesis ends. So the rows of :meth:`finish` are tokens.
    The frames of encoder states are an utterance's own, those of decoder states its tokens.

    model: the library's model, in float32. processor: the library's. family: where its parts are.
    origin: see :class:`LayeredModel`. language: which one a multilingual model recognises, such as ``it``; None for models of one.
    """

    def __init__(
        self, model: PreTrainedModel, processor: ProcessorMixin, family: Seq2SeqFamily, origin: dict, language: str | None = None
    ):
        super().__init__()
        self.model = model
        self.processor = processor
        self.parts = family
        self.family = model.config.model_type
        self.origin = dict(origin)
        self.split = family.split(module_at(model, family.encoder), family.family)
        if hasattr(self.decoder, "layerdrop"):
            self.decoder.layerdrop = 0.0  # layers are dropped by the training, those of the encoder too
        self.tokenizer = TokenTokenizer(processor.tokenizer, model, family.prompt.tokens(processor, model, language))
        self.sample_rate = processor.feature_extractor.sampling_rate
        if hasattr(processor.feature_extractor, "n_samples"):
            self.window = processor.feature_extractor.n_samples / self.sample_rate

    library_name = "transformers"
    row = "token"
    teacher_forced = True

    @property
    def task(self) -> str:
        """``transcribe``, or ``translate`` where the model writes what it hears in English."""
        return getattr(self.model.generation_config, "task", None) or "transcribe"

    @property
    def language(self) -> str | None:
        """The code of the language that the model is to recognise; None for models of one."""
        return getattr(self.model.generation_config, "language", None)

    @property
    def library_note(self) -> str:
        return f"or with transformers alone:\n\n```python\n{self.parts.prompt.example(self.model.generation_config)}```\n"

    @property
    def longest(self) -> float | None:
        return self.parts.longest(self.model.config, self.processor.feature_extractor)

    @property
    def decoder(self) -> torch.nn.Module:
        """The module that owns the decoder's layers."""
        return module_at(self.model, self.parts.decoder)

    @property
    def stacks(self) -> Mapping[str, Stack]:
        return {"encoder": self.split.stack, "decoder": Stack("decoder", self.decoder.layers)}

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """(B,) int64 frames of the encoder that utterances of ``num_samples`` samples fill."""
        return self.split.layer_frames(self._input_lengths(num_samples))

    def _input_lengths(self, num_samples: torch.Tensor) -> torch.Tensor:
        return input_lengths(self.split.family, self.processor.feature_extractor, num_samples)

    def begin(self, batch: AudioBatch) -> State:
        for utterance, samples in zip(batch.utterances, batch.num_samples.tolist()):
            refuse_too_long(utterance, samples / self.sample_rate, self.longest)
        lengths = self._input_lengths(batch.num_samples)
        refuse_too_short(batch.utterances, self.split.layer_frames(lengths), batch.num_samples, self.sample_rate)
        state = self.split.begin(self._inputs(batch), lengths, lengths)
        return replace(state, context={**state.context, "targets": batch.targets, "num_targets": batch.num_targets,
                                       "utterances": batch.utterances})

    def _inputs(self, batch: AudioBatch) -> dict[str, torch.Tensor]:
        """The library's arguments for the encoder: waveforms, or features of each."""
        if self.split.family.feature_frames is None:
            return {"input_values": normalised_waveforms(batch, self.processor.feature_extractor)}
        rows = [self._features(row[:samples])["input_features"][0] for row, samples in zip(batch.waveforms, batch.num_samples.tolist())]
        return {"input_features": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)}

    def _features(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        """The arguments that the library's feature extractor makes of one waveform (T,), masks included."""
        extractor = self.processor.feature_extractor
        made = extractor(waveform.cpu().numpy(), sampling_rate=self.sample_rate, return_tensors="pt")
        return {name: made[name].to(self.device) for name in extractor.model_input_names if name in made}

    def run(self, state: State, step: Step) -> State:
        if step == Step("decoder", ENTER):
            return self._enter_decoder(state)
        if step.stack == "encoder":
            return self.split.run(state, step.layer)
        layer = self.decoder.layers[step.layer - 1]
        hidden = layer(state.hidden, *state.context["args"], **state.context["kwargs"])
        return state.with_hidden(hidden[0] if isinstance(hidden, tuple) else hidden)

    def _enter_decoder(self, state: State) -> State:
        targets, num_targets = state.context["targets"], state.context["num_targets"]
        if targets is None:
            raise ComflpError("a teacher-forced pass of an encoder-decoder model needs hypotheses: batches with targets")
        prompt = torch.tensor(self.tokenizer.prompt, device=self.device)
        tokens = torch.cat([prompt.expand(len(targets), -1), targets.to(self.device)], dim=1)
        encoded = self._encoded(state)
        with without_random_skipping(self.model.config):
            caught = catch(lambda: self.model(**encoded, decoder_input_ids=tokens, use_cache=False), self.decoder, "layers")
        # Keys and values of the encoder's frames are most of a pass over a few tokens, and the same for every pruned decoder.
        cache = {"past_key_values": EncoderDecoderCache(_Unkept(), DynamicCache())} if state.revisited else {}
        # A row says what follows it: the prompt's last the first token, and the last token that the text ends.
        context = {"args": caught.args, "kwargs": {**caught.kwargs, **cache}, "own": None}
        return State(caught.hidden, len(prompt) + num_targets.to(self.device), context, first=len(prompt) - 1, revisited=state.revisited)

    def _encoded(self, state: State) -> dict[str, Any]:
        """The library's arguments for what the encoder ends with."""
        return self.parts.encoded(self.split.tail(state), state.context["own"], self.model.config)

    def finish(self, state: State) -> Output:
        hidden = state.hidden
        for path in self.parts.tail:
            hidden = module_at(self.model, path)(hidden)
        return Output(module_at(self.model, self.parts.head)(hidden[:, state.first :]), state.num_frames - state.first)

    def recognition_path(self, proposal: Proposal | None = None) -> tuple[Step, ...]:
        """The steps that recognition shares: the encoder's. The decoder runs token by token in the library's own search."""
        return tuple(step for step in self.path(proposal) if step.stack == "encoder")

    @property
    def most_tokens(self) -> int:
        """Tokens of a hypothesis that the decoder's positions have room for."""
        return getattr(*place_of(self.model.config, self.parts.positions)) - len(self.tokenizer.prompt) - 1

    def spell(
        self, state: State, proposal: Proposal | None = None, most_tokens: int | None = None, least_tokens: int = 0
    ) -> list[list[int]]:
        """What is written for each utterance between prompt and end, special tokens among it, by the library's own greedy search.

        state: the end of the encoder. proposal: what its decoder lacks. most_tokens: where a search that does not end
        is cut off. Where it is left out, that is twice the tokens of the batch's targets and 8 more, so that a pruned
        model that repeats itself for ever costs little; without targets, the last position that the decoder knows.
        least_tokens: before which none ends. Raises ComflpError, naming model and utterance, where an output is not finite.
        """
        limits = self._limits(state) if most_tokens is None else [min(self.most_tokens, most_tokens)] * len(state.hidden)
        encoded, what = self._encoded(state), output_of(proposal)
        check_finite(state.hidden, state.num_frames, state.context["utterances"], what=what)
        scores = CheckedScores(state.context["utterances"], what)
        with self._decoder_of(proposal), self._greedily(), quiet():
            found = self.model.generate(
                **encoded, **self._begun(len(limits)), max_new_tokens=max(limits), num_beams=1, do_sample=False, num_return_sequences=1,
                return_dict_in_generate=False, logits_processor=[scores], **({"min_new_tokens": least_tokens} if least_tokens else {}),
            )
        scores.check()
        # What comes after the limit is there only because another utterance's is higher.
        return [self.tokenizer.between(row)[:limit] for row, limit in zip(found.tolist(), limits)]

    def own_targets(self, state: State) -> list[list[int]]:
        """What is recognised of each utterance without special tokens within its text, which is ``most_tokens`` tokens where the search does not end."""
        limit = self.most_tokens
        return [tokens if len(tokens) >= limit else self.tokenizer.without_special(tokens) for tokens in self.spell(state)]

    def _begun(self, size: int) -> dict[str, Any]:
        """What the library's search of ``size`` utterances begins with: the prompt.

        Whisper makes it of its generation settings, and is told to end with its one window: a pruned model may write
        timestamps unasked, at which it would go on.
        """
        asked = "force_unique_generate_call"
        if asked in inspect.signature(type(self.model).generate).parameters:
            return {asked: True, "return_timestamps": False}
        return {"decoder_input_ids": torch.tensor(self.tokenizer.prompt, device=self.device).repeat(size, 1)}

    def _limits(self, state: State) -> list[int]:
        """The most tokens of each utterance's text."""
        if state.context["targets"] is None:
            return [self.most_tokens] * len(state.hidden)
        return [min(self.most_tokens, 2 * length + 8) for length in state.context["num_targets"].tolist()]

    def unended(self, spelled: list[list[int]], state: State) -> list[bool]:
        return [len(tokens) >= limit for tokens, limit in zip(spelled, self._limits(state))]

    def texts(self, spelled: Mapping[str, list[list[int]]], utterances: Sequence[Utterance] = ()) -> dict[str, list[str]]:
        return {name: [self.tokenizer.decode(tokens) for tokens in batch] for name, batch in spelled.items()}

    @contextlib.contextmanager
    def _decoder_of(self, proposal: Proposal | None) -> Iterator[None]:
        """Within the block the decoder has the layers that a proposal keeps, numbered for its cache."""
        layers = self.decoder.layers
        kept = range(1, len(layers) + 1) if proposal is None else proposal.of("decoder").kept
        self._set_decoder([layers[layer - 1] for layer in kept])
        try:
            yield
        finally:
            self._set_decoder(layers)

    @contextlib.contextmanager
    def _greedily(self) -> Iterator[None]:
        """Within the block the generation settings have nothing that makes another search of a greedy one, or one that is tried again."""
        settings = self.model.generation_config
        self.model.generation_config = copy.deepcopy(settings)
        for name in _OTHER_SEARCHES:
            if getattr(settings, name, None) is not None:
                setattr(self.model.generation_config, name, None)
        try:
            yield
        finally:
            self.model.generation_config = settings

    def _set_decoder(self, layers: Sequence[torch.nn.Module]) -> None:
        self.decoder.layers = numbered(layers)
        self._count("decoder", len(layers))

    def _count(self, stack: str, number: int) -> None:
        setattr(*place_of(self.model.config, self.parts.counts[stack]), number)

    def library_logits(self, batch: AudioBatch) -> torch.Tensor:
        """(1, U, V): the library's own teacher-forced forward pass on a batch of one utterance with targets."""
        prompt = torch.tensor([self.tokenizer.prompt], device=self.device)
        tokens = torch.cat([prompt, batch.targets.to(self.device)], dim=1)
        waveforms = self.split.family.feature_frames is None
        inputs = self.split.asked(self._inputs(batch)) if waveforms else self._features(batch.waveforms[0])
        return self.model(**inputs, decoder_input_ids=tokens, use_cache=False).logits[:, prompt.shape[1] - 1 :]

    def example_targets(self, size: int, length: int = 6) -> list[list[int]]:
        """``size`` lists of ``length`` tokens drawn at random, for a comparison of models; the same in every call."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, self.tokenizer.vocab_size, (size, length), generator=generator).tolist()

    def keep_layers(self, kept: Mapping[str, Sequence[int]]) -> None:
        self.split.keep_layers(kept["encoder"])
        self._count("encoder", len(kept["encoder"]))
        decoder = self.decoder.layers
        self._set_decoder([decoder[layer - 1] for layer in kept["decoder"]])
        generation = self.model.generation_config
        heads = getattr(generation, "alignment_heads", None)
        if heads is not None:
            number = {layer - 1: index for index, layer in enumerate(kept["decoder"])}
            generation.alignment_heads = [[number[layer], head] for layer, head in heads if layer in number]
            if not generation.alignment_heads:
                del generation.alignment_heads  # where the entry is missing, and only there, the library says that it cannot time words

    def reinitialize(self, seed: int, keep_frontend: bool) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = type(self.model)(copy.deepcopy(self.model.config)).state_dict()
        front = tuple(f"{self.parts.encoder}.{part}." for part in self.parts.family.front) if keep_frontend else ()
        self.model.load_state_dict({k: v for k, v in fresh.items() if not k.startswith(front)}, strict=not front)

    def freeze_feature_extractor(self) -> None:
        """Take the convolutions before the encoder out of training."""
        for part in self.parts.family.front:
            module_at(self.split.base, part).requires_grad_(False)

    def save(self, directory: str | Path) -> None:
        """Write configuration, weights, generation settings, processor and model card, for the library to load alone."""
        embeddings, head = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        if head is not None and head.weight is not embeddings.weight:
            self.model.config.tie_word_embeddings = False  # merged adapters untie them, and older versions of the library tie what says nothing
        generation = self.model.generation_config
        generation._original_object_hash = hash(generation)  # a language counts as a change, after which the library refuses what it loaded
        write(self.model, self, directory)
