"""Exports recognise what the model does: batches of any lengths, smaller weights, and formats that a family cannot have."""

import json
import shutil
import warnings
from difflib import SequenceMatcher

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from fixtures.exported import speech
from fixtures.in_process import call

import comflp.models
from comflp.artifacts import read_json
from comflp.data.audio import AudioWarning, read_audio
from comflp.data.utterance import Utterance
from comflp.deploy import description, int8_torch, onnx_files, recognition, weights
from comflp.deploy.ctc_graphs import takes_batches
from comflp.deploy.ctc_onnx import for_sherpa, write_ctc
from comflp.deploy import export as exporting
from comflp.deploy.export import export
from comflp.deploy.formats import FORMATS, formats_of, refuse
from comflp.deploy.graph_edits import set_metadata
from comflp.errors import ComflpError
from comflp.models.transformers.window import with_window
from comflp.replacing import MODEL, write_mark
from comflp.report.collect import Experiment, Model
from comflp.report.document import Table
from comflp.report.sections import deployment

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def waveforms(data, rate):
    return [read_audio(utterance, rate) for utterance in data]


@pytest.fixture
def model(make_model):
    return make_model(num_layers=3)


_TRACED = {}


@pytest.fixture
def traced(model, tmp_path_factory):
    """(model, its ONNX export, made once for this file: tracing takes seconds)."""
    if not _TRACED:
        _TRACED["onnx"] = tmp_path_factory.mktemp("traced") / "onnx"
        write_ctc(model, _TRACED["onnx"])
    return model, _TRACED["onnx"]


def assert_close_in_direction(found, expected, least=0.98):
    """Logits of smaller weights lean the same way as the float ones, frame by frame; four bits of random weights lean far off."""
    assert torch.cosine_similarity(found, expected, dim=-1).min() > least


def test_a_batch_of_any_lengths_gives_each_utterance_what_the_model_gives_it_alone(traced, make_data, tmp_path):
    data, (model, directory) = make_data(6), traced
    recognizer, own = recognition.load(directory), recognition.of_model(model)
    assert (recognizer.format, recognizer.num_layers, recognizer.num_parameters) == ("onnx", 3, model.num_parameters)
    assert (recognizer.minimum_samples, recognizer.longest) == (own.minimum_samples, own.longest)
    assert recognizer.runtime == f"onnxruntime {onnxruntime.__version__}"
    heard = waveforms(data, model.sample_rate)
    for waveform in heard:
        torch.testing.assert_close(recognizer.logits(waveform), own.logits(waveform), rtol=1e-4, atol=1e-4)
        assert recognizer.text(waveform) == own.text(waveform)
    lengths = np.array([len(waveform) for waveform in heard])
    padded = np.stack([np.pad(waveform, (0, lengths.max() - len(waveform))) for waveform in heard])
    logits, frames = onnx_files.session(directory / "model.onnx").run(None, {"waveforms": padded, "num_samples": lengths})
    for row, count, waveform in zip(torch.from_numpy(logits), frames, heard):
        torch.testing.assert_close(row[:count], own.logits(waveform), rtol=1e-4, atol=1e-4)

    inputs = [{"waveforms": waveform[None], "num_samples": lengths[i : i + 1]} for i, waveform in enumerate(heard)]
    for precision, least in (("int8", 0.98), ("int8_static", 0.95), ("int4", 0.4), ("float16", 0.999)):
        weights.convert(directory, tmp_path / precision, f"onnx_{precision}", precision, inputs)
        small = recognition.load(tmp_path / precision, num_threads=1)
        assert small.format == f"onnx_{precision}"
        assert (tmp_path / precision / "model.onnx").stat().st_size < (directory / "model.onnx").stat().st_size
        assert_close_in_direction(small.logits(heard[0]), own.logits(heard[0]), least)


