"""How long a training is: it ends below an error rate, and a finished one is added to."""

import functools

import pytest
import torch

from comflp.errors import ComflpError
from comflp.train.fit import fit
from fixtures.training import DiesAtCall, hparams, losses, train


def test_the_first_epoch_below_a_rate_is_the_last(make_model, make_data, tmp_path):
    data = make_data()
    whole = train(make_model(), data, tmp_path / "whole")
    rates = [row["valid_error_rate"] for row in whole.log]
    ended = train(make_model(), data, tmp_path / "ended", stop_below=rates[0] + 1e-6)
    assert losses(ended) == losses(whole)[:1]
    assert len(train(make_model(), data, tmp_path / "ended", stop_below=rates[0] + 1e-6).log) == 1, "nor does a run that goes on"
    assert losses(train(make_model(), data, tmp_path / "never", stop_below=1e-6)) == losses(whole)


def test_a_finished_training_is_added_to(make_model, make_data, tmp_path):
    """The schedule spans the added epochs, a kill among them changes nothing, and what there is to add to has to be there."""
    one_cycle = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=3e-3)
    data, changes = make_data(), {"scheduler": one_cycle, "number_of_epochs": 2}
    said = []

    def add(model, directory, augmentation):
        settings = hparams(**{**changes, "number_of_epochs": 4}, augmentation=augmentation)
        options = {"noprogressbar": True, "ckpt_interval_steps": 1}
        return fit(model, data, data, directory, settings, run_opts=options, extends=2, goes_on=lambda *place: said.append(place))

    with pytest.raises(ComflpError, match="no checkpoint of epoch 2 to go on from; add --force"):
        add(make_model(), tmp_path / "nothing", None)
    finished = {name: train(make_model(), data, tmp_path / name, **changes) for name in ("whole", "killed")}["whole"]
    whole = add(make_model(), tmp_path / "whole", DiesAtCall(0))
    assert said == [(2, None)] and losses(whole)[:2] == losses(finished) and len(whole.log) == 4
    assert whole.log[2]["learning_rate"] > 10 * finished.log[-1]["learning_rate"], "warm again"
    assert whole.log[3]["learning_rate"] == pytest.approx(finished.log[-1]["learning_rate"], rel=0.1), "and at the end again"
    with pytest.raises(KeyboardInterrupt):
        add(make_model(), tmp_path / "killed", DiesAtCall(3))
    assert losses(add(make_model(seed=9), tmp_path / "killed", DiesAtCall(0))) == losses(whole) and said[-1][1] is not None
