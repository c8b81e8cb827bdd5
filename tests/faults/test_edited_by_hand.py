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
