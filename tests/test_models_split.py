"""LayeredModel of transformers models: the split computes what the library's own forward pass computes."""

import copy
import random
from types import SimpleNamespace

import pytest
import torch
from fixtures.models import SAMPLE_RATE, make_model, make_normed_head
from fixtures.own_forward import alone, own_forward
from fixtures.variants import VARIANTS

import comflp.models
from comflp.data.batching import AudioBatch
from comflp.errors import ComflpError
from comflp.models.verify import noise_batch, refuse_unless_equal_to_library
from comflp.proposal import PruningProposal
from comflp.search.baselines.linear_probe import _hidden as linear_probe_hidden
from comflp.train.distillation import Distillation

BATCHES = {"one": (0.9,), "equal": (0.8, 0.8), "padded": (0.5, 1.0, 0.731)}


@pytest.fixture(scope="session")
def load_variant(tmp_path_factory):
    """variant -> (LayeredModel, the library's model); made once a variant, to be left unchanged."""
    made = {}

    def load(variant):
        if variant not in made:
            model_type, options = VARIANTS[variant]
            directory = make_model(tmp_path_factory.mktemp(variant), model_type, "ABCDE '", **options)
            made[variant] = comflp.models.load(directory)
        return made[variant]

    return load


@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_utterance_of_a_batch_gets_what_the_library_gives_it_alone(load_variant, variant, lengths):
    model = load_variant(variant)
    batch = noise_batch(SAMPLE_RATE, lengths)
    with torch.no_grad():
        output = model(batch, return_hidden=True)
    assert len(output.hidden) == model.num_layers + 1
    for i, single in enumerate(alone(batch)):
        logits, hidden = own_forward(model.model, model.processor.feature_extractor, model.stacks["encoder"].layers, single)
        frames = int(output.num_frames[i])
        assert 0 <= logits.shape[1] - frames <= 1, "the library may have one frame of padding at the end"
        torch.testing.assert_close(output.logits[i, :frames], logits[0, :frames], rtol=1e-4, atol=1e-4)
        if variant != "granite":  # its layers change the frame rate, so that their frames are not hidden_frames
            frames = int(output.hidden_frames[i])
            for ours, theirs in zip(output.hidden, hidden):
                torch.testing.assert_close(ours[i, :frames], theirs[0, :frames], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pruned_equals_the_library_whose_layers_were_taken_out_by_hand(load_variant, variant):
    model = load_variant(variant)
    kept = [1, 2, 4]
    pruned = model.prune(PruningProposal.parse("3", num_layers=4))
    by_hand = copy.deepcopy(model.model)
    owner = by_hand.base_model.get_submodule(model.split.family.layers.rpartition(".")[0])
    attribute = model.split.family.layers.rpartition(".")[2]
    setattr(owner, attribute, torch.nn.ModuleList(getattr(owner, attribute)[layer - 1] for layer in kept))
    by_hand.base_model.config.num_hidden_layers = getattr(owner, "config", by_hand.config).num_hidden_layers = 3
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.8))
    with torch.no_grad():
        output = pruned(batch)
    for i, single in enumerate(alone(batch)):
        logits, _ = own_forward(by_hand, model.processor.feature_extractor, getattr(owner, attribute), single)
        frames = int(output.num_frames[i])
        torch.testing.assert_close(output.logits[i, :frames], logits[0, :frames], rtol=1e-4, atol=1e-4)


def test_a_model_that_does_not_compute_what_its_library_does_is_refused(load_variant, monkeypatch):
    model = load_variant("wav2vec2")
    monkeypatch.setattr(model.split, "tail", lambda state: 2 * state.hidden)
    with pytest.raises(ComflpError, match="wav2vec2 of here: run layer by layer, .* differ by .*transformers 5"):
        refuse_unless_equal_to_library(model, "wav2vec2 of here")


def test_layers_that_subsample_must_stay(load_variant):
    model = load_variant("granite")
    for removed, layer in (("1", 1), ("2-3", 2)):
        with pytest.raises(ComflpError, match=f"removes layer {layer} of the encoder, which must stay: it halves"):
            model.prune(PruningProposal.parse(removed, num_layers=4))


