"""Text to tokens and back for models that write text token by token after a prompt, and where each family's prompt comes from."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Sequence

import numpy as np
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.models.canary.processing_canary import LANGUAGE_CODE_TO_NAME as CANARY_LANGUAGES
from transformers.models.cohere_asr.processing_cohere_asr import LANGUAGES as COHERE_LANGUAGES
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from comflp.errors import ComflpError, NoLanguageError
from comflp.text import plain_text


class TokenTokenizer:
    """The tokens of an encoder-decoder model, and what its hypotheses begin with.

    tokenizer: the library's. model: whose generation settings say what ends a hypothesis. prompt: token ids before one.

    end: the token id that ends a hypothesis, the first of several that may. vocab_size: tokens that the head tells apart.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, prompt: list[int]):
        self.tokenizer = tokenizer
        self.vocab_size = model.config.vocab_size
        ends = model.generation_config.eos_token_id
        self._special = {*tokenizer.all_special_ids, *(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)}
        self._ends = set(ends if isinstance(ends, list) else [ends])
        unnamed = [number for number in (*prompt, *self._ends - {None}) if tokenizer.convert_ids_to_tokens(number) is None]
        if unnamed:
            raise ComflpError(f"the tokenizer has no token {unnamed[0]}, which begins or ends what the model writes; put the tokenizer's files "
                              "that the model was trained with beside its weights")
        self.end = ends[0] if isinstance(ends, list) else ends
        self.prompt = prompt

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without prompt and end. ComflpError for a character that no token stands for, and for a special token in it."""
        text, unknown = plain_text(text), self.tokenizer.unk_token_id
        ids = self._ids(text)
        special = self._special & set(ids) - (set() if unknown in self._ends else {unknown})
        if special:
            named = ", ".join(sorted(self.tokenizer.convert_ids_to_tokens(list(special))))
            raise ComflpError(f"{named} in {text!r} is a special token of the model, no text; take it out of the transcripts")
        if unknown is not None and unknown not in self._ends and unknown in ids:
            missing = next((character for character in text if unknown in self._ids(character)), text)
            raise ComflpError(f"the model's tokenizer has no token for {missing!r}; bring the texts to the characters that it knows")
        if max(ids, default=0) >= self.vocab_size:
            raise ComflpError(f"the tokenizer's token {max(ids)} in {text!r} is beyond the {self.vocab_size} that the model tells apart; "
                              "use the tokenizer that the model was trained with")
        return ids

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; special tokens are left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def between(self, ids: Sequence[int]) -> list[int]:
        """``ids`` after the prompt and up to the first end, special tokens among them."""
        length = len(self.prompt)
        ids = list(ids[length:] if list(ids[:length]) == self.prompt else ids)
        return list(itertools.takewhile(lambda token: token not in self._ends, ids))

    def without_special(self, ids: Sequence[int]) -> list[int]:
        """``ids`` that spell text, after the special tokens that they begin with: those are what the model has read when it writes the text."""
        begun = list(itertools.takewhile(lambda token: token in self._special, ids))
        return begun + [token for token in ids[len(begun) :] if token not in self._special]

    def save(self, directory: str | Path) -> None:
        """Write the tokenizer's own files into ``directory``."""
        self.tokenizer.save_pretrained(directory)


@dataclass(frozen=True)
class Prompt:
    """Where the prompt of a family comes from.

    tokens: (processor, model, language or None) -> the token ids that a hypothesis begins with. The language of a
        multilingual model, a code or an English name, is kept in the model's generation settings, so that a saved
        directory recognises the same one; ComflpError where it is unknown, or neither given nor kept.
    request: how the library's processor is asked for a waveform's inputs, in Python, ``{language}`` in the place of the
        language; None where the library's pipeline needs nothing asked.
    """

    tokens: Callable[[ProcessorMixin, PreTrainedModel, str | None], list[int]]
    request: str | None = None

    def example(self, generation: GenerationConfig) -> str:
        """Lines of Python that recognise speech with the library alone, for a model card."""
        if self.request is None:
            return 'from transformers import pipeline\n\nrecognise = pipeline("automatic-speech-recognition", "path/to/this/directory")\n'
        request = self.request.format(language=repr(getattr(generation, "language", None)))
        return (
            "from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor\n\n"
            'processor = AutoProcessor.from_pretrained("path/to/this/directory")\n'
            'model = AutoModelForSpeechSeq2Seq.from_pretrained("path/to/this/directory")\n'
            f"inputs = {request}\n"
            "text = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)\n"
        )


def _start(processor: ProcessorMixin, model: PreTrainedModel, language: str | None) -> list[int]:
    """The token that starts every hypothesis, of a model of one language, whatever is asked for."""
    start = model.generation_config.decoder_start_token_id
    return [model.config.decoder_start_token_id if start is None else start]


