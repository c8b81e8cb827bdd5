"""comflp.search.baselines.linear_probe: what the probes measure, and which layers they remove."""

import numpy as np
import pytest
import torch

from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches
from comflp.search.baselines.linear_probe import LinearProbes, ProbeResult, linear_probe


def switch_off(layer):
    """Make a pre-norm layer the identity."""
    for name in ("linear2", "self_attn.out_proj"):
        layer.get_submodule(name).weight.data.zero_()
        layer.get_submodule(name).bias.data.zero_()


def test_a_layer_that_does_nothing_gains_nothing_and_training_gains_something(make_model, make_data):
    model, data = make_model(num_layers=4), make_data(16)
    switch_off(model.stacks["encoder"].layers[1])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    untrained = linear_probe(model, data, data, num_epochs=1, learning_rate=0.0)
    trained = linear_probe(model, data, data, num_epochs=5)
    assert len(trained.losses) == 5 and len(trained.gains) == 4
    assert trained.gains[1] == pytest.approx(0, abs=1e-5)
    assert max(map(abs, trained.gains)) > 1e-3
    assert np.ptp(untrained.losses) == pytest.approx(0, abs=1e-5), "untrained probes know nothing of the layers"
    assert max(trained.losses) < untrained.losses[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_the_seed_decides(make_model, make_data):
    model, data = make_model(num_layers=2), make_data(16)
    options = {"num_epochs": 2, "max_seconds": 2.0}
    assert linear_probe(model, data, data, **options) == linear_probe(model, data, data, **options)
    assert linear_probe(model, data, data, **options) != linear_probe(model, data, data, seed=1, **options)


def test_the_untrained_loss_is_that_of_uniform_labels(make_model, make_data):
    model, data = make_model(num_layers=2), make_data(3)
    total, num_labels = 0.0, 0
    with evaluation(model):
        for utterance, batch in zip(data, load_batches(model, [[utterance] for utterance in data])):
            frames = int(model(batch).num_frames)
            labels = torch.tensor([model.tokenizer.encode(utterance.text)])
            uniform = torch.full((frames, 1, model.tokenizer.vocab_size), -np.log(model.tokenizer.vocab_size))
            total += torch.nn.functional.ctc_loss(uniform, labels, [frames], [labels.shape[1]], reduction="sum").item()
            num_labels += labels.shape[1]
    untrained = linear_probe(model, data, data, num_epochs=1, learning_rate=0.0)
    assert untrained.losses == pytest.approx([total / num_labels] * 3, rel=1e-5)


def test_every_probe_reads_its_own_layer():
    probes = LinearProbes(num_states=3, width=4, vocab_size=5)
    probes.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    hidden = torch.randn(3, 2, 6, 4, generator=torch.Generator().manual_seed(1))
    logits = probes(hidden)
    for state in range(3):
        alone = torch.nn.functional.layer_norm(hidden[state], (4,)) @ probes.weight[state]
        torch.testing.assert_close(logits[state], alone)


def test_layers_of_least_gain_go_first():
    result = ProbeResult((6.0, 5.0, 5.5, 3.0, 2.9))
    assert result.gains == pytest.approx((1.0, -0.5, 2.5, 0.1))
    assert [str(result.proposal(n)) for n in (1, 2, 3)] == ["2", "2,4", "1-2,4"]
    assert str(result.proposal(2, must_stay=[2])) == "1,4"