def test_what_compares_frames_of_layers_refuses_layers_that_subsample(load_variant):
    model, batch = load_variant("granite"), noise_batch(SAMPLE_RATE, (0.5, 0.8))
    with pytest.raises(ComflpError, match="linear_probe: the layers of this model change how many frames"):
        linear_probe_hidden(model, SimpleNamespace(audio=batch))
    distillation = Distillation.of_kind("hidden", model, (1, 2, 3, 4), ctc_weight=0.0, hidden_weight=1.0)
    with pytest.raises(ComflpError, match="--distill hidden: the layers of this model change how many frames"):
        distillation.loss(model(batch, return_hidden=True), batch)


@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_called_one_by_one_equal_forward(load_variant, variant):
    model = load_variant(variant)
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.8))
    with torch.no_grad():
        state = model.begin(batch)
        for step in model.path():
            state = model.run(state, step)
        found, output = model.finish(state), model(batch)
    assert torch.equal(found.logits, output.logits)
    assert torch.equal(found.num_frames, output.num_frames)


@pytest.mark.parametrize("variant", VARIANTS)
def test_frame_counts_are_those_of_each_utterance_alone(load_variant, variant):
    model = load_variant(variant)
    together = noise_batch(SAMPLE_RATE, (0.5, 1.0, 0.731, 0.3003))
    with torch.no_grad():
        output = model(together, return_hidden=True)
        state = model.begin(together)
    assert torch.equal(output.num_frames, model.num_frames(together.num_samples))
    for i, single_batch in enumerate(alone(together)):
        with torch.no_grad():
            single = model(single_batch)
            single_state = model.begin(single_batch)
        assert single.num_frames.item() == output.num_frames[i]
        assert single_state.num_frames.item() == state.num_frames[i]


def test_each_utterance_is_normalised_over_its_own_samples(load_variant):
    """Louder by a factor is the same to a model whose extractor normalises; padding does not enter the statistics."""
    model = load_variant("wav2vec2_stable")
    batch = noise_batch(SAMPLE_RATE, (0.6, 1.0))
    louder = AudioBatch(batch.utterances, batch.waveforms * torch.tensor([[5.0], [1.0]]), batch.num_samples)
    with torch.no_grad():
        torch.testing.assert_close(model(louder).logits, model(batch).logits, rtol=1e-3, atol=1e-3)


def test_waveforms_stay_as_they_are_without_do_normalize(load_variant):
    model = copy.deepcopy(load_variant("wav2vec2_stable"))
    model.processor.feature_extractor.do_normalize = False
    batch = noise_batch(SAMPLE_RATE, (0.6, 1.0))
    with torch.no_grad():
        output = model(batch)
    for i, single in enumerate(alone(batch)):
        logits, _ = own_forward(model.model, model.processor.feature_extractor, model.stacks["encoder"].layers, single)
        torch.testing.assert_close(output.logits[i, : logits.shape[1]], logits[0], rtol=1e-4, atol=1e-4)


def test_position_of_the_final_norm(load_variant):
    """Post-norm: H_L enters the projection as it is. Pre-norm: the encoder's norm stands between."""
    batch = noise_batch(SAMPLE_RATE, (0.5,))
    for variant, normed in (("wav2vec2", False), ("wav2vec2_stable", True)):
        model = load_variant(variant)
        with torch.no_grad():
            output = model(batch, return_hidden=True)
            last = model.split.base.encoder.layer_norm(output.hidden[-1]) if normed else output.hidden[-1]
            torch.testing.assert_close(output.logits, model.model.lm_head(last))


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_mode_has_dropout_but_no_spec_augment_nor_layerdrop(load_variant, variant):
    """With dropout at 0, training mode computes what evaluation mode does, although the configuration asks for both."""
    model = copy.deepcopy(load_variant(variant))
    for config in model.split.counting_configurations():
        config.layerdrop = 0.9
    for name in ("mask_time_prob", "mask_feature_prob"):
        setattr(model.model.config, name, 0.5)
    for module in model.modules():
        for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_positions", "drop_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 0.0
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.6))
    with torch.no_grad():
        expected = model(batch).logits
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.eval()
        torch.testing.assert_close(model(batch).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["wav2vec2", "wavlm", "sew", "conformer", "bert", "parakeet", "hubert_stable"])
