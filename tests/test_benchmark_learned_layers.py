"""benchmarks/learned_layers.py: what its smaller model is, which layers its scores learn of, and that it runs."""

import importlib
import json

import pytest
import torch
from fixtures.benchmarks import BENCHMARKS, benchmark

import comflp.models
from comflp.models.verify import noise_batch
from comflp.proposal import PruningProposal


@pytest.fixture
def scored(monkeypatch, make_model):
    """``scored(zero_out)``: a model of four layers, whose smaller model is short of two; zero_out: first step and steps between, None of topk."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module, plain = importlib.import_module("learned_layers"), make_model()

    def make(zero_out):
        model = module.Scored(plain.tokenizer, plain.architecture, num_prune=2, zero_out=zero_out).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        with torch.no_grad():
            model.scores.copy_(torch.tensor([0.3, 0.1, 0.4, 0.2]))
        return model

    return make


def test_topk_is_the_pruned_model_and_learns_of_all_layers(scored):
    model = scored(None)
    batch = noise_batch(model.sample_rate, (0.9, 1.4))
    (smaller,) = model(batch, subnetworks=["any"]).subnetworks
    torch.testing.assert_close(smaller.logits, model.prune(PruningProposal.parse("2,4", 4))(batch).logits)
    assert not model(batch).subnetworks
    smaller.logits[..., 0].sum().backward()
    assert (model.scores.grad != 0).all()
    with torch.no_grad():
        model.scores[3] = 1.0  # a layer comes back
    assert model.removed().tolist() == [True, True, False, False]


def test_zero_out_takes_one_layer_more_for_good(scored):
    model = scored((3, 2))
    assert [model.removed().sum().item() for _ in range(6)] == [0, 0, 1, 1, 2, 2]
    with torch.no_grad():
        model.scores[1] = 1.0
    assert model.removed().tolist() == [False, True, False, True]
    batch = noise_batch(model.sample_rate, (0.9, 1.4))
    model(batch, subnetworks=["any"]).subnetworks[0].logits[..., 0].sum().backward()
    assert (model.scores.grad != 0).tolist() == [True, False, True, False]


@pytest.mark.parametrize("kind", ["topk", "zero_out"])
def test_it_runs_and_keeps_what_it_chose(tmp_path, make_data, kind):
    for number, name in ((8, "train"), (6, "dev")):
        make_data(number, name=f"data/{name}")
    words = (kind, "--train", "data/train", "--dev", "data/dev", "--out", "exp", "--config", BENCHMARKS.parent / "recipes" / "mini" / "conf" / "deep.yaml",
             "--epochs", 1, "--start", 1, "--num-prune", 1)
    said = benchmark("learned_layers.py", *words, cwd=tmp_path)
    kept = json.loads((tmp_path / "exp" / "learned.json").read_text())
    assert len(kept["scores"]) == 12 and f"| {kind} | {kept['removed']} |" in said
    assert comflp.models.load(tmp_path / "exp" / "deep").num_layers == 12
    assert benchmark("learned_layers.py", *words, cwd=tmp_path) == said
