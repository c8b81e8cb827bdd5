"""Training a model together with pruned ones: intermediate CTC, and supernets with their subnets."""

import pytest
import torch
from fixtures.models import FAMILIES, make_model as make_published
from fixtures.training import losses, train
from fixtures.transducers import make_rnnt

import comflp.models
from comflp.data.training import LabelledDataset
from comflp.errors import ComflpError
from comflp.models.verify import noise_batch
from comflp.proposal import PruningProposal
from comflp.train.objectives import ctc_loss, objective_of


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_of_subnetworks_are_those_of_pruned_models(tmp_path, family):
    model = comflp.models.load(make_published(tmp_path / "model", family, "abcde "))
    batch, may_go = noise_batch(model.sample_rate, (0.9, 1.4)), [i for i in range(1, 5) if i not in model.stacks["encoder"].must_stay]
    proposals = [PruningProposal.from_layers(removed, 4) for removed in (may_go[-1:], may_go[:1], may_go[-2:])]
    with torch.no_grad():
        output = model(batch, subnetworks=proposals)
        for proposal, found in zip(proposals, output.subnetworks):
            torch.testing.assert_close(found.logits, model.prune(proposal)(batch).logits)
        torch.testing.assert_close(output.logits, model(batch).logits)


def test_the_loss_is_the_weighted_one_of_whole_and_pruned(make_model, make_data):
    model, data = make_model(), make_data(3)
    labelled = LabelledDataset(data.utterances, model)
    batch = labelled.collate([labelled[number] for number in range(3)])
    objective = objective_of(model, "3-4/1,3", 0.3)
    with torch.no_grad():
        whole, *pruned = [ctc_loss(each(batch.audio), batch, model.tokenizer.blank_id)[0]
                          for each in (model, *(model.prune(proposal) for proposal in objective.subnetworks))]
        loss, _ = objective.loss(model(batch.audio, subnetworks=objective.subnetworks), batch)
    assert [str(proposal) for proposal in objective.subnetworks] == ["3-4", "1,3"]
    assert float(loss) == pytest.approx(float(0.7 * whole + 0.3 * sum(pruned) / 2), rel=1e-5)


def test_a_subnetwork_learns_with_the_whole_model(make_model, make_data, tmp_path):
    data, changes = make_data(), {"layerdrop": 0.0, "number_of_epochs": 4}
    alone = train(make_model(), data, tmp_path / "alone", **changes)
    together = train(make_model(), data, tmp_path / "together", **changes, subnetworks="3-4", subnetwork_weight=0.5)
    assert losses(train(make_model(), data, tmp_path / "none", **changes, subnetworks="", subnetwork_weight=0.5)) == losses(alone)
    top = PruningProposal.parse("3-4", 4)
    labelled = LabelledDataset(data.utterances, alone.model)
    batch = labelled.collate([labelled[number] for number in range(len(data))])
    with torch.no_grad():
        pruned = [float(ctc_loss(result.model.prune(top)(batch.audio), batch, 0)[0]) for result in (together, alone)]
    assert pruned[0] < pruned[1]


def test_what_has_no_subnetworks_says_so(make_model, tmp_path):
    with pytest.raises(ComflpError, match="subnetworks none: each is of layers that are removed, such as 7-12"):
        objective_of(make_model(), "none", 0.5)
    with pytest.raises(ComflpError, match="subnetworks 3-4: only CTC models are trained together with pruned ones"):
        objective_of(comflp.models.load(make_rnnt(tmp_path)), "3-4", 0.3)
    with pytest.raises(ComflpError, match="9"):
        objective_of(make_model(), "3-9", 0.3)
