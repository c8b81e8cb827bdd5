"""local/chosen_proposal.py: which layers a name of stage 5 stands for, as the stages before it left them."""

import sys
from pathlib import Path

import pytest

from comflp.artifacts import write_json
from comflp.errors import ComflpError
from comflp.experiment import Layout
from comflp.result_names import ListName, ProposalName
from comflp.target import LayerCounts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "local"))
from chosen_proposal import choose

SIZES = {"encoder": 4, "decoder": 4}
ENCODER, DECODER = (LayerCounts({**dict.fromkeys(SIZES, 0), stack: 1}) for stack in SIZES)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "exp")


def found(layout, counts, proposal, quality, by="kl+text"):
    """What stage 3 leaves: its first proposal."""
    content = {"num_layers": SIZES, "num_prune": counts.total, "refined": {"by": by}, "candidates": [{"proposal": proposal, "quality": quality}]}
    write_json(layout.list(counts, ListName("skip_kl")).candidates, content)


def ranked(layout, counts, name, proposal, **rates):
    """What stage 4 leaves: a named proposal."""
    content = {"proposal": proposal, "num_layers": SIZES, "num_prune": counts.total, "ranked_by": "error_rate"}
    layout.named(counts, ProposalName.parse(name)).choose({**content, **rates})


def chosen(layout, name, *wanted):
    return str(choose(layout, wanted, name, SIZES).result.start)


def test_a_coarse_search_is_what_stage_3_says_now(layout):
    with pytest.raises(ComflpError, match=r"stage 3 \(coarse search\)"):
        chosen(layout, "skip_kl_coarse", ENCODER)
    found(layout, ENCODER, "encoder=2", -1.0)
    assert chosen(layout, "skip_kl_coarse", ENCODER) == "encoder=2"
    ranked(layout, ENCODER, "skip_kl_coarse", "encoder=2", error_rate=9.0)
    assert choose(layout, [ENCODER], "skip_kl_coarse", SIZES).named is not None
    found(layout, ENCODER, "encoder=4", -0.5)
    again = choose(layout, [ENCODER], "skip_kl_coarse", SIZES)
    assert str(again.result.start) == "encoder=4" and again.named is None and again.record.name == "stage3.record.json"


def test_of_several_numbers_of_layers_the_best(layout):
    with pytest.raises(ComflpError, match=r"there is no proposal skip_kl_coarse .* stage 3"):
        chosen(layout, "skip_kl_coarse", ENCODER, DECODER)
    found(layout, ENCODER, "encoder=2", -1.0)
    found(layout, DECODER, "decoder=3", -0.5)
    assert chosen(layout, "skip_kl_coarse", ENCODER, DECODER) == "decoder=3", "by quality, where there are no error rates"
    ranked(layout, ENCODER, "skip_kl_coarse", "encoder=4", error_rate=1.0)
    assert chosen(layout, "skip_kl_coarse", ENCODER, DECODER) == "decoder=3", "the rate is of what an earlier search put first"
    with pytest.raises(ComflpError, match=r"there is no proposal skip_kl_fine .* stage 4"):
        chosen(layout, "skip_kl_fine", ENCODER, DECODER)
    rates = {"ranked_by": "capped_error_rate"}
    ranked(layout, ENCODER, "skip_kl_fine", "encoder=2", error_rate=30.0, capped_error_rate=12.0, **rates)
    ranked(layout, DECODER, "skip_kl_fine", "decoder=3", error_rate=20.0, capped_error_rate=18.0, **rates)
    assert chosen(layout, "skip_kl_fine", ENCODER, DECODER) == "encoder=2", "one utterance that never ends decides nothing"


@pytest.mark.parametrize(("by", "expected"), [("repair", "encoder=2"), ("kl", "decoder=3")])
def test_of_several_numbers_of_layers_the_best_after_a_repair(layout, by, expected):
    """Stage 4's error rates are of models before their repair, which says little of what writes token by token after it."""
    found(layout, ENCODER, "encoder=2", -0.1, by)
    found(layout, DECODER, "decoder=3", -0.2, by)
    ranked(layout, ENCODER, "skip_kl_coarse", "encoder=2", error_rate=99.0)
    ranked(layout, DECODER, "skip_kl_coarse", "decoder=3", error_rate=40.0)
    assert chosen(layout, "skip_kl_coarse", ENCODER, DECODER) == expected
