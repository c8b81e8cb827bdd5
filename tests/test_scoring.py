"""comflp.scoring: counts, white space, and the errors it raises."""

import re

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.scoring import ErrorRate, check_references, error_rate, normalise, utterances_errors


def utterance_errors(ref, hyp, *how):
    """Counts for one utterance."""
    return utterances_errors([ref], [hyp], *how)[0]


def test_counts_of_each_kind():
    assert utterance_errors("abcd", "axcde") == ErrorRate(substitutions=1, deletions=0, insertions=1, hits=3)
    assert utterance_errors("abcd", "bd") == ErrorRate(substitutions=0, deletions=2, insertions=0, hits=2)


def test_the_rate_of_a_set_is_over_all_units_and_not_a_mean_of_rates():
    result = error_rate(["a", "bcdefghijk"], ["x", "bcdefghijk"])
    assert result.rate == pytest.approx(100 / 11)
    assert result.ref_length == 11


def test_runs_of_white_space_are_one_space_and_a_space_is_a_character():
    assert utterance_errors(" one\t two ", "one two").errors == 0
    assert utterance_errors("one two", "onetwo") == ErrorRate(deletions=1, hits=6)
    assert utterance_errors("one  two", "one two", "wer") == ErrorRate(hits=2)


def test_dicts_are_matched_by_utterance_and_not_by_order():
    assert error_rate({"a": "x", "b": "y"}, {"b": "y", "a": "x"}).errors == 0


def test_empty_hypothesis_and_empty_reference():
    assert utterance_errors("ab", "") == ErrorRate(deletions=2)
    assert utterance_errors("", "ab") == ErrorRate(insertions=2)
    assert utterance_errors("", "ab").rate == float("inf")
    assert utterance_errors("", "").rate == 0.0


@pytest.mark.parametrize(
    "refs, hyps, metric, said",
    [
        ({"a": "x"}, {}, "cer", "no hypothesis, the first is a"),
        ({}, {"b": "x"}, "cer", "no reference, the first is b"),
        (["x"], ["x", "y"], "cer", "1 references but 2 hypotheses"),
        (["x"], {"a": "x"}, "cer", "both be lists"),
        (["", " "], ["a", ""], "cer", "all empty"),
        (["x"], ["x"], "per", "metric 'per' is not known"),
        (["\N{ZERO WIDTH SPACE}"], ["a"], "cer", "all empty"),
    ],
)
def test_what_cannot_be_scored_says_why(refs, hyps, metric, said):
    with pytest.raises(ComflpError, match=said):
        error_rate(refs, hyps, metric)


@pytest.mark.parametrize(
    "stored, looks",
    [
        ("cafe\N{COMBINING ACUTE ACCENT}", "café"),
        ("one\N{NO-BREAK SPACE}two\N{IDEOGRAPHIC SPACE}three", "one two three"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}o\N{ZERO WIDTH SPACE}n\N{SOFT HYPHEN}e\N{LEFT-TO-RIGHT MARK}\x00", "one"),
        ("\N{ZERO WIDTH SPACE}\N{NO-BREAK SPACE}\N{HANGUL FILLER}\N{BRAILLE PATTERN BLANK}", ""),
        ("a\N{ZERO WIDTH JOINER}b", "ab"),
    ],
)
def test_texts_that_look_the_same_are_the_same(stored, looks):
    assert normalise(stored) == looks
    assert utterance_errors(stored, looks).errors == 0


def test_a_joiner_that_shows_is_a_character():
    persian = "\u0645\u06cc\N{ZERO WIDTH NON-JOINER}\u062e\u0648\u0627\u0647\u0645"
    assert normalise(persian) == persian


@pytest.mark.parametrize(
    "normaliser, ref, hyp, errors",
    [
        ("none", "Well, two cats.", "well 2 cats", 3),
        ("basic", "Well, two cats.", "well two cats", 0),
        ("basic", "Well, two cats.", "well 2 cats", 1),
        ("english", "Well, two cats; it's fifty-one dollars.", "well 2 cats it is $51", 0),
        ("basic", "¡Qué día!", "qué día", 0),
    ],
)
def test_a_normaliser_brings_both_sides_to_one_form(normaliser, ref, hyp, errors):
    assert error_rate([ref], [hyp], "wer", normaliser).errors == errors


