"""Training: what it learns, that it goes on where it was killed, what it refuses, what it averages."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from comflp.train.checkpoints import AtomicCheckpointer, average_best
from comflp.data.data_dir import DataDir
from comflp.data.training import DurationBatchSampler, LabelledDataset
from comflp.inference.decode import decode
from comflp.train.distillation import Distillation, posterior_divergence
from comflp.train.fit import fit
from comflp.train.objectives import ctc_loss
from comflp.errors import ComflpError
from comflp.models.layered import Output
from comflp.proposal import PruningProposal
from comflp.scoring import error_rate
from fixtures.training import hparams, losses, train


def test_loss_falls_and_the_log_is_written(make_model, make_data, tmp_path):
    data = make_data(6)
    result = train(make_model(2), data, tmp_path / "out", number_of_epochs=12, layerdrop=0.0)
    assert result.log[-1]["train_loss"] < 0.7 * result.log[0]["train_loss"]
    rows = (tmp_path / "out" / "train_log.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,learning_rate,train_loss") and len(rows) == 13


def test_same_seed_same_losses_and_another_seed_others(make_model, make_data, tmp_path):
    data = make_data()
    first = train(make_model(), data, tmp_path / "a")
    assert losses(first) == losses(train(make_model(), data, tmp_path / "b"))
    assert losses(first) != losses(train(make_model(), data, tmp_path / "c", seed=8))


def test_a_loss_that_is_not_finite_names_the_utterances_and_keeps_the_checkpoint(make_model, make_data, tmp_path):
    data = make_data()
    train(make_model(), data, tmp_path / "out", number_of_epochs=1)

    def poison(waveforms, lengths):
        return waveforms * float("nan"), lengths

    with pytest.raises(ComflpError, match=r"loss became nan in epoch 2, batch 1, on utterances u\d+"):
        train(make_model(), data, tmp_path / "out", augmentation=poison)
    assert len(train(make_model(), data, tmp_path / "out").log) == 3


def test_utterances_too_short_for_their_text_are_skipped_and_counted(make_model, make_data, tmp_path):
    data = make_data()
    long_text = [type(u)(u.utt_id, u.wav, "a" * 200, u.speaker, u.duration) for u in list(data)[:2]]
    result = train(make_model(), [*long_text, *list(data)[2:]], tmp_path / "out", number_of_epochs=1)
    assert result.skipped == ["u000", "u001"]
    with pytest.raises(ComflpError, match="none of 2 utterances can be aligned with its text"):
        LabelledDataset(long_text, make_model())
    taught = LabelledDataset(list(data), make_model(), targets={"u000": (1,)})
    assert len(taught) == 1 and taught.skipped == [utterance.utt_id for utterance in data][1:]


def test_the_dev_error_rate_is_over_all_of_dev_and_that_of_decoding(make_model, make_data, tmp_path):
    """Whatever the loss cannot use: a text too long for its audio, a character that is no label."""
    data = make_data()
    texts = {"u000": "a" * 200, "u001": "abz"}
    dev = DataDir(
        data.path, [dataclasses.replace(utterance, text=texts.get(utterance.utt_id, utterance.text)) for utterance in data]
    )
    result = fit(make_model(), data, dev, tmp_path / "out", hparams(number_of_epochs=1), run_opts={"noprogressbar": True})
    expected = error_rate([u.text for u in dev], [decode(result.model, dev)[u.utt_id] for u in dev])
    assert result.error_rate == expected.rate and expected.ref_length > 200
    assert result.skipped == [] and math.isfinite(result.log[0]["valid_loss"])


def test_a_dev_set_in_the_other_letter_case_is_refused(make_model, make_data, tmp_path):
    data = make_data()
    dev = [dataclasses.replace(utterance, text=utterance.text.upper()) for utterance in data]
    with pytest.raises(ComflpError, match="small letters only"):
        fit(make_model(), data, dev, tmp_path / "out", hparams())


DISTRIBUTED = Path(__file__).with_name("train_distributed.py")


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory):
    """A folder with the loss curves of two gloo processes, of 16 utterances and of 3."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--rdzv-backend=c10d",
               "--rdzv-endpoint=localhost:0", str(DISTRIBUTED), str(folder), "16", "3"]
    subprocess.run(command, check=True, timeout=300)
    return folder