def test_dropout_is_on_in_training_and_gradients_reach_the_front_end(load_variant, variant):
    model = copy.deepcopy(load_variant(variant)).train()
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.6))
    first, second = (model(batch, layerdrop=0.5, drop_generator=random.Random(1)).logits for _ in range(2))
    assert not torch.equal(first, second)
    model(batch, checkpoint_layers=True).logits.square().mean().backward()
    front = model.model.encoder.subsampling if variant == "parakeet" else model.split.base.feature_projection
    front, layer = next(front.parameters()), next(model.stacks["encoder"].layers[0].parameters())
    for parameter in (front, layer, list(model.parameters())[-1]):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("variant", ["wav2vec2", "hubert", "wavlm", "data2vec", "sew", "conformer", "parakeet"])
def test_freezing_the_feature_extractor(load_variant, variant):
    model = copy.deepcopy(load_variant(variant)).train()
    model.freeze_feature_extractor()
    model(noise_batch(SAMPLE_RATE, (0.5,))).logits.sum().backward()
    frozen = model.model.encoder.subsampling if variant == "parakeet" else model.split.base.feature_extractor
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert next(model.stacks["encoder"].layers[0].parameters()).grad is not None


def test_bert_has_no_feature_extractor_to_freeze(load_variant):
    with pytest.raises(ComflpError, match="no convolutional feature encoder"):
        load_variant("bert").freeze_feature_extractor()


@pytest.mark.parametrize("variant", ["wav2vec2", "bert", "parakeet"])
def test_too_short_an_utterance_is_named(load_variant, variant):
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.01))
    with pytest.raises(ComflpError, match="noise1 has only 160 samples"):
        load_variant(variant).begin(batch)


@pytest.mark.parametrize("variant", ["wav2vec2", "wavlm_stable", "sew", "conformer", "bert", "parakeet"])
def test_reinitialize_draws_weights_by_seed_and_can_spare_the_front_end(load_variant, variant):
    check_weights_drawn_anew(load_variant(variant), noise_batch(SAMPLE_RATE, (0.5,)))


def test_reinitialize_of_the_recipes_own_model(make_model):
    model = make_model()
    check_weights_drawn_anew(model, noise_batch(model.sample_rate, (0.5,)))


def check_weights_drawn_anew(original, batch):
    state = torch.get_rng_state()

    def outputs(seed, keep_frontend):
        model = copy.deepcopy(original)
        model.reinitialize(seed, keep_frontend)
        with torch.no_grad():
            return model(batch, return_hidden=True)

    fresh, spared = outputs(1, False), outputs(1, True)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(fresh.logits, outputs(1, False).logits)
    assert not torch.equal(fresh.logits, outputs(2, False).logits)
    with torch.no_grad():
        before = original(batch, return_hidden=True)
    assert torch.equal(spared.hidden[0], before.hidden[0])
    assert not torch.equal(fresh.hidden[0], before.hidden[0])
    assert not torch.allclose(spared.hidden[1], before.hidden[1], atol=1e-2)


def test_normed_head_equals_the_published_class(tmp_path):
    """kehanlu/mandarin-wav2vec2-aishell1 publishes the class that its checkpoint belongs to; this is that class."""
    from transformers import Wav2Vec2ForCTC

    class Published(Wav2Vec2ForCTC):
        def __init__(self, config):
            super().__init__(config)
            self.lm_head = torch.nn.Sequential(torch.nn.LayerNorm(config.hidden_size), self.lm_head)

    directory = make_normed_head(tmp_path, "甲乙丙", num_layers=3)
    model = comflp.models.load(directory)
    published = Published.from_pretrained(directory).eval()
    batch = noise_batch(SAMPLE_RATE, (0.7,))
    waveform = model.processor.feature_extractor(batch.waveforms[0].numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    with torch.no_grad():
        expected = published(**waveform).logits
        torch.testing.assert_close(model(batch).logits, expected, rtol=1e-4, atol=1e-4)
        plain = Wav2Vec2ForCTC.from_pretrained(directory).eval()
        assert not torch.allclose(plain(**waveform).logits, expected, atol=0.1)
