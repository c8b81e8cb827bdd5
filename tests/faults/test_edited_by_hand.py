"""Results that were edited or exchanged by hand stop the stages that read them."""

import pytest

from comflp.artifacts import fingerprint_model, read_json, write_json
from comflp.errors import ComflpError
from comflp.experiment import Layout, write_proposal
from comflp.origins import refuse_other_origins
from comflp.proposal import PruningProposal
from comflp.record import Stage
from comflp.result_names import Pruned


@pytest.mark.parametrize("name", ["proposal.json", "candidates.json", "dc.npy"])
def test_a_file_that_was_edited_after_its_stage_wrote_it(tmp_path, name):
    path, record = tmp_path / name, tmp_path / "record.json"
    path.write_text('{"proposal": "1,3"}')
    Stage(record, "stage4_fine_search", {}, {"model": "m"}).finish([path])
    reader = Stage(tmp_path / "next.record.json", "stage5_prune", {}, {"model": "m"}, upstream=[record])
    path.write_text('{"proposal": "1,2"}')
    with pytest.raises(ComflpError, match=f"{name} was changed after stage4_fine_search wrote it; run that stage again with --force"):
        reader.agree([record])


def test_a_model_that_was_made_from_another_deep_model(make_model, tmp_path):
    layout, deep, proposal = Layout(tmp_path / "exp"), make_model(), PruningProposal.parse("2", num_layers=4)
    deep.save(layout.deep)
    result = layout.result(proposal)
    out = result.model(Pruned())
    deep.prune(proposal).save(out)
    write_proposal(result.proposal, proposal)
    Stage(out / "record.json", "stage5_prune", {}, {"model": fingerprint_model(layout.deep)}).finish([out])
    refuse_other_origins(layout)
    record = read_json(out / "record.json")
    write_json(out / "record.json", {**record, "origin": {"model": "another"}})
    with pytest.raises(ComflpError, match="pruned was made from another model than .*deep; run stage 5 again with --force"):
        refuse_other_origins(layout)


def test_a_stage_in_the_middle_that_was_made_otherwise_since(tmp_path, monkeypatch):
    """Stage 2 is made again with other options, and stage 4 is asked for without stage 3."""

    def run(name, upstream=(), force=False, read="as before", **options):
        stage = Stage(tmp_path / name / "record.json", name, options, {"model": "m", f"read by {name}": read},
                      [tmp_path / each / "record.json" for each in upstream], force)
        if stage.up_to_date():
            return "up to date"
        write_json(tmp_path / name / "result.json", options)
        stage.finish([tmp_path / name / "result.json"])
        return "made"

    def refused(path, value):
        raise ComflpError(f"{path} cannot be written: read-only file system")

    chain = {"two": [], "three": ["two"], "four": ["three"]}
    assert [run(name, before) for name, before in chain.items()] == ["made"] * 3
    assert [run(name, before, force=name == "two") for name, before in chain.items()] == ["made"] + ["up to date"] * 2
    run("two", force=True, keep=0.9)
    with pytest.raises(ComflpError, match=r"three.record\.json was made before .*two.record\.json was made otherwise; run three again for it, or move .* away"):
        run("four", ["three"])
    # what stage 3 reads is the same: its results stand, also where nothing can be noted, and stage 4 goes on
    with monkeypatch.context() as patch:
        patch.setattr("comflp.record.write_json", refused)
        assert run("three", ["two"]) == "up to date"
    assert [run(name, chain[name]) for name in ("three", "four")] == ["up to date"] * 2
    run("two", force=True, keep=0.8)
    with pytest.raises(ComflpError, match="made otherwise .*read by three"):
        run("three", ["two"], read="another matrix")
    run("three", ["two"], read="another matrix", force=True)
    with pytest.raises(ComflpError, match="made otherwise .*read by three"):
        run("four", ["three"])
