"""Models of other libraries through what the stages call: search, dumps, fine-tuning."""

import functools

import numpy as np
import pytest
import torch
from fixtures.models import make_model as make_transformers_model
from fixtures.models import make_normed_head
from fixtures.speechbrain_models import make_speechbrain_model
from fixtures.training import hparams
from fixtures.variants import VARIANTS

import comflp.models
from comflp.inference.decode import decode
from comflp.train.fit import fit
from comflp.inference.hidden_states import collect
from comflp.models.verify import verify_saved
from comflp.proposal import PruningProposal
from comflp.search.fine.evaluate import evaluate

CHARACTERS = "abcde"
HPARAMS = hparams(
    number_of_epochs=2, freeze_feature_extractor=True, max_grad_norm=1.0, gradient_checkpointing=True, average=2,
    optimizer=functools.partial(torch.optim.AdamW, lr=1e-3),
)


@pytest.fixture
def load(tmp_path):
    def load(kind):
        if kind == "speechbrain":
            return comflp.models.load(make_speechbrain_model(tmp_path / "sb", CHARACTERS), trust_hyperparams=True)
        if kind == "normed_head":
            return comflp.models.load(make_normed_head(tmp_path / "deep", CHARACTERS, num_layers=4))
        model_type, options = VARIANTS[kind]
        return comflp.models.load(make_transformers_model(tmp_path / "deep", model_type, CHARACTERS, **options))

    return load


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm_stable", "sew", "conformer", "bert_adapter", "parakeet", "speechbrain"])
def test_shared_prefixes_decode_as_pruned_models_do(load, make_data, kind):
    model, data = load(kind), make_data(5)
    proposals = [PruningProposal.parse(text, num_layers=4) for text in ("1", "2-3", "1,4", "2")]
    shared = evaluate(model, proposals, data)
    for proposal in proposals:
        assert shared.texts[proposal] == dict(decode(model.prune(proposal), data))
    assert shared.layer_runs < shared.num_batches * sum(len(proposal.kept) for proposal in proposals)


@pytest.mark.parametrize("kind", ["sew", "conformer", "wav2vec2_stable"])
def test_hidden_states_are_averaged_over_their_own_frames(load, make_data, kind):
    model, data = load(kind), make_data(3)
    hidden = collect(model, data)
    assert hidden.shape == (3, 5, 32) and np.isfinite(hidden).all()


@pytest.mark.parametrize("kind", ["normed_head", "wavlm", "sew", "wav2vec2_adapter", "parakeet", "speechbrain"])
def test_fine_tuning_a_pruned_model(load, make_data, tmp_path, kind):
    model, data = load(kind).prune(PruningProposal.parse("1,3", num_layers=4)), make_data(6)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    result = fit(model, data.utterances, data.utterances, tmp_path / "train", HPARAMS, run_opts={"noprogressbar": True})
    changed = {name for name, weight in result.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert any("layers.1." in name for name in changed)
    assert not any("feature_extractor" in name or "subsampling" in name for name in changed)
    result.model.save(tmp_path / "finetuned")
    verify_saved(result.model, tmp_path / "finetuned")
