"""--target: what the user wants resolved into numbers of layers, at the edges; costs of real models."""

import re
from functools import partial

import pytest
import torch
from fixtures.encoder_decoders import MAKERS, load_small
from fixtures.models import make_model as make_library_model
from fixtures.moonshine import make_moonshine_streaming
from fixtures.transducers import make_rnnt, make_tdt
from fixtures.whisper import make_whisper

import comflp.models
from comflp.budget import parse_target, resolve
from comflp.costs import Costs, ModelCosts, quantity
from comflp.errors import ComflpError
from comflp.inference.device import processor_of
from comflp.inference.measure_costs import AUDIO_SECONDS, measure_costs, measure_seconds, multiply_adds
from comflp.models.verify import noise_batch
from comflp.proposal import PruningProposal
from comflp.target import TargetError

SECONDS = Costs(0.10, {"encoder": 0.005})
ONE = ModelCosts(
    num_layers={"encoder": 12}, removable={"encoder": 11}, parameters=Costs(100e6, {"encoder": 7e6}),
    bytes=Costs(400e6, {"encoder": 28e6}), multiply_adds=Costs(7e9, {"encoder": 0.4e9}, front=2e9), seconds=SECONDS,
)


def numbers(text, costs=ONE):
    return [str(counts) for counts in resolve(parse_target(text, costs.num_layers), costs)]


@pytest.mark.parametrize(("text", "number"), [
    ("layers=6", "6"), ("layers=11", "11"), ("encoder=3", "3"), ("params=50%", "8"), ("params=93%", "1"), ("params=51M", "7"),
    ("params=51000k", "7"), ("params=0.051B", "7"), ("params=23%", "11"), ("macs=60%", "7"), ("macs=4.6G", "6"), ("megabytes=200", "8"),
    ("megabytes=50%", "8"), ("speedup=1.5", "7"), ("speedup=1.01", "1"), ("params=50%,speedup=2", "10"), (" params=50% , layers=2 ", "8"),
])
def test_what_just_reaches_the_target(text, number):
    assert numbers(text) == [number]


def test_no_layer_fewer_reaches_it_whatever_the_target():
    for percent in range(24, 100):
        (counts,) = resolve(parse_target(f"params={percent}%", ONE.num_layers), ONE)
        fewer = {"encoder": counts.total - 1}
        assert ONE.parameters.after(counts) <= percent * 1e6 < ONE.parameters.after(fewer)


@pytest.mark.parametrize(("text", "message"), [
    ("params=0%", r"params=0% cannot be reached.*11 of 12 layers of the encoder.*has 23M parameters \(23.0% of the whole"),
    ("params=22.9%", "cannot be reached"),
    ("speedup=2.3", r"cannot be reached.*is 2.22 times as fast as the whole model on this machine"),
    ("speedup=2@8", "the speed of the model has not been measured"),
    ("megabytes=1", r"has 92 megabytes of weights"),
    ("macs=1M", r"has 2.6G multiply-adds a second of audio"),
    ("params=100%", r"reached without removing anything: the model has 100M parameters"),
    ("params=150M", "reached without removing anything: the model has 100M parameters"),
    ("layers=12", "cannot be reached"),
    ("encoder=12", "cannot remove 12 of 12 layers of the encoder; at most 11"),
])
def test_a_target_beyond_the_model_says_what_there_is(text, message):
    with pytest.raises(TargetError, match=message):
        numbers(text)


@pytest.mark.parametrize("text", ["", "6", "50%", "params", "params=", "params=half", "params=-5",
                                  "params=101%", "params=1e9", "layers=0", "layers=2.5",
                                  "layers=50%", "speedup=1", "speedup=0.5", "speedup=150%", "speedup=2M", "speedup=2@0", "speedup=2@", "params=50%@8",
                                  "speedup=2@4,speedup=3",
                                  "megabytes=3M", "size=4", "decoder=2",
                                  "params=50%,", "params=\u0661%", "params=" + "9" * 5000, "encoder=", "encoder=x",
                                  "encoder=1+encoder=2", "x" * 9999])
