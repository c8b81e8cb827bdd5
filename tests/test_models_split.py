"""LayeredModel of transformers models: the split computes what the library's own forward pass computes."""

import copy
import random

import pytest
import torch
from fixtures.models import SAMPLE_RATE, make_model, make_normed_head
from fixtures.own_forward import own_forward
from fixtures.variants import VARIANTS

import comflp.models
from comflp.data.batching import AudioBatch
from comflp.errors import ComflpError
from comflp.models.verify import noise_batch

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
def test_equals_the_librarys_own_forward_pass(load_variant, variant, lengths):
    model = load_variant(variant)
    batch = noise_batch(SAMPLE_RATE, lengths)
    logits, hidden = own_forward(model.model, model.processor.feature_extractor, model.layer_modules, batch)
    with torch.no_grad():
        output = model(batch, return_hidden=True)
    assert len(output.hidden) == len(hidden) == model.num_layers + 1
    for ours, theirs in zip(output.hidden, hidden):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_layers_called_one_by_one_equal_forward(load_variant, variant):
    model = load_variant(variant)
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.8))
    with torch.no_grad():
        state = model.frontend(batch)
        for layer in model.layers:
            state = layer(state)
        logits = model.head(state)
        output = model(batch)
    assert torch.equal(logits, output.logits)
    assert torch.equal(model.logit_frames(state), output.num_frames)


@pytest.mark.parametrize("variant", VARIANTS)
def test_frame_counts_are_those_of_each_utterance_alone(load_variant, variant):
    model = load_variant(variant)
    lengths = (0.5, 1.0, 0.731, 0.3003)
    together = noise_batch(SAMPLE_RATE, lengths)
    with torch.no_grad():
        output = model(together, return_hidden=True)
        state = model.frontend(together)
    assert torch.equal(output.num_frames, model.num_frames(together.num_samples))
    for i, samples in enumerate(together.num_samples.tolist()):
        alone = AudioBatch(together.utterances[i : i + 1], together.waveforms[i : i + 1, :samples], together.num_samples[i : i + 1])
        with torch.no_grad():
            single = model(alone)
            single_state = model.frontend(alone)
        assert single.num_frames.item() == output.num_frames[i]
        assert single_state.num_frames.item() == state.num_frames[i]
        padding = single.logits.shape[1] - single.num_frames.item()
        assert padding == 0 or (padding == 1 and variant.startswith(("bert", "parakeet")))


MASKED = [
    "wav2vec2_stable", "wav2vec2_mms", "hubert_stable", "wavlm_stable", "unispeech_stable", "unispeech_sat_stable",
    "bert", "bert_relative", "parakeet",
]  # fmt: skip


@pytest.mark.parametrize("variant", MASKED)
def test_models_that_mask_padding_do_not_depend_on_the_batch(load_variant, variant):
    """No group norm over time, no convolution over padding that is not zero: an utterance is alone in its batch."""
    model = load_variant(variant)
    together = noise_batch(SAMPLE_RATE, (0.6, 1.0))
    samples = int(together.num_samples[0])
    alone = AudioBatch(together.utterances[:1], together.waveforms[:1, :samples], together.num_samples[:1])
    with torch.no_grad():
        batched, single = model(together), model(alone)
    frames = int(single.num_frames)
    torch.testing.assert_close(batched.logits[:1, :frames], single.logits[:, :frames], rtol=1e-3, atol=1e-3)


def test_group_norm_models_see_padding_as_in_their_own_forward_pass(load_variant):
    model = load_variant("wav2vec2_without_mask")
    together = noise_batch(SAMPLE_RATE, (0.6, 1.0))
    samples = int(together.num_samples[0])
    alone = AudioBatch(together.utterances[:1], together.waveforms[:1, :samples], together.num_samples[:1])
    with torch.no_grad():
        batched, single = model(together), model(alone)
    frames = int(single.num_frames)
    assert not torch.allclose(batched.logits[:1, :frames], single.logits[:, :frames], atol=1e-2)


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
    logits, _ = own_forward(model.model, model.processor.feature_extractor, model.layer_modules, batch)
    with torch.no_grad():
        torch.testing.assert_close(model(batch).logits, logits, rtol=1e-4, atol=1e-4)


def test_position_of_the_final_norm(load_variant):
    """Post-norm: H_L enters the projection as it is. Pre-norm: the encoder's norm stands between."""
    batch = noise_batch(SAMPLE_RATE, (0.5,))
    for variant, normed in (("wav2vec2", False), ("wav2vec2_stable", True)):
        model = load_variant(variant)
        with torch.no_grad():
            output = model(batch, return_hidden=True)
            last = model.encoder.layer_norm(output.hidden[-1]) if normed else output.hidden[-1]
            torch.testing.assert_close(output.logits, model.model.lm_head(last))


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_mode_has_dropout_but_no_spec_augment_nor_layerdrop(load_variant, variant):
    """With dropout at 0, training mode computes what evaluation mode does, although the configuration asks for both."""
    model = copy.deepcopy(load_variant(variant))
    encoder_config = model.encoder.config
    encoder_config.layerdrop = 0.9
    for name in ("mask_time_prob", "mask_feature_prob"):
        setattr(model.model.config, name, 0.5)
    for module in model.modules():
        for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_positions"):
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
    front = model.encoder.subsampling if variant == "parakeet" else model.base.feature_projection
    front, layer = next(front.parameters()), next(model.layer_modules[0].parameters())
    for parameter in (front, layer, list(model.parameters())[-1]):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("variant", ["wav2vec2", "hubert", "wavlm", "data2vec", "sew", "conformer", "parakeet"])
def test_freezing_the_feature_extractor(load_variant, variant):
    model = copy.deepcopy(load_variant(variant)).train()
    model.freeze_feature_extractor()
    model(noise_batch(SAMPLE_RATE, (0.5,))).logits.sum().backward()
    frozen = model.encoder.subsampling if variant == "parakeet" else model.base.feature_extractor
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert next(model.layer_modules[0].parameters()).grad is not None


def test_bert_has_no_feature_extractor_to_freeze(load_variant):
    with pytest.raises(ComflpError, match="no convolutional feature encoder"):
        load_variant("bert").freeze_feature_extractor()


@pytest.mark.parametrize("variant", ["wav2vec2", "bert", "parakeet"])
def test_too_short_an_utterance_is_named(load_variant, variant):
    batch = noise_batch(SAMPLE_RATE, (0.5, 0.01))
    with pytest.raises(ComflpError, match="noise1 has only 160 samples"):
        load_variant(variant).frontend(batch)


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
