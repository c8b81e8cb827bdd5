import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.proposal import JointProposal, ProposalError, PruningProposal


@st.composite
def layer_sets(draw):
    num_layers = draw(st.integers(1, 30))
    layers = draw(st.sets(st.integers(1, num_layers), max_size=num_layers - 1))
    return layers, num_layers


@given(layer_sets())
def test_written_form_and_layers_are_the_same_proposal(case):
    layers, num_layers = case
    proposal = PruningProposal.from_layers(layers, num_layers)
    assert PruningProposal.parse(str(proposal), num_layers) == proposal
    assert PruningProposal(num_layers, proposal.blocks) == proposal
    assert set(proposal.removed) == layers
    assert sorted(proposal.removed + proposal.kept) == list(range(1, num_layers + 1))
    assert proposal.num_removed == len(layers)
    gaps = [after[0] - before[1] for before, after in zip(proposal.blocks, proposal.blocks[1:])]
    assert all(gap >= 2 for gap in gaps)


def test_forms():
    assert str(PruningProposal.parse("3,1,4,7", 12)) == "1,3-4,7"
    assert str(PruningProposal.parse(" 3-4 , 5 ", 12)) == "3-5"
    assert str(PruningProposal.from_layers([], 12)) == "none"
    assert PruningProposal.parse("none", 3) == PruningProposal(3, ())
    assert PruningProposal.from_layers(np.array([2, 3]), np.int64(5)) == PruningProposal(5, ((2, 3),))
    assert str(PruningProposal.from_layers(np.array([2, 3]), 5)) == "2-3"


@pytest.mark.parametrize(
    "text",
    ["", "0", "13", "1,,2", "1-", "-1", "3-2", "1,1", "1-3,2", "1;2", "a", "1.0", "1 2", "1-12", "\u0661", "\u00b2", None,
     "9" * 5000, "1-" + "9" * 5000, "1," * 5000, "encoder=1"],
)
def test_unreadable_text_is_refused(text):
    with pytest.raises(ProposalError) as error:
        PruningProposal.parse(text, 12)
    assert len(str(error.value)) < 300


def test_reading_takes_no_more_than_the_text_is_long():
    """A damaged file may say that a model has 999,999,999 layers; a range of them is two numbers."""
    assert PruningProposal.parse("2-999999998", 999_999_999).num_removed == 999_999_997


@pytest.mark.parametrize(
    "num_layers, blocks",
    [
        (0, ()),
        (2.0, ()),
        (True, ()),
        (5, ((0, 1),)),
        (5, ((5, 6),)),
        (5, ((3, 2),)),
        (5, ((1, 2), (3, 4))),
        (5, ((4, 4), (1, 1))),
        (5, ((1, 3), (2, 4))),
        (5, ((1, 5),)),
        (5, ((1.0, 2),)),
        (5, (1, 2)),
        (5, 3),
    ],
)
def test_malformed_blocks_are_refused(num_layers, blocks):
    with pytest.raises(ProposalError):
        PruningProposal(num_layers, blocks)


@pytest.mark.parametrize("layers", [[1, 1], [0], [6], [1.5], [True]])
def test_malformed_layers_are_refused(layers):
    with pytest.raises(ProposalError):
        PruningProposal.from_layers(layers, 5)


def test_quality_is_the_mean_over_blocks():
    matrix = np.arange(25).reshape(5, 5) / 25
    proposal = PruningProposal.parse("1,3-4", 4)
    assert proposal.quality(matrix) == pytest.approx((matrix[0, 1] + matrix[2, 4]) / 2)
    assert proposal.block_values(matrix).tolist() == [matrix[0, 1], matrix[2, 4]]
    with pytest.raises(ProposalError, match="4 layers has a square matrix of 5 rows"):
        proposal.quality(matrix[:4, :4])
    with pytest.raises(ProposalError, match="no quality"):
        PruningProposal(4, ()).quality(matrix)


def test_order_and_hash_follow_the_removed_layers():
    proposals = [PruningProposal.parse(text, 9) for text in ("2,4", "1,9", "1-2", "none", "2-3")]
    assert [str(proposal) for proposal in sorted(proposals)] == ["none", "1-2", "1,9", "2-3", "2,4"]
    same = {PruningProposal.parse("1-2", 9), PruningProposal.from_layers((2, 1), 9)}
    assert len(same) == 1
    assert PruningProposal.parse("1-2", 10) not in same
    with pytest.raises(TypeError):
        sorted([proposals[0], "1"])


@st.composite
def joint_proposals(draw):
    cases = {"encoder": draw(layer_sets()), "decoder": draw(layer_sets())}
    return JointProposal({name: PruningProposal.from_layers(*case) for name, case in cases.items()})


@given(joint_proposals(), joint_proposals())
def test_joint_proposals_are_read_back_hashed_and_ordered(one, other):
    assert PruningProposal.parse(str(one), one.num_layers) == one
    assert JointProposal(one.parts) == one and hash(JointProposal(dict(one.parts))) == hash(one)
    assert one.num_removed == one.of("encoder").num_removed + one.of("decoder").num_removed
    assert [one < other, one == other, one > other].count(True) == 1
    if one.num_layers == other.num_layers:
        order = [(p.of("encoder"), p.of("decoder")) for p in (one, other)]
        assert (one < other) == (order[0] < order[1])


def test_forms_of_several_stacks():
    sizes = {"encoder": 6, "decoder": 4}
    for text in ("encoder=1,3-4+decoder=2", "encoder=6", "decoder=2", "none"):
        assert str(PruningProposal.parse(text, sizes)) == text
    assert str(PruningProposal.parse(" decoder = 3,2 + encoder = 1 ", sizes)) == "encoder=1+decoder=2-3"
    assert PruningProposal.parse("encoder=none+decoder=2", sizes) == PruningProposal.parse("decoder=2", sizes)
    one = PruningProposal.parse("2-3", {"encoder": 6})
    assert one == PruningProposal(6, ((2, 3),)) and one.of("encoder") is one


@pytest.mark.parametrize(
    "text",
    ["", "1", "encoder", "encoder=", "encoder=7", "decoder=1-4", "joiner=1", "encoder=1+encoder=2", "encoder=1+", "encoder=1+none",
     "encoder=3-2", "encoder=\u00b2", "encoder=" + "9" * 5000, "x" * 5000 + "=1", None],
)
def test_unreadable_text_of_several_stacks_is_refused(text):
    with pytest.raises(ProposalError) as error:
        PruningProposal.parse(text, {"encoder": 6, "decoder": 4})
    assert len(str(error.value)) < 300


def test_malformed_joint_proposals_are_refused():
    part = PruningProposal(4, ())
    for parts in ({}, {"encoder": part}, (("encoder", part), ("encoder", part)), {"Encoder": part, "decoder": part},
                  {"a1": part, "b": part}, {"encoder": part, "decoder": "2"}):
        with pytest.raises(ProposalError):
            JointProposal(parts)
    with pytest.raises(ProposalError, match="no stack 'joiner'; there are encoder, decoder"):
        JointProposal({"encoder": part, "decoder": part}).of("joiner")
