"""What a training is not to be spoilt by: shared weights, texts and audio at the edge of what a model takes, odd batches, frozen parts."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures.encoder_decoders import load_small
from fixtures.speech_to_text import make_speech_to_text
from fixtures.training import hparams, train
from fixtures.whisper import make_whisper

from comflp.data.data_dir import DataDir
from comflp.data.training import LabelledDataset, required_frames
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.models import load
from comflp.models.layered import Output
from comflp.models.verify import noise_batch
from comflp.proposal import PruningProposal
from comflp.scoring import ErrorRate
from comflp.train.brain import augmented
from comflp.train.checkpoints import AtomicCheckpointer, average_best
from comflp.train.distillation import Distillation
from comflp.train.fit import fit
from comflp.train.objectives import ctc_loss, objective_of


def test_weights_that_a_model_uses_twice_are_averaged_once(tmp_path):
    model = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)])
    model[1].weight = model[0].weight
    model.register_buffer("steps", torch.tensor(5))
    saver = AtomicCheckpointer(tmp_path, {"model": model})
    for epoch, value in enumerate([1.0, 2.0, 6.0], start=1):
        model[0].weight.data.fill_(value)
        saver.save_checkpoint(meta={"epoch": epoch, "step": epoch, "error_rate": 10.0})
    weights, _ = average_best(saver, 3)
    assert torch.equal(weights["0.weight"], torch.full((3, 3), 3.0)) and torch.equal(weights["1.weight"], weights["0.weight"])
    assert weights["steps"] == 5


def test_an_utterance_too_short_for_its_text_has_no_gradient(make_model, make_data):
    """A change of speed makes some so; an infinite loss times nothing would have gradients that are no numbers."""
    data = LabelledDataset(make_data(2).utterances, make_model())
    batch = data.collate([data[0], data[1]])
    batch = type(batch)(batch.audio, torch.tensor([[2, 2], [2, 0]]), torch.tensor([2, 1]))
    logits = torch.zeros(2, 2, 4, requires_grad=True)
    loss, too_short = ctc_loss(Output(logits, torch.tensor([2, 2])), batch, blank_id=0)
    loss.backward()
    assert too_short == 1 and torch.isfinite(logits.grad).all() and not logits.grad[0].any() and logits.grad[1].any()


@pytest.mark.parametrize("scale, longest, stays", [(1.25, 1.0, True), (1.25, 1.25, False), (1.25, None, False), (0.9, None, False), (0.015, None, True)])
def test_a_batch_that_a_change_of_speed_makes_unusable_stays(scale, longest, stays):
    def changed(waveforms, relative):
        return torch.nn.functional.interpolate(waveforms[:, None], scale_factor=scale)[:, 0], relative

    audio = noise_batch(8000, (1.0, 0.5))
    model = SimpleNamespace(longest=longest, sample_rate=8000, num_frames=lambda samples: samples // 80)
    found = augmented(audio, changed, model)
    assert found is audio if stays else found.num_samples.tolist() == [round(scale * 8000), round(scale * 4000)]


def test_steps_of_more_batches_than_an_epoch_has_are_refused(make_model, make_data, tmp_path):
    with pytest.raises(ComflpError, match=r"an epoch has \d batches, and a step is of 8 .grad_accumulation_factor."):
        train(make_model(), make_data(4), tmp_path / "out", {"grad_accumulation_factor": 8}, grad_accumulation_factor=8)


def test_the_loss_on_dev_does_not_depend_on_batches(make_model, make_data, tmp_path):
    model, data = make_model(), make_data(6)
    still = torch.optim.SGD
    losses = [
        train(model, data, tmp_path / str(size), number_of_epochs=1, max_batch_seconds=100.0, max_batch_utterances=size, layerdrop=0.0,
              optimizer=lambda parameters: still(parameters, lr=0.0)).log[0]["valid_loss"]
        for size in (1, 4, 6)
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)


def test_what_was_frozen_is_trainable_afterwards(make_model, make_data, tmp_path):
    model, data = make_model(), make_data(3)
    train(model, data, tmp_path / "first", number_of_epochs=1, freeze_feature_extractor=True)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_text_too_long_for_a_decoder_is_heard_whole_in_validation(make_data, tmp_path):
    model = load(make_whisper(tmp_path / "model", multilingual=False, positions=24))
    data = make_data(2)
    data = DataDir(data.path, [replace(utterance, text="a" * 60) for utterance in data])
    labelled = LabelledDataset(data.utterances, model, for_error_rate=True)
    batch = labelled.collate([labelled[0], labelled[1]])
    assert batch.num_labels.tolist() == [0, 0]
    assert objective_of(model).texts(None, batch) == list(decode(model, data).values())


def test_a_character_without_a_token_is_named(make_data, tmp_path):
    model = load_small(make_speech_to_text, tmp_path / "model", encoder_layers=2, decoder_layers=2)
    data = make_data(2)
    utterances = [replace(utterance, text="ab é") for utterance in data]
    with pytest.raises(ComflpError, match="utterance u000: the model's tokenizer has no token for 'é'"):
        fit(model, utterances, utterances, tmp_path / "train", hparams())


def test_a_kept_layer_is_held_to_its_own_layer_of_the_teacher(make_model, make_data):
    """By hand, of each utterance's own frames; a temperature softens both sides and its square restores the size of gradients."""
    teacher, kept = make_model(4, seed=3), (1, 4)
    student = teacher.prune(PruningProposal.parse("2-3", 4))
    data = LabelledDataset(make_data(3).utterances, student)
    audio = data.collate([data[number] for number in range(3)]).audio
    with torch.no_grad():
        own, deep = student(audio, return_hidden=True), teacher(audio, return_hidden=True)
        mask, expected = own.own(), []
        for index, layer in enumerate(kept, start=1):
            target = deep.hidden[layer][mask]
            expected.append(((own.hidden[index][mask] - target) ** 2).mean() / target.var())
        found = Distillation.of_kind("hidden", teacher, kept, ctc_weight=1.0, hidden_weight=3.0).loss(own, audio)
        soft = [torch.log_softmax(each.logits[mask] / 2, dim=-1) for each in (deep, own)]
        divergence = Distillation.of_kind("ctc", teacher, kept, ctc_weight=3.0, hidden_weight=1.0, temperature=2.0).loss(own, audio)
    assert not mask.all() and float(found) == pytest.approx(3 * float(torch.stack(expected).mean()), rel=1e-4)
    assert float(divergence) == pytest.approx(3 * 4 * float((soft[0].exp() * (soft[0] - soft[1])).sum(dim=-1).mean()), rel=1e-4)


