"""No result depends on how utterances are batched, whatever a model makes of padding."""

from dataclasses import replace
from functools import partial

import fixtures.speech_to_text
import numpy as np
import pytest
import torch
from fixtures.encoder_decoders import load_small
from fixtures.models import make_model, make_normed_head
from fixtures.speechbrain_models import make_speechbrain_model
from fixtures.variants import VARIANTS

import comflp.models
from comflp.data.data_dir import DataDir
from comflp.inference.decode import decode
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.inference.hidden_states import collect
from comflp.models.layered import ENTER

CHARACTERS = "abcde"


def load(kind, directory):
    if kind == "speechbrain":
        return comflp.models.load(make_speechbrain_model(directory, CHARACTERS), trust_hyperparams=True)
    if kind == "normed_head":
        return comflp.models.load(make_normed_head(directory, CHARACTERS, num_layers=2))
    model_type, options = VARIANTS[kind]
    return comflp.models.load(make_model(directory, model_type, CHARACTERS, num_layers=2, **options))


@pytest.mark.parametrize("kind", [*VARIANTS, "normed_head", "speechbrain"])
def test_every_utterance_comes_out_as_if_it_were_alone(kind, make_data, tmp_path):
    model, data = load(kind, tmp_path / "model"), make_data(6)
    twin = replace(data["u000"], utt_id="twin")
    data = DataDir(data.path, [*data, twin])
    together = collect(model, data, max_seconds=100)
    with evaluation(model):
        for row, utterance in enumerate(data):
            (batch,) = load_batches(model, [[utterance]])
            state = model.begin(batch)
            alone = [state.time_average()[0]]
            for step in model.path():
                state = model.run(state, step)
                if step.layer > ENTER:
                    alone.append(state.time_average()[0])
            np.testing.assert_allclose(together[row], torch.stack(alone), atol=1e-3)
    assert decode(model, data, max_seconds=100) == decode(model, data, max_seconds=0.1)
    batches = plan_batches(model, data, max_seconds=100)
    assert len(batches) < len(data), "utterances share batches, whatever the model makes of padding"


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_speech_to_text_with_any_number_of_convolutions(make_data, tmp_path, monkeypatch, convolutions):
    usual = fixtures.speech_to_text.Speech2TextConfig
    monkeypatch.setattr(fixtures.speech_to_text, "Speech2TextConfig",
                        partial(usual, num_conv_layers=convolutions, conv_kernel_sizes=[5] * convolutions))
    model, data = load_small(fixtures.speech_to_text.make_speech_to_text, tmp_path / "model", encoder_layers=2, decoder_layers=2), make_data(4)
    assert decode(model, data, max_seconds=100) == decode(model, data, max_seconds=0.1)
