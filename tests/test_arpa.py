"""comflp.inference.arpa: the words of a language model, and whether a model of labels can write them."""

import gzip

import pytest

from comflp.errors import ComflpError
from comflp.inference import beam_decode
from comflp.inference.arpa import check_letter_case, read_words
from comflp.inference.beam_decode import BeamSearch
from comflp.models.own.tokenizer import SentencePieceTokenizer

ARPA = """
\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.1
-1.0\t</s>
-1.0\tab\t-0.1
-1.0\tcaf\u00e9
-1.0 b\u00a0a -0.1

\\2-grams:
-0.01\t<s> ab

\\end\\
"""


def test_words_with_and_without_a_back_off_weight(written):
    for path in (written(ARPA.encode(), "lm.arpa"), written(gzip.compress(ARPA.encode()), "lm.arpa.gz"), written(ARPA.replace("\n", "\r\n").encode(), "lm")):
        assert read_words(path) == {"ab", "caf\u00e9", "b\u00a0a"}


def test_words_of_unigrams_alone(written):
    assert read_words(written(b"\\data\\\nngram 1=2\n\n\\1-grams:\n-0.3\tab\n-0.3\tba\n\n\\end\\\n", "lm.arpa")) == {"ab", "ba"}


def test_another_format_has_no_words_to_read(written):
    assert read_words(written(b"mmap lm http://kheafield.com/code format version 5\n\0", "lm.bin")) is None
    assert read_words(written(b"", "lm")) is None


@pytest.mark.parametrize(("content", "message"), [
    (ARPA.encode("latin-1"), r"lm.arpa is not in UTF-8: the word b'caf\\xe9'"),
    (b"\\data\\\nngram 1=1\n\n\\1-grams:\n-1\t<unk>\n\\end\\\n", "lm.arpa has no words"),
    (b"mmap lm\n\xff", r"lm.arpa cannot be used as a KenLM language model: it is named .arpa and does not begin"),
    (gzip.compress(ARPA.encode(), mtime=0)[:40], "lm.arpa cannot be read: "),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(written, content, message):
    with pytest.raises(ComflpError, match=message):
        read_words(written(content, "lm.arpa"))
    with pytest.raises(ComflpError, match="nowhere.arpa cannot be read: No such file"):
        read_words("nowhere.arpa")


def test_letters_of_the_other_case_are_refused():
    for words, pieces in (({"ab", "it's"}, ["A", "B"]), ({"AB", "Ab", "\u4e2d"}, ["a", "\u4e2d"])):
        with pytest.raises(ComflpError, match="the model writes (capital|small) letters only, and no word of the language model lm.arpa"):
            check_letter_case(words, pieces, "lm.arpa")
    for words, pieces in (({"ab", "AB"}, ["a"]), ({"\u4e2d"}, ["a", "\u4e2d"]), ({"AB"}, ["a", "A"]), ({"ab"}, ["\u4e2d"])):
        check_letter_case(words, pieces, "lm.arpa")


def test_a_search_knows_all_words_of_the_file(written, monkeypatch):
    given = {}
    monkeypatch.setattr(beam_decode, "CTCBeamSearcher", lambda **options: given.update(options))
    BeamSearch(SentencePieceTokenizer.train(["ab"]), lm=written(ARPA.encode(), "lm.arpa"))
    assert given["unigrams"] == {"ab", "caf\u00e9", "b\u00a0a"}
    with pytest.raises(ComflpError, match="writes capital letters only"):
        BeamSearch(SentencePieceTokenizer.train(["AB"]), lm=written(ARPA.encode(), "lm.arpa"))
    characters = "\\data\\\nngram 1=2\n\n\\1-grams:\n-1\t<space>\n-1\t\u4e2d\n\\end\\\n"
    BeamSearch(SentencePieceTokenizer.train(["A\u4e2d"]), lm=written(characters.encode(), "lm.arpa"), lm_unit="char")
    assert given["unigrams"] == {"<space>", "\u4e2d"}
