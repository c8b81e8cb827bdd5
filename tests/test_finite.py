"""An output that is not finite is one error everywhere, with the utterance and the likely cause."""

from functools import partial

import numpy as np
import pytest
import torch
from fixtures.transducers import make_rnnt, make_tdt
from fixtures.whisper import make_whisper

from comflp.data.batching import AudioBatch
from comflp.deploy import recognition
from comflp.deploy.export import export
from comflp.deploy.formats import FORMATS
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.models.finite import check_finite
from comflp.inference.hidden_states import collect
from comflp.inference.output_change import output_changes
from comflp.inference.speech import Speech
from comflp.models import load
from comflp.models.greedy import greedy_search
from comflp.proposal import PruningProposal
from comflp.search.fine.evaluate import evaluate

NAN = float("nan")
ENGLISH = partial(make_whisper, multilingual=False)


@pytest.fixture
def broken(make_model):
    """A model whose second layer gives NaN."""
    model = make_model()
    with torch.no_grad():
        model.stacks["encoder"].layers[1].linear2.bias[0] = NAN
    return model


READERS = {
    "dump": (lambda model, data: collect(model, data), "the output of layer 2"),
    "measure": (lambda model, data: output_changes(Speech(model, data), [PruningProposal.parse("3", 4)], "kl"), "the model's output"),
    "search": (lambda model, data: evaluate(model, [PruningProposal.parse("3", 4)], data), "without the layers 3 the model's output"),
    "decoding": (lambda model, data: decode(model, data), "the model's output"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_an_output_names_the_utterance(broken, make_data, reader):
    read, what = READERS[reader]
    with pytest.raises(ComflpError, match=rf"{what} is not finite \(NaN or infinity\) for utterance u0\d\d \(.*wav\); .*weights"):
        read(broken, make_data(3))


def test_a_pruned_model_that_breaks_is_named_by_its_layers(make_model, make_data):
    """Removing the layer that gave NaN is no fault of the others."""
    model = make_model()
    with torch.no_grad():
        model.stacks["encoder"].layers[1].linear2.bias[0] = NAN
    assert len(evaluate(model, [PruningProposal.parse("2", 4)], make_data(3)).utt_ids) == 3


def test_transcription_and_export_refuse_it_too(broken, tmp_path):
    with pytest.raises(ComflpError, match="the model's output is not finite .*weights"):
        recognition.of_model(broken).text(np.full(8000, 0.1, dtype=np.float32))
    pytest.importorskip("onnxruntime")
    with pytest.raises(ComflpError, match="the output of the model that is exported is not finite"):
        export(broken, tmp_path, [FORMATS["onnx"]])


@pytest.mark.parametrize(
    "waveform, cause",
    [
        ([0.1, NAN], "holds samples that are no finite numbers"),
        ([0.1, float("inf")], "holds samples that are no finite numbers"),
        ([0.1, 30000.0], "reaches 3e[+]04 where 1 is full scale"),
        ([0.0, 0.0], "silence from beginning to end"),
        ([0.1, -0.2], "looks sound, so look at the model's weights"),
    ],
)
def test_the_likely_cause_is_read_off_the_audio(waveform, cause):
    batch = AudioBatch((), torch.tensor([waveform]), torch.tensor([2]))
    with pytest.raises(ComflpError, match=cause):
        check_finite(torch.tensor([[[0.0, NAN]]]), torch.tensor([1]), batch.utterances, batch.waveforms)


def test_padding_may_hold_anything():
    logits = torch.zeros(1, 3, 2)
    logits[0, 2] = NAN
    check_finite(logits, torch.tensor([2]), (), torch.zeros(1, 8))


def test_no_search_reads_what_is_not_finite(make_model):
    logits = torch.zeros(2, 3, 5)
    logits[1, 1, 1] = NAN
    with pytest.raises(ComflpError, match="the model's output is not finite"):
        greedy_search(logits, torch.tensor([3, 3]), make_model().tokenizer)


@pytest.mark.parametrize("read", [decode, lambda model, data: evaluate(model, [model.nothing], data)])
@pytest.mark.parametrize("make, part", [(ENGLISH, "encoder.layers.1"), (ENGLISH, "decoder.layer_norm"), (make_rnnt, "encoder.layers.1"),
                                        (make_rnnt, "joint"), (make_tdt, "decoder.lstm")])
def test_models_that_write_token_by_token_do_not_write_nothing(make_data, tmp_path, make, part, read):
    """The library's search would end at once: an empty text, and 100% of deletions for a model that is broken."""
    model = load(make(tmp_path / "model"))

    def spoil(_, __, output):
        return (output[0] * NAN, *output[1:]) if isinstance(output, tuple) else output * NAN

    next(module for name, module in model.named_modules() if name.endswith(part)).register_forward_hook(spoil)
    with pytest.raises(ComflpError, match=r"the model's output is not finite .* for utterance u00\d"):
        read(model, make_data(2))


def test_audio_without_a_name_that_gives_no_number(tmp_path):
    model = load(ENGLISH(tmp_path / "model"))
    next(module for name, module in model.named_modules() if name.endswith("decoder.layer_norm")).register_forward_hook(lambda *given: given[2] * NAN)
    with pytest.raises(ComflpError, match="the model's output is not finite"):
        recognition.of_model(model).text(np.zeros(16000, dtype=np.float32))
