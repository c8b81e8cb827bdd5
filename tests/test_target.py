"""comflp.target: what --num-prune asks for, of one stack and of several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.target import LayerCounts, TargetError, layer_counts

TWO = {"encoder": 6, "decoder": 4}


def texts(*arguments):
    return [str(counts) for counts in layer_counts(*arguments)]


def test_one_stack():
    assert texts("6", 12) == ["6"]
    assert texts("8, 4 6,4", 12) == ["4", "6", "8"]
    assert texts("1:3,5", 12) == ["1", "2", "3", "5"]
    assert layer_counts("3", {"encoder": 12}) == layer_counts("3", 12) == [{"encoder": 3}]


def test_several_stacks():
    assert layer_counts("encoder=1+decoder=2", TWO) == [{"encoder": 1, "decoder": 2}]
    assert layer_counts("decoder=2", TWO) == [{"encoder": 0, "decoder": 2}]
    assert texts("decoder=1:2+encoder=0:1", TWO) == [
        "decoder=1", "decoder=2", "encoder=1+decoder=1", "encoder=1+decoder=2"
    ]
    assert len(texts("encoder=0:3+decoder=0:3", TWO)) == 4 * 4 - 1
    assert texts("encoder=2 encoder=0,2+decoder=1", TWO) == ["decoder=1", "encoder=2", "encoder=2+decoder=1"]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(0, 40), min_size=2, max_size=3))
def test_written_forms_and_directories_are_read_back(numbers):
    counts = LayerCounts(numbers)
    sizes = dict.fromkeys(numbers, 50)
    if counts.total:
        assert layer_counts(str(counts), sizes) == [counts]
        assert LayerCounts.from_directory(counts.directory) == {stack: n for stack, n in numbers.items() if n}
        assert hash(layer_counts(str(counts), sizes)[0]) == hash(counts)


def test_directories():
    assert LayerCounts.from_directory("prune6") == {"encoder": 6}
    for name in ("prune", "prune_", "prune6_encoder1", "prune_encoder", "prunes6", "correlation", "prune\u0661"):
        assert LayerCounts.from_directory(name) is None


@pytest.mark.parametrize("text", ["", " ", "a", "1:", ":3", "1:2:3", "-1", "1.5", "0", "12", "1:12", "3:1", "\u00b2", "\u0661",
                                  "encoder=1", "9" * 5000, "1:" + "9" * 5000])
def test_unreadable_numbers_of_one_stack(text):
    with pytest.raises(TargetError, match="--num-prune") as error:
        layer_counts(text, 12)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["", "1", "encoder", "encoder=", "encoder=6", "decoder=0:4", "joiner=1", "encoder=1+encoder=2",
                                  "encoder=0+decoder=0", "encoder=1+", "encoder=2:1", "encoder=\u00b2", "encoder=" + "9" * 5000])
def test_unreadable_numbers_of_several_stacks(text):
    with pytest.raises(TargetError, match="--num-prune") as error:
        layer_counts(text, TWO)
    assert len(str(error.value)) < 300
