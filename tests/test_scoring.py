"""comflp.scoring: counts, white space, and the errors it raises."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.scoring import ErrorRate, error_rate, utterance_errors, utterances_errors


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
    assert utterance_errors("one  two", "one two", unit="word") == ErrorRate(hits=2)


def test_dicts_are_matched_by_utterance_and_not_by_order():
    assert error_rate({"a": "x", "b": "y"}, {"b": "y", "a": "x"}).errors == 0


def test_empty_hypothesis_and_empty_reference():
    assert utterance_errors("ab", "") == ErrorRate(deletions=2)
    assert utterance_errors("", "ab") == ErrorRate(insertions=2)
    assert utterance_errors("", "ab").rate == float("inf")
    assert utterance_errors("", "").rate == 0.0


@pytest.mark.parametrize(
    "refs, hyps, unit, said",
    [
        ({"a": "x"}, {}, "char", "no hypothesis, the first is a"),
        ({}, {"b": "x"}, "char", "no reference, the first is b"),
        (["x"], ["x", "y"], "char", "1 references but 2 hypotheses"),
        (["x"], {"a": "x"}, "char", "both be lists"),
        (["", " "], ["a", ""], "char", "all empty"),
        (["x"], ["x"], "phone", "unit 'phone' is not known"),
    ],
)
def test_what_cannot_be_scored_says_why(refs, hyps, unit, said):
    with pytest.raises(ComflpError, match=said):
        error_rate(refs, hyps, unit)


texts = st.text(alphabet="ab 中", max_size=8)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.sampled_from(["char", "word"]))
def test_per_utterance_counts_agree_with_jiwer(pairs, unit):
    refs, hyps = zip(*pairs)
    counted = utterances_errors(refs, hyps, unit)
    for ref, hyp, errors in zip(refs, hyps, counted):
        ref, hyp = " ".join(ref.split()), " ".join(hyp.split())
        units = len(ref) if unit == "char" else len(ref.split())
        assert errors.ref_length == units
        if units:
            expected = (jiwer.cer if unit == "char" else jiwer.wer)(ref, hyp)
            assert errors.rate == pytest.approx(100 * expected)