@pytest.mark.parametrize("normaliser", ["none", "basic", "english"])
@pytest.mark.parametrize(("ref", "hyp", "errors"), [
    ("\u4f60\u597d\u4e16\u754c", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", 0),  # Chinese: the reference has no punctuation, the hypothesis has
    ("\u4f60 \u597d \u4e16 \u754c", "\u4f60\u597d\u4e16\u754c", 0),
    ("\u30cf\u30ea\u30fc\u30dd\u30c3\u30bf\u30fc", "\u30cf\u30ea\u30fc\u30fb\u30dd\u30c3\u30bf\u30fc", 0),  # Japanese, with a middle dot
    ("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0e04\u0e23\u0e31\u0e1a", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a", 0),  # Thai
    ("\uff8a\uff9b\uff70 \uff83\uff7d\uff84", "\uff8a\uff9b\uff70\uff83\uff7d\uff84", 0),  # kana of half the width
    ("\u7528 iphone \u6253", "\u7528iphone\u6253", 0),
    ("\uc548\ub155 \ud558\uc138\uc694", "\uc548\ub155\ud558\uc138\uc694", 1),  # Korean has spaces
    ("a cat", "acat", 1),
])  # fmt: skip
def test_spaces_count_only_where_a_script_has_them(normaliser, ref, hyp, errors):
    if normaliser == "none":
        hyp = re.sub(r"[\uff0c\u3002\u30fb]", " ", hyp)
    assert utterance_errors(ref, hyp, "cer", normaliser).errors == errors
    assert utterance_errors(normalise(ref, normaliser), normalise(hyp, normaliser), "cer").errors == errors, "as the files hold them"
    assert utterance_errors("\u4f60 \u597d", "\u4f60\u597d", "wer", normaliser).errors == 2, "words are what is written with spaces between"


@pytest.mark.parametrize("apostrophe", ["\u2019", "\u2018", "\u02bc", "\uff07", "`"])
def test_contractions_are_known_by_any_apostrophe(apostrophe):
    assert utterance_errors("I don't, she's", f"I don{apostrophe}t, she{apostrophe}s", "wer", "english").errors == 0
    assert normalise(f"don{apostrophe}t", "english") == "do not"


def test_capped_counts_stop_at_100_percent_of_an_utterance():
    endless = utterance_errors("one two", "one " * 100, "wer")
    assert endless.rate > 1000 and endless.capped.rate == 100.0
    assert utterance_errors("one two", "one", "wer").capped == utterance_errors("one two", "one", "wer")
    assert utterance_errors("", "", "wer").capped.errors == 0
    assert utterance_errors("", "one", "wer").capped.errors == utterance_errors("", "one two three", "wer").capped.errors == 1, "what is made up of silence"


class Letters:
    """A tokenizer of single characters, label 0 the blank."""

    def __init__(self, characters):
        self.pieces = ["<blank>", *characters]
        self.vocab_size = len(self.pieces)

    def decode(self, ids):
        return "".join(self.pieces[label] for label in ids)


@pytest.mark.parametrize(
    "vocabulary, references, said",
    [
        ("ABCDEF ", {"u1": "A CAB", "u2": "a cab"}, "capital letters only, and 50% .*utterance u2: 'a cab'.*--letter-case upper"),
        ("abcdef ", {"u1": "A Cab"}, "small letters only.*--letter-case lower.*--normaliser basic"),
        ("ABCDEF ", {"u1": "ⓐ ⅰ 1"}, "100% of the letters"),
        ("ABCDEF ", {"u1": "CAB " * 100 + "d"}, None),
        ("ABCdef ", {"u1": "a cab"}, None),
        ("中文 ", {"u1": "中 a"}, None),
    ],
)
def test_references_in_the_other_case_than_the_vocabulary(vocabulary, references, said):
    if said is None:
        check_references(references, Letters(vocabulary))
    else:
        with pytest.raises(ComflpError, match=said):
            check_references(references, Letters(vocabulary))
        check_references(references, Letters(vocabulary), normaliser="basic")


@pytest.mark.parametrize("references, normaliser", [({"u1": "...", "u2": "?!"}, "basic"), ({"u1": "", "u2": " "}, "none")])
def test_references_that_the_normaliser_leaves_nothing_of(references, normaliser):
    with pytest.raises(ComflpError, match=f"the references are all empty, as the normaliser '{normaliser}' leaves them; .* another --normaliser"):
        check_references(references, Letters("abc."), normaliser)
    check_references({**references, "u3": "a"}, Letters("abc."), normaliser)


texts = st.text(alphabet="ab é", max_size=8)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.sampled_from(["cer", "wer"]))
def test_per_utterance_counts_agree_with_jiwer(pairs, metric):
    refs, hyps = zip(*pairs)
    counted = utterances_errors(refs, hyps, metric)
    for ref, hyp, errors in zip(refs, hyps, counted):
        ref, hyp = " ".join(ref.split()), " ".join(hyp.split())
        units = len(ref) if metric == "cer" else len(ref.split())
        assert errors.ref_length == units
        if units:
            expected = (jiwer.cer if metric == "cer" else jiwer.wer)(ref, hyp)
            assert errors.rate == pytest.approx(100 * expected)


@pytest.mark.parametrize("ref, hyp", [("\u0915\u093f", "\u0915\u0941"), ("\u0baa\u0bbf", "\u0baa\u0bc1"), ("\u0e17\u0e35\u0e48", "\u0e17\u0e35")])
def test_basic_counts_vowel_signs(ref, hyp):
    """Hindi, Tamil, Thai: signs that Unicode calls marks are letters of their words."""
    assert utterance_errors(ref, hyp, "cer", "basic").errors == 1
    assert (normalise(f"{ref}! {hyp}", "basic"), normalise("\u2764\ufe0f a", "basic")) == (f"{ref} {hyp}", "a")
