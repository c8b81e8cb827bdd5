"""The tokenizer of the models that the recipes train: characters, or pieces of words."""

import pytest

from comflp.errors import ComflpError
from comflp.models.own.tokenizer import SentencePieceTokenizer

TEXTS = ["a book can find", "the old tree", "please call the doctor and find the book", "naïve ones call, the old ones find"]


@pytest.mark.parametrize("unit, vocab_size", [("char", 0), ("bpe", 40), ("unigram", 28)])
def test_texts_come_back(unit, vocab_size, tmp_path):
    tokenizer = SentencePieceTokenizer.train(TEXTS, unit, vocab_size)
    tokenizer.save(tmp_path)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and 0 not in ids
        assert SentencePieceTokenizer.load(tmp_path).encode(text) == ids
    if vocab_size:
        assert tokenizer.vocab_size == vocab_size
        assert len(tokenizer.encode(TEXTS[2])) < len(TEXTS[2])


def test_a_piece_begins_a_text_as_it_begins_a_word_in_it():
    tokenizer = SentencePieceTokenizer.train(TEXTS, "bpe", 40)
    assert tokenizer.encode("the old the old") == tokenizer.encode("the old") * 2


@pytest.mark.parametrize("unit", ["bpe", "unigram"])
def test_a_vocabulary_that_the_texts_do_not_have_is_refused(unit):
    with pytest.raises(ComflpError, match=f"vocab_size 5000 does not suit {unit}: the training texts have [0-9]+ pieces at most"):
        SentencePieceTokenizer.train(TEXTS, unit, 5000)
    with pytest.raises(ComflpError, match="vocab_size 8 is too small .* labels are needed for the characters alone"):
        SentencePieceTokenizer.train(TEXTS, unit, 8)


def test_a_unit_that_is_not_known_is_refused():
    with pytest.raises(ComflpError, match="unit word: choose char, bpe, unigram"):
        SentencePieceTokenizer.train(TEXTS, "word", 10)


def test_a_character_that_was_not_in_training_is_named():
    with pytest.raises(ComflpError, match="Ω"):
        SentencePieceTokenizer.train(TEXTS, "bpe", 40).encode("a book Ω")
