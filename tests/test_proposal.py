import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.proposal import ProposalError, PruningProposal


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
    ["", "0", "13", "1,,2", "1-", "-1", "3-2", "1,1", "1-3,2", "1;2", "a", "1.0", "1 2", "1-12", "\u0661", None, "9" * 40],
)
def test_unreadable_text_is_refused(text):
    with pytest.raises(ProposalError):
        PruningProposal.parse(text, 12)


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
        proposals[0] < "1"