def test_what_is_no_target_is_told_the_forms(text):
    with pytest.raises(TargetError, match="--target") as error:
        numbers(text)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["1,3", " 1, 3 ", "1-3", "1,3-4,7", "layers=1,3", "encoder=1,3", "encoder=1-3+decoder=2"])
def test_layers_by_their_numbers_are_quoted_whole_and_told_that_a_target_counts(text):
    with pytest.raises(TargetError, match=f"--target {re.escape(repr(text))}: a target counts the layers to remove and does not name them.*--proposals"):
        numbers(text)


def test_a_stack_that_the_model_has_not():
    for text in ("decoder=1", "decoder=1+encoder=2", "params=50%,decoder=1"):
        with pytest.raises(TargetError, match="this model has no decoder, only the layers of its encoder; write layers=6"):
            numbers(text)
    with pytest.raises(TargetError, match="there is no stack 'decoder'; there are encoder"):
        numbers("encoder=2+decoder=1")


def test_two_stacks():
    size = Costs(100.0, {"encoder": 5.0, "decoder": 10.0})
    costs = ModelCosts({"encoder": 6, "decoder": 4}, {"encoder": 5, "decoder": 3}, size, size, size)
    assert numbers("encoder=2+decoder=3", costs) == ["encoder=2+decoder=3"]
    assert numbers("decoder=1", costs) == ["decoder=1"]
    assert numbers("layers=2", costs) == ["decoder=2", "encoder=1+decoder=1", "encoder=2"]
    assert numbers("params=80%", costs) == ["decoder=2", "encoder=2+decoder=1", "encoder=4"]
    with pytest.raises(TargetError, match="cannot remove 4 of 4 layers of the decoder"):
        numbers("decoder=4", costs)
    with pytest.raises(TargetError, match="not been measured"):
        numbers("speedup=2", costs)
    assert "half of the encoder's and the decoder's layers" in costs.ceiling


def test_layers_that_must_stay_are_counted():
    costs = ModelCosts({"encoder": 12}, {"encoder": 3}, *[Costs(100.0, {"encoder": 5.0})] * 3)
    assert costs.halved == {"encoder": 3}
    with pytest.raises(TargetError, match="3 of 12 layers"):
        numbers("params=50%", costs)


def test_the_ceiling_says_what_stays():
    assert ONE.ceiling == "removing half of the encoder's layers can make this model at most 1.43 times as fast (as measured here): " \
                          "its front end and head stay, 40% of the work"
    counted = ModelCosts(**{**vars(ONE), "seconds": None})
    assert counted.ceiling == "removing half of the encoder's layers can make this model at most 1.52 times as fast (by multiply-adds): " \
                              "its front end stays, 29% of the work"


def test_costs_are_written_and_read_back(tmp_path):
    ONE.write(tmp_path / "costs.json")
    assert ModelCosts.read(tmp_path / "costs.json") == ONE
    (tmp_path / "costs.json").write_text('{"parameters": 3}')
    with pytest.raises(ComflpError, match=r"costs.json does not hold"):
        ModelCosts.read(tmp_path / "costs.json")


def test_quantities():
    assert [quantity(value) for value in (0, 7, 999, 999.6, 12_300, 1e6, 2.5e9)] == ["0", "7", "999", "1k", "12.3k", "1M", "2.5B"]