def test_the_epochs_of_lowest_error_rate_are_kept_and_averaged_and_the_monitor_sets_the_rate(make_model, make_data, tmp_path, monkeypatch):
    """Rates as given: before training, of six epochs, and after it."""
    rates = iter([90, 30, 10, 20, 10, 40, 60, 0])
    monkeypatch.setattr("comflp.train.brain.error_rate", lambda *_: ErrorRate(substitutions=(rate := next(rates)), hits=100 - rate))
    result = train(make_model(1), make_data(3), tmp_path, number_of_epochs=6, average=2, monitor="error_rate")
    assert result.averaged_epochs == [4, 2], "the later of equal ones first"
    assert [row["learning_rate"] for row in result.log] == pytest.approx([3e-3, 3e-3, 3e-3, 1.5e-3, 0.75e-3, 0.375e-3])


def test_a_schedule_of_steps_ends_with_the_last_one_of_accumulated_gradients(make_model, make_data, tmp_path):
    one_cycle = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=3e-3)
    result = train(make_model(1), make_data(), tmp_path, {"grad_accumulation_factor": 2}, grad_accumulation_factor=2, scheduler=one_cycle)
    rates = [row["learning_rate"] for row in result.log]
    assert len(rates) == 3 and rates[-1] < 0.05 * max(rates)


def test_padding_of_labels_needs_no_frames():
    labels = torch.tensor([[3, 3, 3, 2], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert required_frames(labels, torch.tensor([4, 1, 0])).tolist() == [6, 1, 0]
