"""Pretrained SpeechBrain directories: refused without trust, split as SpeechBrain computes, pruned and loaded by it."""

import shutil

import huggingface_hub
import pytest
import torch
from fixtures.models import SAMPLE_RATE
from fixtures.own_forward import alone
from fixtures.speechbrain_models import library_logits, make_speechbrain_model
from huggingface_hub.errors import RemoteEntryNotFoundError

import comflp.models.speechbrain.model
from comflp.artifacts import atomic_directory
from comflp.errors import ComflpError
from comflp.models.verify import noise_batch, verify_saved
from comflp.proposal import PruningProposal
from comflp.replacing import MODEL

KINDS = ["wav2vec2", "hubert", "wavlm"]


@pytest.fixture
def make(tmp_path):
    def load(model_type="wav2vec2", characters="ABCDE ", **options):
        path = make_speechbrain_model(tmp_path, characters, model_type, **options)
        return path, comflp.models.load(path, trust_hyperparams=True)

    return load


def check_against_library(path, model, batch):
    """Every utterance of the batch gets what SpeechBrain's own forward pass gives it alone."""
    with torch.no_grad():
        output = model(batch)
    for i, single in enumerate(alone(batch)):
        frames = int(output.num_frames[i])
        torch.testing.assert_close(output.logits[i, :frames], library_logits(path, single)[0, :frames], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lengths", [(0.9,), (0.8, 0.8), (0.5, 1.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_utterance_of_a_batch_gets_what_speechbrain_gives_it_alone(make, kind, lengths):
    path, model = make(kind)
    check_against_library(path, model, noise_batch(SAMPLE_RATE, lengths))


@pytest.mark.parametrize("removed", ["1", "2-3"])
@pytest.mark.parametrize("kind", KINDS)
def test_pruned_directory_loads_with_speechbrain_alone(make, tmp_path, kind, removed):
    _, model = make(kind)
    pruned = model.prune(PruningProposal.parse(removed, num_layers=4))
    pruned.save(tmp_path / "pruned")
    verify_saved(pruned, tmp_path / "pruned")
    shutil.rmtree(tmp_path / "hub")
    check_against_library(tmp_path / "pruned", pruned, noise_batch(SAMPLE_RATE, (0.6, 0.5)))


def test_a_pruned_directory_can_move_and_be_pruned_again(make, tmp_path):
    _, model = make()
    with atomic_directory(tmp_path / "first", MODEL) as temporary:  # as whoever adds files of his own
        model.prune(PruningProposal.parse("2", num_layers=4)).save(temporary)
    assert ["pretrained_path:", str(tmp_path / "first")] == (tmp_path / "first" / "hyperparams.yaml").read_text().split("\n", 1)[1].split()[:2]
    (tmp_path / "first").rename(tmp_path / "moved")
    moved = comflp.models.load(tmp_path / "moved", trust_hyperparams=True)
    second = moved.prune(PruningProposal.parse("1,3", num_layers=3))
    second.save(tmp_path / "second")
    loaded = comflp.models.load(tmp_path / "second", trust_hyperparams=True)
    assert loaded.num_layers == 1
    assert loaded.origin == {
        "source": "model",
        "pruning": [{"num_layers": 4, "removed": "2"}, {"num_layers": 3, "removed": "1,3"}],
    }
    assert "| 2 | 3 | 1,3 |" in (tmp_path / "second" / "README.md").read_text()
    batch = noise_batch(SAMPLE_RATE, (0.5,))
    logits = library_logits(tmp_path / "moved", batch, pretrained_path=str(tmp_path / "moved"))
    with torch.no_grad():
        torch.testing.assert_close(logits, moved(batch).logits, rtol=1e-4, atol=1e-4)


def test_hyperparams_are_not_run_without_trust(make, tmp_path):
    path, _ = make()
    ran = tmp_path / "ran"
    text = (path / "hyperparams.yaml").read_text()
    (path / "hyperparams.yaml").write_text(text + f"\nevil: !apply:os.mkdir [{ran}]\n")
    with pytest.raises(ComflpError, match="run its author's code; .* --trust-hyperparams"):
        comflp.models.load(path)
    assert not ran.exists()
    comflp.models.load(path, trust_hyperparams=True)
    assert ran.exists()


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "text_encoder"])
def test_text_by_the_models_tokenizer(make, tokenizer):
    _, model = make(tokenizer=tokenizer)
    ids = model.tokenizer.encode("abba  cede")
    assert model.tokenizer.blank_id == 0 and 0 not in ids
    assert model.tokenizer.vocab_size == model(noise_batch(SAMPLE_RATE, (0.5,))).logits.shape[-1]
    assert model.tokenizer.decode(ids) == "ABBA CEDE"
    with pytest.raises(ComflpError, match="has no 'X', which occurs in 'AXE'"):
        model.tokenizer.encode("axe")


def test_training_reaches_all_weights_but_frozen_ones(make):
    _, model = make("wavlm")
    model.train()
    model.freeze_feature_extractor()
    model(noise_batch(SAMPLE_RATE, (0.5,))).logits[..., 0].sum().backward()
    assert all(parameter.grad is None for parameter in model.model.feature_extractor.parameters())
    for parameter in (next(model.stacks["encoder"].layers[0].parameters()), list(model.sequence["enc"].parameters())[0]):
        assert parameter.grad.abs().sum() > 0


def test_reinitialize_can_spare_the_front_end(make):
    _, model = make()
    batch = noise_batch(SAMPLE_RATE, (0.5,))
    with torch.no_grad():
        before = model(batch, return_hidden=True)
        model.reinitialize(1, keep_frontend=True)
        after = model(batch, return_hidden=True)
    assert torch.equal(before.hidden[0], after.hidden[0])
    assert not torch.allclose(before.logits, after.logits, atol=1e-3)


def test_another_kind_of_encoder_is_refused(make):
    path, _ = make()
    text = (path / "hyperparams.yaml").read_text()
    (path / "hyperparams.yaml").write_text(text.replace("    wav2vec2: !ref <wav2vec2>\n    enc:", "    enc:"))
    with pytest.raises(ComflpError, match="begins with a Wav2Vec2, HuBERT or WavLM lobe"):
        comflp.models.load(path, trust_hyperparams=True)


def test_what_yaml_raises_becomes_one_error(make):
    path, _ = make()
    (path / "hyperparams.yaml").write_text("modules: !new:no.such.Class\n")
    with pytest.raises(ComflpError, match="cannot be loaded as a SpeechBrain EncoderASR"):
        comflp.models.load(path, trust_hyperparams=True)


def test_a_repository_of_another_library_is_not_called_speechbrains(monkeypatch):
    def missing(name, file):
        raise RemoteEntryNotFoundError.__new__(RemoteEntryNotFoundError)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", missing)
    monkeypatch.setattr(comflp.models.speechbrain.model, "hf_hub_download", missing)
    with pytest.raises(ComflpError, match="neither config.json nor hyperparams.yaml"):
        comflp.models.load("nvidia/parakeet")