def test_weights_beside_a_graph_stay_with_it(traced, make_data, tmp_path, monkeypatch):
    """Above 2 GB weights lie in a file of their own; int8 weights are made of it, and it is not taken for another file."""
    monkeypatch.setattr(onnx_files, "ONE_FILE_BYTES", 10_000)
    model, directory = traced
    shutil.copytree(directory, tmp_path / "onnx")
    set_metadata(tmp_path / "onnx" / "model.onnx", {"note": "written again"})
    assert (tmp_path / "onnx" / "model.onnx.data").exists()
    weights.convert(tmp_path / "onnx", tmp_path / "int8", "onnx_int8", "int8")
    waveform = waveforms(make_data(1), model.sample_rate)[0]
    own = recognition.of_model(model)
    torch.testing.assert_close(recognition.load(tmp_path / "onnx").logits(waveform), own.logits(waveform), rtol=1e-4, atol=1e-4)
    assert_close_in_direction(recognition.load(tmp_path / "int8").logits(waveform), own.logits(waveform))
    size = {name: sum(path.stat().st_size for path in (tmp_path / name).iterdir()) for name in ("onnx", "int8")}
    assert size["int8"] < size["onnx"]


def test_the_size_of_a_graph_is_that_of_its_weights(monkeypatch, tmp_path):
    """protobuf cannot say the size of a whole graph above 2 GiB, and raises."""
    onnx = pytest.importorskip("onnx")

    def too_large(self):
        raise RuntimeError("Failed to serialize proto")

    weight = onnx.numpy_helper.from_array(np.ones(5000, dtype=np.float32), "weight")
    monkeypatch.setattr(onnx_files, "ONE_FILE_BYTES", 10_000)
    monkeypatch.setattr(onnx.ModelProto, "ByteSize", too_large)
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "weights", [], [], initializer=[weight]))
    onnx_files.save(graph, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size == 20_000


def test_int8_weights_are_of_7_bits(traced, tmp_path):
    """Sums of two products of 8 bits overflow the 16 bits that processors without VNNI have for them."""
    onnx = pytest.importorskip("onnx")
    weights.convert(traced[1], tmp_path / "int8", "onnx_int8", "int8")
    graph = onnx.load(str(tmp_path / "int8" / "model.onnx")).graph
    held = [onnx.numpy_helper.to_array(one) for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and one.dims]
    assert held and 32 < max(abs(values.astype(int)).max() for values in held) <= 64


def test_float16_graphs_count_samples_in_float32(traced, tmp_path):
    """65,504 is the largest float16: 4 s at 16 kHz. Where float16 is computed in float32, as here, nobody sees it."""
    onnx = pytest.importorskip("onnx")
    weights.convert(traced[1], tmp_path / "float16", "onnx_float16", "float16")
    graph = onnx.load(str(tmp_path / "float16" / "model.onnx"))
    onnx.checker.check_model(graph)
    half = {node.output[0] for node in graph.graph.node if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT16}
    half |= {one.name for one in graph.graph.initializer if one.data_type == onnx.TensorProto.FLOAT16}
    divided = [node for node in graph.graph.node if node.op_type in ("Div", "Floor")]
    assert half and divided and not any(half & set(node.input) for node in divided)


def test_sherpa_onnx_reads_a_model_of_another_rate(traced, tmp_path):
    """sherpa-onnx brings 8 kHz to 16, and the graph brings them back."""
    pytest.importorskip("sherpa_onnx", reason="sherpa_onnx is not installed; pip install 'comflp[runtimes]' brings it")
    model, directory = traced
    for_sherpa(directory, tmp_path / "sherpa-onnx")
    found, own = recognition.load(tmp_path / "sherpa-onnx", num_threads=1), recognition.of_model(model)
    alike = [SequenceMatcher(None, found.text(waveform), own.text(waveform)).ratio() for waveform in speech(20, rate=model.sample_rate)]
    assert np.mean(alike) > 0.6  # random weights hear what two resamplings leave out near half the rate


def test_static_int8_is_calibrated_at_the_rate_of_the_graph_and_on_audio_of_any_length(traced, tmp_path, monkeypatch):
    """sherpa-onnx's graph takes 16 kHz of a model at 8 kHz."""
    model, directory = traced
    soundfile.write(tmp_path / "click.wav", np.full(10, 0.5), model.sample_rate)
    soundfile.write(tmp_path / "second.wav", speech(1, (1, 1.01), model.sample_rate)[0][: model.sample_rate], model.sample_rate)
    calibration = [Utterance(name, str(tmp_path / f"{name}.wav"), "", "", 1.0) for name in ("click", "second")]
    monkeypatch.setattr(exporting, "write_ctc", lambda model, target, force: shutil.copytree(directory, target))
    convert, heard = weights.convert, []

    def watched(source, target, name, precision, inputs, force):
        heard.extend(given["waveforms"].shape[1] for given in inputs)
        return convert(source, target, name, precision, inputs, force)

    monkeypatch.setattr(weights, "convert", watched)
    forms = [FORMATS[name] for name in ("onnx_int8_static", "sherpa-onnx", "sherpa-onnx_int8_static")]
    for form in forms:  # somebody's files in the way
        (tmp_path / form.name).mkdir()
        write_mark(tmp_path / form.name, MODEL)
        (tmp_path / form.name / "notes.txt").write_text("heard well")
    with warnings.catch_warnings():
        warnings.simplefilter("error", AudioWarning)
        export(model, tmp_path, forms, calibration=calibration, force=True)
    minimum = description.minimum_samples(model)
    assert heard == [minimum, model.sample_rate, 2 * minimum, 16000]


def test_int8_directory_keeps_weights_within_half_a_step_and_loads_the_same(model, make_data, tmp_path):
    int8_torch.save_int8(model, tmp_path / "int8")
    stored = safetensors.torch.load_file(tmp_path / "int8" / "model.safetensors")
    name = "encoder_layers.1.linear1.weight"
    scales, weight = stored[name + int8_torch.INT8_SCALE], model.state_dict()[name]
    assert stored[name].dtype == torch.int8
    assert ((stored[name].float() * scales[:, None] - weight).abs() <= scales[:, None] / 2 + 1e-7).all()

    recognizer, at_once = recognition.load(tmp_path / "int8"), recognition.of_model(int8_torch.quantized(model))
    assert (recognizer.format, recognizer.num_parameters) == ("torch_int8", model.num_parameters)
    waveform = waveforms(make_data(1), model.sample_rate)[0]
    torch.testing.assert_close(recognizer.logits(waveform), at_once.logits(waveform), rtol=1e-3, atol=1e-3)
    assert_close_in_direction(recognizer.logits(waveform), recognition.of_model(model).logits(waveform))


def test_the_model_itself_is_left_in_float(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    int8_torch.quantized(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("seconds", [0.4, 1.0, 7.3])
def test_frames_are_counted_as_the_model_counts_them(model, seconds):
    samples = int(seconds * model.sample_rate)
    frames = recognition.of_model(model).logits(np.zeros(samples, dtype=np.float32)).shape[0]
    assert abs(frames - samples / description.samples_per_frame(model)) <= 1
    assert int(model.num_frames(torch.tensor([description.minimum_samples(model)]))) == 2
    assert int(model.num_frames(torch.tensor([description.minimum_samples(model) - 1]))) == 1


@pytest.mark.parametrize("family, form, reason", [
    ("wav2vec2-bert", "onnx", "neither onnx-asr nor sherpa-onnx computes the features"),
    ("wav2vec2", "ctranslate2", "CTranslate2 reads encoder-decoder models"),
    ("whisper", "onnx_int4", "encoder-decoder models are exported in float32 and int8"),
    ("moonshine", "onnx", "of encoder-decoder models these runtimes read Whisper"),
    ("canary", "onnx", "of encoder-decoder models these runtimes read Whisper"),
    ("moonshine", "ctranslate2", "CTranslate2 reads encoder-decoder models such as Whisper"),
    ("parakeet_tdt", "sherpa-onnx", "no graph of a transducer is written yet"),
])
def test_a_format_that_a_family_cannot_have_is_refused_by_name_before_any_work(tmp_path, family, form, reason):
    from fixtures.canary import make_canary
    from fixtures.models import make_model as make_transformers_model
    from fixtures.moonshine import make_moonshine
    from fixtures.transducers import make_tdt
    from fixtures.whisper import make_whisper

    make = {"whisper": make_whisper, "moonshine": make_moonshine, "canary": make_canary, "parakeet_tdt": make_tdt}.get(family)
    directory = make(tmp_path / "m") if make else make_transformers_model(tmp_path / "m", family, "ABC ", num_layers=1)
    model = comflp.models.load(directory, language="it" if family in ("whisper", "canary") else None)
    with pytest.raises(ComflpError, match=f"a {family} model cannot be exported as {form}: {reason}"):
        export(model, tmp_path / "out", [FORMATS["torch_int8"], FORMATS[form]])
    assert not (tmp_path / "out").exists()


def test_a_shortened_window_is_refused_where_the_runtime_gives_another(tmp_path):
    from fixtures.whisper import make_whisper

    model = comflp.models.load(make_whisper(tmp_path / "m", encoder_layers=1, decoder_layers=1, window=30, positions=16), language="it")
    for name in ("onnx", "onnx_int8", "ctranslate2", "sherpa-onnx", "torch_int8"):
        refuse(model, FORMATS[name])
    shortened = with_window(model, 10)
    for name in ("onnx", "onnx_int8", "ctranslate2"):
        with pytest.raises(ComflpError, match=f"a whisper model cannot be exported as {name}: what reads it gives windows of 30 s, and .* of 10 s"):
            refuse(shortened, FORMATS[name])
    for name in ("sherpa-onnx", "torch_int8"):
        refuse(shortened, FORMATS[name])


def test_sherpa_scales_waveforms_so_that_a_model_that_does_not_is_refused(tmp_path):
    from fixtures.models import make_model as make_transformers_model

    model = comflp.models.load(make_transformers_model(tmp_path / "m", "hubert", "ABC ", num_layers=1))
    refuse(model, FORMATS["sherpa-onnx"])
    model.processor.feature_extractor.do_normalize = False
    with pytest.raises(ComflpError, match="do_normalize: false"):
        refuse(model, FORMATS["sherpa-onnx"])


def test_unknown_runtimes_and_precisions_are_named(model, tmp_path):
    with pytest.raises(ComflpError, match="there is no runtime 'tflite'"):
        formats_of(["tflite"])
    with pytest.raises(ComflpError, match="ctranslate2 has no precision 'int4'; it has float32, int8"):
        formats_of(["ctranslate2"], ["int4"])
    with pytest.raises(ComflpError, match="onnx_int8_static needs speech to calibrate on"):
        export(model, tmp_path, [FORMATS["onnx_int8_static"]])


@pytest.mark.parametrize("family, batches", [("wav2vec2", True), ("wavlm", True), ("data2vec-audio", False), ("sew", False), ("wav2vec2-conformer", False)])
def test_families_whose_parts_read_padding_take_one_utterance_at_a_time(tmp_path, family, batches):
    from fixtures.models import make_model as make_transformers_model

    assert takes_batches(comflp.models.load(make_transformers_model(tmp_path / "m", family, "ABC ", num_layers=1))) is batches


def test_damaged_exports_are_named(model, tmp_path):
    int8_torch.save_int8(model, tmp_path / "int8")
    about = read_json(tmp_path / "int8" / "export.json")
    for changed, message in (
        ({**about, "format": "onnx", "reads": "waveforms"}, "model.onnx cannot be run"),
        ({**about, "format": "onnx"}, "export.json has no key 'reads'"),
        ({**about, "format": "tflite"}, "names the format 'tflite'"),
        ({}, "export.json has no key 'format'"),
    ):
        (tmp_path / "int8" / "export.json").write_text(json.dumps(changed))
        with pytest.raises(ComflpError, match=message):
            recognition.load(tmp_path / "int8")


def test_the_script_exports_checks_and_knows_when_it_is_done(make_model, make_data, tmp_path):
    make_data(5)
    make_model(num_layers=1).save(tmp_path / "model")

    def run():
        return call("local/export.py", ["--model", "model", "--data", "data"], tmp_path)

    first = run()
    assert first.status == 0, first.said
    for name in ("onnx", "onnx_int8"):
        about = read_json(tmp_path / "model" / "export" / name / "export.json")
        assert (about["format"], about["num_utterances"], about["runtime"]) == (name, 5, "onnxruntime")
        assert about["rtf"]["1"] > 0 and about["rtf"]["2"] > 0 and about["peak_megabytes"] > 50
        assert len((tmp_path / "model" / "export" / name / "hyp").read_text().splitlines()) == 5
    about = read_json(tmp_path / "model" / "export" / "onnx" / "export.json")
    assert (about["same_texts"], about["same_text_share"]) == (5, 1.0) and about["error_rate"] == about["reference_error_rate"]
    found = {path.parent.name: read_json(path) for path in tmp_path.glob("model/export/*/export.json")}
    [table] = deployment.section(Experiment("small", Model("model", {}, 1.0, found)), "CER").every(Table)
    assert sorted(row[:2] for row in table.rows) == [("Deep model", kind) for kind in ("ONNX", "ONNX int8")]
    assert "up to date" in run().said
    (tmp_path / "model" / "export" / "onnx_int8" / "model.onnx").write_bytes(b"")
    again = run().said
    assert "onnx_int8" in again and "onnx:" not in again