def _whisper(processor: ProcessorMixin, model: PreTrainedModel, language: str | None) -> list[int]:
    """Start, language, task and no timestamps, as the model's generation settings know them."""
    generation, tokenizer = model.generation_config, processor.tokenizer
    prompt, known = _start(processor, model, language), getattr(generation, "lang_to_id", None)
    if known:
        language = _kept(generation, language, (token.strip("<|>") for token in known))
        if getattr(generation, "task", None) is None:
            generation.task = "transcribe"  # what the library does where nothing is said
        tasks = getattr(generation, "task_to_id", None)
        if not tasks:
            raise ComflpError("the model's generation settings name its languages and not its tasks (task_to_id), so its prompt is not known; "
                              "put the generation_config.json of the model that it was trained from beside its weights")
        prompt += [_checked(tokenizer, f"<|{language}|>", known), _checked(tokenizer, generation.task, tasks)]
    elif getattr(generation, "is_multilingual", None) is False:
        if (language or "en").lower() not in ("en", "english"):
            raise ComflpError(f"this model recognises English alone, not {language!r}")
    else:
        unknown = ("the model's generation settings do not name its languages (lang_to_id), so the prompt that it was trained with is "
                   "not known; put the generation_config.json of the model that it was trained from beside its weights")
        if language or any(getattr(kept, "forced_decoder_ids", None) for kept in (generation, model.config)):
            raise ComflpError(unknown)
        warnings.warn(f"{unknown}; until then it begins with its start token alone", stacklevel=2)
    if getattr(generation, "no_timestamps_token_id", None) is not None:
        prompt.append(generation.no_timestamps_token_id)
    return prompt


def _checked(tokenizer: PreTrainedTokenizerBase, name: str, ids: dict[str, int]) -> int:
    """The id of a token of the prompt; ComflpError where the tokenizer has another token there, or none."""
    if name not in ids or tokenizer.convert_ids_to_tokens(ids[name]) != f"<|{name.strip('<|>')}|>":
        raise ComflpError(
            f"the tokenizer has no token {name} where the model's generation settings say it is; use the tokenizer "
            f"that the model was trained with"
        )
    return ids[name]


def _canary(processor: ProcessorMixin, model: PreTrainedModel, language: str | None) -> list[int]:
    """What the chat template of the model's directory makes of a request to transcribe, here of a second of silence."""
    if processor.chat_template is None:
        raise ComflpError("the model has no chat template, of which its prompt is made; put chat_template.jinja beside its weights")
    language = _kept(model.generation_config, language, _with_tokens(processor.tokenizer, CANARY_LANGUAGES))
    silence = np.zeros(processor.feature_extractor.sampling_rate, dtype=np.float32)
    asked = processor.apply_transcription_request(silence, source_language=language)["decoder_input_ids"]
    return _begun(processor, model, asked[0].tolist())


def _cohere_asr(processor: ProcessorMixin, model: PreTrainedModel, language: str | None) -> list[int]:
    language = _kept(model.generation_config, language, _with_tokens(processor.tokenizer, COHERE_LANGUAGES))
    return _begun(processor, model, processor.get_decoder_prompt_ids(language))


def _begun(processor: ProcessorMixin, model: PreTrainedModel, asked: list[int]) -> list[int]:
    """``asked`` after the token that the library's search puts first where it is missing; ComflpError for unknown tokens."""
    if None in asked or processor.tokenizer.unk_token_id in asked:
        raise ComflpError(
            "the tokenizer lacks a token of the prompt that the model's processor makes; use the tokenizer that the model was trained with"
        )
    start = _start(processor, model, None)
    return asked if asked[:1] == start or start == [None] else [*start, *asked]


def _with_tokens(tokenizer: PreTrainedTokenizerBase, codes: Iterable[str]) -> list[str]:
    """Those of the codes of languages that the tokenizer has a token for."""
    vocabulary = tokenizer.get_vocab()
    return [code for code in codes if f"<|{code}|>" in vocabulary]


def _kept(generation: GenerationConfig, language: str | None, known: Iterable[str]) -> str:
    """The code of a language, one of those known, kept in the generation settings from here on; that kept before where it is None."""
    generation.language = _code(language or getattr(generation, "language", None), sorted(known))
    return generation.language


def _code(language: str | None, codes: Sequence[str]) -> str:
    """The code of a language of the model, from a code or an English name; ComflpError lists those there are."""
    if language is None:
        raise NoLanguageError(codes)
    code = TO_LANGUAGE_CODE.get(language.lower(), language.lower().strip("<|>"))
    if code not in codes:
        raise ComflpError(f"this model does not know the language {language!r}; it knows {', '.join(codes)}")
    return code


START = Prompt(_start)
START_AFTER_REQUEST = Prompt(_start, "processor(waveform, sampling_rate=16000)")
WHISPER = Prompt(_whisper)
CANARY = Prompt(_canary, "processor.apply_transcription_request(waveform, source_language={language})")
COHERE_ASR = Prompt(_cohere_asr, "processor(waveform, language={language}, sampling_rate=16000)")
