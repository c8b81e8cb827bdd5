"""Pruned models of transformers on disk: the library of origin loads them and computes the same."""

import json

import pytest
import torch
from fixtures.models import SAMPLE_RATE, make_model, make_normed_head, make_stable_layer_norm
from fixtures.own_forward import alone, own_forward
from fixtures.variants import VARIANTS
from fixtures.whisper import make_whisper
from huggingface_hub import ModelCard
from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoProcessor, Wav2Vec2ForCTC

import comflp.models
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.models.model_card import model_card
from comflp.models.transformers.head import NormedHeadForCTC
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal

CHARACTERS = "ABCDE '"


def load_variant(directory, variant):
    model_type, options = VARIANTS[variant]
    return comflp.models.load(make_model(directory, model_type, CHARACTERS, **options))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """variant -> its model, made once, to be left unchanged."""
    made = {}
    return lambda variant: made[variant] if variant in made else made.setdefault(variant, load_variant(tmp_path_factory.mktemp(variant), variant))


def check_against_library(directory, pruned):
    """Every utterance of a batch gets from ``pruned`` what AutoModelForCTC and AutoProcessor compute from the directory."""
    library_model = AutoModelForCTC.from_pretrained(directory).eval()
    extractor = AutoFeatureExtractor.from_pretrained(directory)
    base = getattr(library_model, "encoder", None) or library_model.base_model.encoder
    layers = base.layers if hasattr(base, "layers") else base.encoder.layer
    assert len(layers) == pruned.num_layers
    batch = noise_batch(SAMPLE_RATE, (0.6, 0.5))
    with torch.no_grad():
        output = pruned(batch)
    for i, single in enumerate(alone(batch)):
        logits, _ = own_forward(library_model, extractor, layers, single)
        frames = int(output.num_frames[i])
        torch.testing.assert_close(output.logits[i, :frames], logits[0, :frames], rtol=1e-4, atol=1e-4)
    return library_model