def test_as_many_processes_as_batches_train(of_two_processes):
    assert len(np.loadtxt(of_two_processes / "3.2.csv", delimiter=",")) == 4


def test_a_character_outside_the_vocabulary_names_utterance_and_character(make_model, make_data):
    utterance = list(make_data(1))[0]
    odd = type(utterance)(utterance.utt_id, utterance.wav, "abz", utterance.speaker, utterance.duration)
    with pytest.raises(ComflpError, match="utterance u000: z in 'abz'"):
        LabelledDataset([odd], make_model())


def test_ctc_loss_by_hand_and_repeats_need_a_blank(make_model, make_data):
    data = LabelledDataset(make_data(2).utterances, make_model())
    batch = data.collate([data[0], data[1]])
    a = torch.tensor([[2, 2], [2, 0]])
    batch = type(batch)(batch.audio, a, torch.tensor([2, 1]))
    assert batch.required_frames().tolist() == [3, 1]
    # one label "2" in two frames of even odds over 4 labels: paths 22, 20, 02 of 16
    output = Output(torch.zeros(2, 2, 4), torch.tensor([2, 2]))
    loss, too_short = ctc_loss(output, batch, blank_id=0)
    assert too_short == 1
    assert loss.item() == pytest.approx(-math.log(3 / 16))


def test_average_is_the_mean_of_the_best(make_model, tmp_path):
    model = make_model(1)
    saver = AtomicCheckpointer(tmp_path, {"model": model})
    for epoch, (value, rate) in enumerate([(1.0, 30.0), (2.0, 10.0), (4.0, 20.0)], start=1):
        model.output.bias.data.fill_(value)
        saver.save_checkpoint(meta={"epoch": epoch, "step": epoch, "error_rate": rate})
    weights, best = average_best(saver, 2)
    assert [checkpoint.meta["epoch"] for checkpoint in best] == [2, 3]
    assert torch.equal(weights["output.bias"], torch.full_like(model.output.bias, 3.0))


def test_early_stopping_and_averaging_keep_few_checkpoints(make_model, make_data, tmp_path):
    result = train(make_model(), make_data(), tmp_path / "out", number_of_epochs=9, early_stopping=1, average=2)
    assert len(result.log) < 9
    assert 1 <= len(result.averaged_epochs) <= 2
    assert len(list((tmp_path / "out" / "save").glob("CKPT+*"))) <= 3
    again = train(make_model(), make_data(), tmp_path / "out", number_of_epochs=9, early_stopping=1, average=2)
    assert again.log == result.log, "a run that was killed after its last checkpoint ends where it would have ended"


def test_frozen_feature_extractor_stays(make_model, make_data, tmp_path):
    model = make_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    after = train(model, make_data(), tmp_path / "out", freeze_feature_extractor=True).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any(name.startswith("subsampling") for name in changed)


def test_snapshots_are_taken_at_the_start_and_at_chosen_epochs(make_model, make_data, tmp_path):
    seen, data = [], make_data()
    fit(
        make_model(), data, data, tmp_path / "out", hparams(snapshot_epochs=[0, 2]),
        take_snapshot=lambda model, epoch: seen.append((epoch, model.training)), run_opts={"noprogressbar": True},
    )
    assert seen == [(0, False), (2, False)]


def test_gradient_checkpointing_changes_no_loss(make_model, make_data, tmp_path):
    data = make_data()
    plain = train(make_model(), data, tmp_path / "a")
    spared = train(make_model(), data, tmp_path / "b", gradient_checkpointing=True)
    np.testing.assert_allclose(losses(spared), losses(plain), rtol=1e-4)


def test_autocast_stays_near_full_precision(make_model, make_data, tmp_path):
    data = make_data(6)
    full = train(make_model(), data, tmp_path / "a", layerdrop=0.0)
    half = train(make_model(), data, tmp_path / "b", layerdrop=0.0, run_opts={"precision": "bf16"})
    first, second = (result.log[0]["train_loss"] for result in (full, half))
    assert first != second and second == pytest.approx(first, rel=0.02)
    assert all(p.dtype == torch.float32 for p in half.model.parameters())


