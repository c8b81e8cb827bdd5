"""Text to tokens and back for models that write text token by token after a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from comflp.errors import ComflpError


class TokenTokenizer:
    """The tokens of an encoder-decoder model, and what its hypotheses begin with.

    tokenizer: the library's. model: whose generation settings say what starts and ends a hypothesis.
    language: of a multilingual model, as a code or name that it knows; kept in the model's generation settings, so
        that a saved directory recognises the same language. Needed where the model knows several and names none. A
        model that knows one language has no use for it.

    prompt: token ids before a hypothesis. end: the token id that ends it. vocab_size: tokens that the head tells apart.
    Raises ComflpError for a language that the model says it does not know.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, language: str | None):
        self.tokenizer = tokenizer
        generation = model.generation_config
        self.vocab_size = model.config.vocab_size
        self.end = generation.eos_token_id
        start = generation.decoder_start_token_id
        self.prompt = [model.config.decoder_start_token_id if start is None else start]
        known = getattr(generation, "lang_to_id", None)
        if known:
            generation.language = _code(language or getattr(generation, "language", None), known)
            generation.task = "transcribe"
            self.prompt += [self._checked(f"<|{generation.language}|>", known), self._checked("transcribe", generation.task_to_id)]
        elif getattr(generation, "is_multilingual", None) is False and (language or "en").lower() not in ("en", "english"):
            raise ComflpError(f"this model recognises English alone, not {language!r}")
        if getattr(generation, "no_timestamps_token_id", None) is not None:
            self.prompt.append(generation.no_timestamps_token_id)

    def _checked(self, name: str, ids: dict[str, int]) -> int:
        """The id of a token of the prompt; ComflpError where the tokenizer has another token there, or none."""
        if name not in ids or self.tokenizer.convert_ids_to_tokens(ids[name]) != f"<|{name.strip('<|>')}|>":
            raise ComflpError(
                f"the tokenizer has no token {name} where the model's generation settings say it is; use the tokenizer "
                f"that the model was trained with"
            )
        return ids[name]

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without prompt and end."""
        return self.tokenizer(" ".join(text.split()), add_special_tokens=False)["input_ids"]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; special tokens are left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def between(self, ids: Sequence[int]) -> list[int]:
        """``ids`` after the prompt and up to the first end, special tokens among them."""
        length = len(self.prompt)
        ids = list(ids[length:] if list(ids[:length]) == self.prompt else ids)
        return ids[: ids.index(self.end)] if self.end in ids else ids

    def without_special(self, ids: Sequence[int]) -> list[int]:
        """``ids`` that spell text."""
        special = set(self.tokenizer.all_special_ids)
        return [token for token in ids if token not in special]

    def save(self, directory: str | Path) -> None:
        """Write the tokenizer's own files into ``directory``."""
        self.tokenizer.save_pretrained(directory)


def _code(language: str | None, known: dict[str, int]) -> str:
    """The code of a language of the model, from a code or an English name; ComflpError lists those there are."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    codes = sorted(token.strip("<|>") for token in known)
    if language is None:
        raise ComflpError(f"this model recognises several languages; say which one with --language: {', '.join(codes)}")
    code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
    if code not in codes:
        raise ComflpError(f"this model does not know the language {language!r}; it knows {', '.join(codes)}")
    return code