def removable(model, *wanted):
    """The proposals of ``wanted`` that leave in what must stay."""
    must_stay = set(model.stacks["encoder"].must_stay)
    proposals = [PruningProposal.parse(text, num_layers=4) for text in wanted]
    return [proposal for proposal in proposals if not must_stay & set(proposal.removed)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_pruned_directory_loads_with_transformers_alone(deep, tmp_path, variant):
    model = deep(variant)
    for proposal in removable(model, "1", "2-3", "3"):
        pruned = model.prune(proposal)
        pruned.save(tmp_path / str(proposal))
        config = check_against_library(tmp_path / str(proposal), pruned).config
        assert getattr(config, "encoder_config", config).num_hidden_layers == 4 - proposal.num_removed


@pytest.mark.parametrize("variant", VARIANTS)
def test_pruned_model_computes_what_its_path_does(deep, variant):
    model = deep(variant)
    for proposal in removable(model, "1,3", "3"):
        pruned = model.prune(proposal)
        batch = noise_batch(SAMPLE_RATE, (0.6, 0.5))
        with torch.no_grad():
            state = model.begin(batch)
            for step in model.path(proposal):
                state = model.run(state, step)
            torch.testing.assert_close(pruned(batch).logits, model.finish(state).logits, rtol=1e-5, atol=1e-5)
        assert (model.num_layers, pruned.num_layers) == (4, 4 - proposal.num_removed)


def test_saved_directory_has_processor_origin_and_card(tmp_path):
    make_model(tmp_path / "deep", "hubert", CHARACTERS, num_layers=6)
    first = comflp.models.load(tmp_path / "deep").prune(PruningProposal.parse("2,4-5", num_layers=6))
    first.save(tmp_path / "first")
    second = comflp.models.load(tmp_path / "first").prune(PruningProposal.parse("3", num_layers=3))
    second.save(tmp_path / "second")
    config = json.loads((tmp_path / "second" / "config.json").read_text())
    assert config["num_hidden_layers"] == 2
    assert config["comflp"] == {
        "source": "deep",
        "pruning": [{"num_layers": 6, "removed": "2,4-5"}, {"num_layers": 3, "removed": "3"}],
    }
    card = (tmp_path / "second" / "README.md").read_text()
    assert "| 1 | 6 | 2,4-5 |" in card and "| 2 | 3 | 3 |" in card and "Made from: deep" in card
    before, after = (AutoProcessor.from_pretrained(tmp_path / name) for name in ("deep", "second"))
    assert after.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    assert after.feature_extractor.to_dict() == before.feature_extractor.to_dict()


def test_wavlm_hands_the_position_bias_on_when_layer_1_goes(tmp_path):
    model = load_variant(tmp_path, "wavlm")
    bias = model.stacks["encoder"].layers[0].attention.rel_attn_embed.weight
    pruned = model.prune(PruningProposal.parse("1-2", num_layers=4))
    owners = [hasattr(layer.attention, "rel_attn_embed") for layer in pruned.stacks["encoder"].layers]
    assert owners == [True, False]
    assert torch.equal(pruned.stacks["encoder"].layers[0].attention.rel_attn_embed.weight, bias)
    assert [hasattr(layer.attention, "rel_attn_embed") for layer in model.stacks["encoder"].layers] == [True, False, False, False]


def test_fine_tuned_weights_are_what_is_saved(tmp_path):
    for variant in ("wavlm", "wav2vec2_stable"):
        model = load_variant(tmp_path / variant, variant).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(noise_batch(SAMPLE_RATE, (0.5,))).logits.square().mean().backward()
        optimizer.step()
        model.save(tmp_path / variant / "tuned")
        verify_saved(model, tmp_path / variant / "tuned")
        assert model.training
        batch = noise_batch(SAMPLE_RATE, (0.5,))
        with torch.no_grad():
            tuned, deep = model.eval()(batch).logits, comflp.models.load(tmp_path / variant)(batch).logits
        assert not torch.allclose(tuned, deep, atol=1e-3)


def test_normed_head_is_saved_in_a_form_that_plain_wav2vec2_computes(tmp_path):
    model = comflp.models.load(make_normed_head(tmp_path / "hub", "甲乙丙", num_layers=3))
    assert isinstance(model.model, NormedHeadForCTC)
    pruned = model.prune(PruningProposal.parse("2", num_layers=3))
    pruned.save(tmp_path / "pruned")
    verify_saved(pruned, tmp_path / "pruned")
    library_model = check_against_library(tmp_path / "pruned", pruned)
    assert type(library_model) is Wav2Vec2ForCTC
    assert library_model.config.num_hidden_layers == 2
    reloaded = comflp.models.load(tmp_path / "pruned")
    assert isinstance(reloaded.model, NormedHeadForCTC)
    assert reloaded.num_parameters == pruned.num_parameters
    for name, weight in pruned.state_dict().items():
        torch.testing.assert_close(reloaded.state_dict()[name], weight, rtol=1e-6, atol=1e-6)
    assert "`lm_head.0`" in (tmp_path / "pruned" / "README.md").read_text()


def test_saving_leaves_the_random_state_alone(tmp_path):
    model = comflp.models.load(make_normed_head(tmp_path / "hub", "甲乙丙", num_layers=2))
    state = torch.get_rng_state()
    model.save(tmp_path / "saved")
    comflp.models.load(tmp_path / "saved")
    assert torch.equal(torch.get_rng_state(), state)


def test_large_model_prunes_and_saves(tmp_path):
    model = comflp.models.load(make_stable_layer_norm(tmp_path / "deep", "甲乙丙"))
    assert model.num_layers == 24
    pruned = model.prune(PruningProposal.parse("1-12,24", num_layers=24))
    pruned.save(tmp_path / "pruned")
    verify_saved(pruned, tmp_path / "pruned")
    assert comflp.models.load(tmp_path / "pruned").num_layers == 11


def test_verify_saved_notices_other_weights_and_other_depth(tmp_path):
    model = load_variant(tmp_path / "deep", "wav2vec2")
    model.save(tmp_path / "saved")
    verify_saved(model, tmp_path / "saved")
    with torch.no_grad():
        model.model.lm_head.bias += 0.5
    with pytest.raises(ComflpError, match="does not compute what the one in memory does"):
        verify_saved(model, tmp_path / "saved")
    with pytest.raises(ComflpError, match="holds a model of 4 layers, the one that was saved has 3"):
        verify_saved(model.prune(PruningProposal.parse("4", num_layers=4)), tmp_path / "saved")


def test_model_card_tells_facts_and_leaves_out_unknown_ones(tmp_path):
    model = load_variant(tmp_path / "deep", "wav2vec2").prune(PruningProposal.parse("3", num_layers=4))
    facts = {"metric": "cer", "error_rate": 6.543, "data": "data/test", "command": "./run.sh --stage 5", "seed": None}
    model.origin = {**model.origin, "training": facts}
    card = model_card(model)
    assert "- CER: 6.54%" in card and "- Data: data/test" in card and "- Command: ./run.sh --stage 5" in card
    header = ModelCard(card).data
    assert (header.library_name, header.pipeline_tag, header.metrics) == ("transformers", "automatic-speech-recognition", ["cer"])
    assert header.license is None and header.base_model is None and "layer-pruning" in header.tags
    [result] = header.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("cer", 6.543, "data/test")
    assert "Seed" not in card and "AutoModelForCTC.from_pretrained" in card
    model.origin = {**model.origin, "training": {"metric": "cer", "error_rate_before": 20.0, "error_rate": 1.0}}
    model.save(tmp_path / "tuned")
    assert "- CER before fine-tuning: 20.00%\n- CER: 1.00%" in (tmp_path / "tuned" / "README.md").read_text()
    assert "training" not in json.loads((tmp_path / "tuned" / "config.json").read_text())["comflp"], "another program may train these weights on"
    assert "CER" not in model_card(comflp.models.load(tmp_path / "tuned"))
    assert "CER" not in model_card(model.prune(PruningProposal.parse("1", num_layers=3)))


def test_a_card_keeps_what_the_published_one_says_of_licence_and_languages(tmp_path):
    deep = make_model(tmp_path / "deep", "wav2vec2", CHARACTERS)
    (deep / "README.md").write_text("---\nlicense: cc-by-4.0\nlanguage: [it, es]\ntags: [x]\ndatasets: common_voice\nmodel-index: 3\n---\n# Title\n")
    model = comflp.models.load(deep)
    assert model.origin["published"] == {"license": "cc-by-4.0", "language": ["it", "es"], "datasets": "common_voice"}
    model.prune(PruningProposal.parse("1", num_layers=model.num_layers)).save(tmp_path / "pruned")
    header = ModelCard.load(tmp_path / "pruned" / "README.md").data
    assert (header.license, header.language, header.datasets) == ("cc-by-4.0", ["it", "es"], "common_voice")
    (deep / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.warns(UserWarning, match="cannot be read, so the licence"):
        assert "published" not in comflp.models.load(deep).origin


def test_a_model_of_the_hub_is_the_base_of_what_is_made_from_it(tmp_path):
    model = load_variant(tmp_path / "deep", "wav2vec2")
    model.origin = {"source": "facebook/wav2vec2-base-960h", "revision": "0"}
    header = ModelCard(model_card(model)).data
    assert header.base_model == "facebook/wav2vec2-base-960h" and "model-index" not in header.to_dict()


def test_generation_settings_that_the_library_loads_are_saved_again(tmp_path, make_data):
    """It checks settings strictly where they were changed after loading, as a language changes them."""
    directory = make_whisper(tmp_path / "m")
    settings = json.loads((directory / "generation_config.json").read_text())
    (directory / "generation_config.json").write_text(json.dumps({**settings, "early_stopping": True, "return_timestamps": True}))
    model, data = comflp.models.load(directory, language="it"), make_data(3)
    assert decode(model, data) == decode(comflp.models.load(make_whisper(tmp_path / "plain"), language="it"), data), "no timestamps are asked for"
    model.prune(PruningProposal.parse("decoder=2", {"encoder": 4, "decoder": 4})).save(tmp_path / "out")
    assert comflp.models.load(tmp_path / "out").language == "it"