def test_error_rates_before_and_after_are_those_of_decoding(make_model, make_data, tmp_path):
    data, model = make_data(8), make_model(2)

    def rate(model):
        return error_rate({utterance.utt_id: utterance.text for utterance in data}, decode(model, data)).rate

    before = rate(model)
    result = train(model, data, tmp_path / "out", number_of_epochs=4, average=2)
    assert (result.error_rate_before, result.error_rate) == (before, rate(result.model))


def test_divergence_of_posteriors_by_hand():
    teacher, student = torch.tensor([[0.0, math.log(3.0)]]), torch.zeros(1, 2)
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert posterior_divergence(teacher, student).item() == pytest.approx(expected)
    assert posterior_divergence(teacher, teacher, temperature=2.0).item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("kind", ["ctc", "hidden", "both", "only"])
def test_distillation_brings_the_student_to_the_teacher(make_model, make_data, tmp_path, kind):
    data, teacher = make_data(), make_model(4, seed=3)
    proposal = PruningProposal.parse("2-3", num_layers=4)
    student = teacher.prune(proposal)
    own = {utterance.utt_id: () for utterance in data}
    distillation = Distillation.of_kind(kind, teacher, proposal.kept, own, ctc_weight=50.0, hidden_weight=50.0)
    dataset = LabelledDataset(data.utterances, student)
    batch = dataset.collate([dataset[i] for i in range(4)])
    before = distillation.loss(student(batch.audio, return_hidden=True), batch.audio).item()
    result = fit(
        student, data, data, tmp_path / "out", hparams(layerdrop=0.2, number_of_epochs=8),
        distillation=distillation, run_opts={"noprogressbar": True},
    )
    after = distillation.loss(result.model(batch.audio, return_hidden=True), batch.audio).item()
    assert 0 < after < before
    assert Distillation.of_kind("none", teacher, proposal.kept, ctc_weight=1.0, hidden_weight=1.0) is None


def test_batches_cover_every_utterance_once_and_follow_the_seed(make_model, make_data):
    dataset = LabelledDataset(make_data(20).utterances, make_model())
    sampler = DurationBatchSampler(dataset, 3.0, 4, "random", seed=1)
    first = list(sampler)
    assert sorted(index for batch in first for index in batch) == list(range(20))
    assert max(len(batch) for batch in first) <= 4
    assert first == list(DurationBatchSampler(dataset, 3.0, 4, "random", seed=1))
    sampler.set_epoch(2)
    assert list(sampler) != first


def test_sortagrad_goes_from_short_to_long_in_the_first_epoch_only(make_model, make_data):
    dataset = LabelledDataset(make_data(20).utterances, make_model())
    sampler = DurationBatchSampler(dataset, 3.0, 2, "sortagrad", seed=1)

    def longest(epoch):
        sampler.set_epoch(epoch)
        return [max(dataset.utterances[index].duration for index in batch) for batch in sampler]

    assert longest(1) == sorted(longest(1)) and longest(2) != sorted(longest(2))


def test_two_processes_train_as_one(of_two_processes):
    """Two gloo processes with a batch each give the loss curve of one process with two batches a step.

    Their checkpoints have one writer, for whom the others wait: each is made late where a race would show.
    """
    subprocess.run([sys.executable, str(DISTRIBUTED), str(of_two_processes), "16"], check=True, timeout=300)
    single, double = (np.loadtxt(of_two_processes / f"16.{number}.csv", delimiter=",") for number in (1, 2))
    np.testing.assert_allclose(double, single, rtol=2e-3)


@pytest.mark.parametrize("seconds", [1.0, 0.47, 0.83, 1.63])
def test_utterances_of_one_length_share_batches(make_model, make_data, seconds):
    data = [dataclasses.replace(utterance, duration=seconds) for utterance in make_data(8)]
    sampler = DurationBatchSampler(LabelledDataset(data, make_model()), 100.0, 4, "random", seed=1)
    assert sorted(map(len, sampler)) == [4, 4]
