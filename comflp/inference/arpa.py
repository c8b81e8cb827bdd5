"""The words of a language model in the ARPA format, as text or compressed with gzip."""

from __future__ import annotations

import gzip
import zlib
from itertools import takewhile
from pathlib import Path
from typing import Iterable

from comflp.errors import ComflpError
from comflp.text import letter_cases

MARKS = ("<s>", "</s>", "<unk>", "<UNK>")
"""Entries of a language model that are no words."""
_LONGEST = 1 << 16
"""Bytes of a first line that are read to see whether a file is text."""


def read_words(path: str | Path) -> set[str] | None:
    """The words of an ARPA file, which are its unigrams; None for a file of another format.

    The back-off weight behind a word may be missing: SRILM leaves it out where no longer n-gram begins with the word.
    Raises ComflpError, naming the file, for one that cannot be read, has no words or is not in UTF-8.
    """
    try:
        with open(path, "rb") as file:
            is_compressed = file.read(2) == b"\x1f\x8b"
        with (gzip.open if is_compressed else open)(path, "rb") as lines:
            first = lines.readline(_LONGEST)
            while first and not first.strip():
                first = lines.readline(_LONGEST)
            if first.strip() != b"\\data\\":
                if str(path).endswith(".arpa"):
                    raise ComflpError(f"{path} cannot be used as a KenLM language model: it is named .arpa and does not begin with \\data\\; "
                                      "name a binary file otherwise")
                return None
            for line in lines:
                if line.strip() == b"\\1-grams:":
                    break
            rows = [line.split() for line in takewhile(lambda line: not line.startswith(b"\\"), lines)]
    except (OSError, EOFError, zlib.error) as error:
        raise ComflpError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        words = {row[1].decode() for row in rows if len(row) in (2, 3)}.difference(MARKS)
    except UnicodeDecodeError as error:
        raise ComflpError(f"{path} is not in UTF-8: the word {error.object!r} among its 1-grams; convert it, for example with iconv") from None
    if not words:
        raise ComflpError(f"{path} has no words among its 1-grams: it is damaged, or was trained on no text")
    return words


def check_letter_case(words: Iterable[str], pieces: Iterable[str], path: str | Path) -> None:
    """ComflpError where a model whose labels are ``pieces`` could write none of ``words``, because it writes letters of the other case only."""
    written = letter_cases(pieces)
    cased = [word for word in words if letter_cases([word])]
    if len(written) == 1 and cased and all(letter_cases([word]) - written for word in cased):
        name = "capital" if "upper" in written else "small"
        raise ComflpError(f"the model writes {name} letters only, and no word of the language model {path} is in {name} letters (one is "
                          f"{min(cased)!r}): it would know none. Train it on text in {name} letters")
