"""comflp.inference.beam_decode: label texts, and a search that adds up the probability of a text's alignments."""

import itertools

import pytest
import torch
from fixtures.models import make_model as make_published
from transformers import AutoConfig, Wav2Vec2ForCTC

from comflp.inference.beam_decode import BeamSearch, label_texts
from comflp.inference.decode import decode
from comflp.models import load
from comflp.models.greedy import greedy_search
from comflp.errors import ComflpError
from comflp.models.own.tokenizer import SentencePieceTokenizer


class Pieces:
    """Labels as a word-piece tokenizer has them: some begin a word."""

    blank_id = 0
    pieces = ["", "▁he", "llo", "▁wor", "ld"]
    vocab_size = len(pieces)

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids).replace("▁", " ").strip()


def test_texts_of_characters_and_of_word_pieces():
    tokenizer = SentencePieceTokenizer.train(["ab c中"])
    texts = label_texts(tokenizer)
    assert texts[tokenizer.blank_id] == ""
    assert sorted(text for text in texts if len(text) == 1) == [" ", "a", "b", "c", "中"]
    assert all(tokenizer.encode(text) == [texts.index(text)] for text in "abc中")
    assert label_texts(Pieces()) == ["", "▁he", "llo", "▁wor", "ld"]


def one_hot(labels, vocab_size):
    return 20 * torch.nn.functional.one_hot(torch.tensor([labels]), vocab_size).float()


def test_words_come_out_with_their_spaces():
    logits = one_hot([1, 1, 2, 0, 3, 4, 1], Pieces.vocab_size)
    assert BeamSearch(Pieces())(logits, torch.tensor([6]), Pieces()) == ["hello world"]
    tokenizer = SentencePieceTokenizer.train(["ab c"])
    (labels,) = [tokenizer.encode("ab cab")]
    assert BeamSearch(tokenizer)(one_hot(labels, tokenizer.vocab_size), torch.tensor([6]), tokenizer) == ["ab cab"]


def best_text_by_enumeration(log_probs, tokenizer):
    """The text of the largest total probability over all alignments."""
    totals = {}
    for labels in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = sum(log_probs[frame, label] for frame, label in enumerate(labels)).exp().item()
        merged = [label for label, _ in itertools.groupby(labels) if label != tokenizer.blank_id]
        text = " ".join(tokenizer.decode(merged).split())
        totals[text] = totals.get(text, 0) + score
    return max(totals, key=totals.get)


def test_it_finds_the_likeliest_text_where_greedy_search_does_not():
    tokenizer = SentencePieceTokenizer.train(["ab"])
    label = dict(zip("ab", (tokenizer.encode(text)[0] for text in "ab")))
    probabilities = torch.full((1, 3, tokenizer.vocab_size), 1e-6)
    probabilities[0, :, tokenizer.blank_id] = 0.40
    probabilities[0, :, label["a"]] = 0.35
    probabilities[0, :, label["b"]] = 0.25
    logits, lengths = probabilities.log(), torch.tensor([3])
    expected = best_text_by_enumeration(logits[0].log_softmax(-1), tokenizer)
    assert greedy_search(logits, lengths, tokenizer) == [""] != [expected]
    assert BeamSearch(tokenizer)(logits, lengths, tokenizer) == [expected]


def test_a_whole_set_is_decoded_whatever_the_batches(make_model, make_data):
    model, data = make_model(), make_data(4)
    search = BeamSearch(model.tokenizer, beam_size=4)
    assert decode(model, data, search=search) == decode(model, data, search=search, max_seconds=0.5)


ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.1
-1.0\t</s>
-1.0\tab\t-0.1
-1.0\tba\t-0.1

\\2-grams:
-0.01\t<s> {likely}
-3.0\t<s> {unlikely}

\\end\\
"""


@pytest.mark.parametrize("likely, unlikely", [("ab", "ba"), ("ba", "ab")])
def test_a_language_model_decides_between_words_that_sound_alike(tmp_path, likely, unlikely):
    pytest.importorskip("kenlm")
    pytest.importorskip("pygtrie")
    (tmp_path / "lm.arpa").write_text(ARPA.format(likely=likely, unlikely=unlikely))
    tokenizer = SentencePieceTokenizer.train(["ab"])
    a, b = (tokenizer.encode(text)[0] for text in "ab")
    logits = torch.full((1, 2, tokenizer.vocab_size), -10.0)
    logits[0, :, [a, b]] = 3.0
    search = BeamSearch(tokenizer, lm=tmp_path / "lm.arpa", lm_weight=1.0)
    assert search(logits, torch.tensor([2]), tokenizer) == [likely]


def test_a_language_model_of_characters(tmp_path):
    pytest.importorskip("kenlm")
    pytest.importorskip("pygtrie")
    content = ARPA.format(likely="ab", unlikely="ba").replace("ab", "你").replace("ba", "您")
    (tmp_path / "lm.arpa").write_text(content, encoding="utf-8")
    tokenizer = SentencePieceTokenizer.train(["你您 好"])
    polite, plain, other = (tokenizer.encode(text)[0] for text in "您你好")
    logits = torch.full((1, 3, tokenizer.vocab_size), -10.0)
    logits[0, 0, [polite, plain]] = 3.0
    logits[0, 1, tokenizer.encode("好 好")[1]] = 5.0
    logits[0, 2, other] = 5.0
    search = BeamSearch(tokenizer, lm=tmp_path / "lm.arpa", lm_weight=2.0, lm_unit="char")
    assert search(logits, torch.tensor([3]), tokenizer) == ["你 好"]


def test_labels_as_words_change_nothing_without_a_language_model():
    tokenizer = SentencePieceTokenizer.train(["ab c"])
    logits = one_hot(tokenizer.encode("ab ccab"), tokenizer.vocab_size)[:, [0, 1, 2, 3, 3, 5, 6]]
    texts = {unit: BeamSearch(tokenizer, lm_unit=unit)(logits, torch.tensor([7]), tokenizer) for unit in ("word", "char")}
    assert texts["word"] == texts["char"] == ["ab cab"]
    logits = one_hot([1, 1, 2, 0, 3, 4], Pieces.vocab_size)
    assert BeamSearch(Pieces(), lm_unit="char")(logits, torch.tensor([6]), Pieces()) == ["hello world"]


def test_a_language_model_without_kenlm_or_a_file_that_is_none_says_so(tmp_path):
    (tmp_path / "lm.arpa").write_text("not a language model")
    with pytest.raises(ComflpError, match="pip install kenlm pygtrie|lm.arpa cannot be used"):
        BeamSearch(SentencePieceTokenizer.train(["ab"]), lm=tmp_path / "lm.arpa")


def test_a_head_may_have_more_labels_than_the_tokenizer(tmp_path):
    directory = make_published(tmp_path, "wav2vec2", "abcde ")
    config = AutoConfig.from_pretrained(directory)
    config.vocab_size += 2
    Wav2Vec2ForCTC(config).save_pretrained(directory)
    tokenizer = load(directory).tokenizer
    assert label_texts(tokenizer)[-2:] == ["", ""] and "a" in label_texts(tokenizer)
