"""Names and places of results: every one reads back as what it was written from, and old or ambiguous ones are refused."""

import pytest

from comflp.artifacts import write_json
from comflp.errors import ComflpError
from comflp.experiment import Layout, decode_directory, decodes, read_proposal, snapshot, snapshots, write_proposal
from comflp.proposal import PruningProposal
from comflp.result_names import FineTuned, ListName, ProposalName, Pruned, Repaired, Scratch, parse_state
from comflp.target import LayerCounts

SIX = LayerCounts({"encoder": 6})
LAYERS = PruningProposal.parse("1-3,5,7,9", num_layers=12)
JOINT = PruningProposal.parse("encoder=1,3+decoder=2", num_layers={"encoder": 6, "decoder": 4})
STATES = [
    Pruned(), Repaired(), FineTuned(), FineTuned(tag="e2"), FineTuned(distill="both"),
    FineTuned(repaired=True), FineTuned(repaired=True, distill="ctc", tag="lr_0.1"), FineTuned(tag="distilled_not"),
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_state_reads_back(state):
    assert parse_state(str(state)) == state


def test_states_have_different_names():
    assert len({str(state) for state in STATES}) == len(STATES)
    assert [parse_state(text) for text in ("train", "pruned_e2", "finetuned_old (2)", "decode_dev", "")] == [None] * 5


@pytest.mark.parametrize("tag", ["../up", "a b", "new\nline"])
def test_a_tag_that_is_no_part_of_a_file_name_is_refused(tag):
    with pytest.raises(ComflpError, match="part of a file name"):
        FineTuned(tag=tag)


@pytest.mark.parametrize("tag", ["repaired", "repaired_e2", "distill_both", "distill_ctc_e2"])
def test_a_tag_that_reads_like_a_setting_is_refused(tag):
    with pytest.raises(ComflpError, match=f"--tag {tag} reads like a setting"):
        FineTuned(tag=tag)


@pytest.mark.parametrize("name", [ListName("dc"), ListName("skip_kl", True), ListName("reverse"), ListName("random")], ids=str)
def test_a_list_reads_back(name):
    assert ListName.parse(str(name)) == name


def test_a_named_proposal_knows_its_list():
    assert ProposalName.parse("skip_kl_fine") == ProposalName("skip_kl", "fine")
    assert ProposalName.parse("skip_kl_fine").list == ListName("skip_kl")
    assert ProposalName.parse("linear_probe") == ProposalName("linear_probe")
    assert ProposalName.parse("scratch_frontend") == ProposalName("scratch_frontend")


def test_what_was_made_is_found_again(tmp_path):
    layout = Layout(tmp_path)

    def finish(directory):
        directory.mkdir(parents=True)
        write_json(directory / "record.json", {})

    for start in (LAYERS, JOINT):
        write_proposal(layout.result(start).proposal, start)
        for state in (Pruned(), FineTuned(tag="e2")):
            finish(layout.result(start).model(state))
        layout.result(start).model(FineTuned()).mkdir()  # made again with --force, and interrupted
    layout.result(LAYERS).training(FineTuned(distill="both")).mkdir()
    scratch = layout.result(Scratch(SIX, keep_frontend=True))
    finish(scratch.model(FineTuned()))
    found = {result.directory.relative_to(tmp_path).as_posix(): result for result in layout.results()}
    assert list(found) == ["prune6/layers_1-3,5,7,9", "prune6/scratch_frontend", "prune_encoder2_decoder1/layers_encoder=1,3+decoder=2"]
    layers, random, joint = found.values()
    assert (layers.start, random.start, joint.start) == (LAYERS, Scratch(SIX, True), JOINT)
    assert layers.states() == joint.states() == [Pruned(), FineTuned(tag="e2")] and random.states() == [FineTuned()]
    assert layers.trainings() == [FineTuned(distill="both")]
    assert layout.result(layers.start) == layers


def test_a_name_points_to_what_its_layers_became(tmp_path):
    layout, other = Layout(tmp_path), PruningProposal.parse("7-12", num_layers=12)
    named = layout.named(SIX, ProposalName("dc", "fine"))
    for proposal in (LAYERS, other):
        model = layout.result(proposal).model(Pruned())
        model.mkdir(parents=True)
        named.choose({"proposal": str(proposal), "num_layers": 12})
        assert named.links() == [], "links to other layers go with the choice"
        for _ in range(2):
            named.link(model)
        assert (named.directory / "pruned").resolve() == model.resolve()
        named.choose({"proposal": str(proposal), "num_layers": 12})
        assert len(named.links()) == 1
    assert read_proposal(named.proposal) == other
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert (moved / "prune6" / "dc_fine" / "pruned").is_dir(), "an experiment can be moved"


def test_a_damaged_proposal_is_named(tmp_path):
    path = tmp_path / "prune1" / "layers_1" / "proposal.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"proposal": "1"}')
    with pytest.raises(ComflpError, match="proposal.json has no key 'num_layers'"):
        list(Layout(tmp_path).results())


def test_decodes_and_snapshots(tmp_path):
    for data, tag in (("dev", ""), ("test_other", "beam4")):
        directory = decode_directory(tmp_path, data, tag)
        directory.mkdir()
        (directory / "score.json").write_text("{}")
    assert list(decodes(tmp_path)) == ["dev", "test_other_beam4"]
    for epoch in (0, 12):
        snapshot(tmp_path, "dc_unbiased", epoch).parent.mkdir(exist_ok=True)
        snapshot(tmp_path, "dc_unbiased", epoch).write_bytes(b"")
    assert list(snapshots(tmp_path)) == [0, 12]


def test_the_experiment_around_a_model(tmp_path):
    layout = Layout(tmp_path / "exp")
    layout.deep.mkdir(parents=True)
    pruned = layout.result(JOINT).model(Pruned())
    assert Layout.around(layout.deep) == Layout.around(pruned) == Layout.around(layout.root / "prune6" / "dc_fine" / "pruned") == layout
    assert Layout.around(tmp_path / "elsewhere" / "prune6" / "dc_fine" / "pruned") is None, "no deep model is there"
    pruned.mkdir(parents=True)
    (tmp_path / "link").symlink_to(pruned)
    assert Layout.around(tmp_path / "link") == layout
    assert Layout.around(layout.root / "beside") is Layout.around(tmp_path) is None