@pytest.mark.parametrize("family", ["own", "wav2vec2", "wavlm", "parakeet_ctc"])
def test_costs_of_a_model_are_those_of_the_pruned_model(family, make_model, tmp_path):
    """Parameters and multiply-adds that the costs foretell are those that the pruned model itself has."""
    deep = make_model(4) if family == "own" else comflp.models.load(make_library_model(tmp_path / "m", family, "ABC "))
    costs = measure_costs(deep)
    proposal = PruningProposal.parse("2-3", 4)
    pruned, counts = deep.prune(proposal), {"encoder": 2}
    assert costs.parameters.after(counts) == pytest.approx(pruned.num_parameters, rel=1e-6)
    assert costs.bytes.after(counts) == pytest.approx(4 * pruned.num_parameters, rel=1e-6)
    batch = noise_batch(deep.sample_rate, (10.0,))
    with torch.no_grad():
        for model, number in ((deep, 0), (pruned, 2)):
            _, counted = multiply_adds(partial(model, batch))
            assert costs.multiply_adds.after({"encoder": number}) == pytest.approx(counted / 10, rel=1e-3)


def test_seconds_are_measured_and_stated(make_model):
    model, threads = make_model(3), torch.get_num_threads()
    costs = measure_seconds(model, measure_costs(model))
    assert 0 < costs.seconds.layer["encoder"] < costs.seconds.whole and "1 CPU thread" in costs.measured_on
    assert torch.get_num_threads() == threads
    here = processor_of(None)
    assert costs.measured_here(1, here) and not costs.measured_here(2, here) and not costs.measured_here(1, "NVIDIA H200")
    both = measure_seconds(model, costs, batch_size=2)
    assert both.measured_here(2, here) and "batch of 2 utterances of 10 s" in both.measured_on and both.batch_size == 2
    # What is timed is the whole pass: front end, three layers and head.
    assert costs.seconds.whole == pytest.approx(costs.seconds.after({"encoder": 2}) + 2 * costs.seconds.layer["encoder"])


def test_costs_of_two_stacks(tmp_path):
    deep = comflp.models.load(make_whisper(tmp_path / "m"), language="it")
    costs = measure_costs(deep)
    assert costs.removable == {"encoder": 3, "decoder": 3}
    for text, counts in (("encoder=2-3", {"encoder": 2}), ("encoder=1+decoder=2-4", {"encoder": 1, "decoder": 3})):
        pruned = deep.prune(PruningProposal.parse(text, costs.num_layers))
        assert costs.parameters.after(counts) == pytest.approx(pruned.num_parameters, rel=1e-6)
        again = measure_costs(pruned)
        assert costs.multiply_adds.after(counts) == pytest.approx(again.multiply_adds.whole, rel=1e-6)


@pytest.mark.parametrize("make", MAKERS)
def test_a_decoder_is_timed_as_it_writes(make, tmp_path, monkeypatch):
    reach = {"positions": 600} if make is make_moonshine_streaming else {}  # 10 s of its encoder's frames
    model = load_small(make, tmp_path / "model", encoder_layers=2, decoder_layers=3, **reach)
    ran = []
    for layer in model.stacks["decoder"].layers:
        layer.register_forward_hook(lambda *_: ran.append(1))

    def passes(_, call):
        before = len(ran)
        return call(), float(len(ran) - before)

    monkeypatch.setattr("comflp.inference.measure_costs._seconds", passes)
    costs = measure_seconds(model, measure_costs(model)).seconds
    tokens = min(30, model.most_tokens)
    assert costs.layer["encoder"] == 0 and costs.layer["decoder"] * AUDIO_SECONDS == pytest.approx(tokens)
    assert costs.whole * AUDIO_SECONDS == pytest.approx(3 * tokens)


@pytest.mark.parametrize("make", [make_rnnt, make_tdt])
def test_a_transducer_is_timed_with_its_search(make, tmp_path, monkeypatch):
    model = comflp.models.load(make(tmp_path / "model", num_layers=2))
    searched = []
    monkeypatch.setattr(type(model), "spell", lambda self, state: searched.append(1))
    measure_costs(model)
    assert not searched
    assert "decoder as it writes" in measure_seconds(model, measure_costs(model)).measured_on and searched
