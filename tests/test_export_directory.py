"""The directories of exports: what may be replaced, what a check that ended early leaves, and what the commands say."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fixtures.in_process import call
from fixtures.speechbrain_models import make_speechbrain_model

from comflp.artifacts import read_json
from comflp.cli import main
from comflp.deploy import export as exporting
from comflp.deploy import onnx_files
from comflp.deploy.export import Check, export
from comflp.deploy.formats import FORMATS, formats_of, refuse
from comflp.deploy.measuring import Measured
from comflp.errors import ComflpError
from comflp.locks import working
from comflp.models import load

INT8 = FORMATS["torch_int8"]


@pytest.fixture
def measured(monkeypatch):
    """Exports are measured without a process of their own, and say nothing."""
    monkeypatch.setattr(exporting, "measure", lambda directory, speech, threads: Measured(dict.fromkeys(speech, ""), {"1": 1.0}, 1.0, "torch 1"))


def test_files_that_somebody_added_are_replaced_where_that_is_asked_for(make_model, tmp_path, capsys):
    make_model(num_layers=1).save(tmp_path / "model")
    out = tmp_path / "on a device"
    command = ["export", str(tmp_path / "model"), "--to", "torch", "--out", str(out)]
    assert main(command) == 0
    assert f"comflp transcribe {shlex.quote(str(out / 'torch_int8'))} FILE reads it" in capsys.readouterr().out
    (out / "torch_int8" / "notes.txt").write_text("heard well")
    assert main(command) == 1
    assert "holds notes.txt, which this program did not put there; add --force" in capsys.readouterr().err
    assert (out / "torch_int8" / "notes.txt").exists()
    assert main([*command, "--force"]) == 0
    assert not (out / "torch_int8" / "notes.txt").exists()


def test_the_script_hands_on_that_files_may_be_replaced(make_model, make_data, tmp_path):
    make_data(2)
    make_model(num_layers=1).save(tmp_path / "model")
    options = ["--model", "model", "--data", "data", "--to", "torch", "--precision", "int8"]
    assert call("local/export.py", options, tmp_path).status == 0
    (tmp_path / "model" / "export" / "torch_int8" / "notes.txt").write_text("heard well")
    again = call("local/export.py", [*options, "--force"], tmp_path)
    assert again.status == 0, again.said
    assert not (tmp_path / "model" / "export" / "torch_int8" / "notes.txt").exists()


def test_a_check_that_was_killed_does_not_keep_the_next_export_from_its_place(make_model, make_data, tmp_path, monkeypatch, measured):
    model, check = make_model(num_layers=1), Check(tuple(make_data(2)))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "error_rate", killed)
        with pytest.raises(KeyboardInterrupt):
            export(model, tmp_path / "out", [INT8], check)
    assert (tmp_path / "out" / "torch_int8" / "hyp").exists()
    export(model, tmp_path / "out", [INT8], check)
    assert read_json(tmp_path / "out" / "torch_int8" / "export.json")["num_utterances"] == 2


def test_texts_that_the_model_cannot_write_are_named_before_any_work(make_model, make_data, tmp_path, measured):
    shouted = tuple(replace(utterance, text=utterance.text.upper()) for utterance in make_data(2))
    with pytest.raises(ComflpError, match="case"):
        export(make_model(num_layers=1), tmp_path / "out", [INT8], Check(shouted))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [".", "torch_int8/.."])
def test_an_export_does_not_take_the_place_of_its_model(make_model, tmp_path, monkeypatch, capsys, out):
    make_model(num_layers=1).save(tmp_path / "torch_int8")
    before = (tmp_path / "torch_int8" / "model.safetensors").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert main(["export", "torch_int8", "--to", "torch", "--out", out, "--force"]) == 1
    assert "is where the model itself lies" in capsys.readouterr().err
    assert (tmp_path / "torch_int8" / "model.safetensors").read_bytes() == before


def test_nor_does_that_of_the_script(make_model, make_data, tmp_path):
    make_data(2)
    make_model(num_layers=1).save(tmp_path / "torch_int8")
    out = f"../{tmp_path.name}"
    done = call("local/export.py", ["--model", "torch_int8", "--data", "data", "--to", "torch", "--precision", "int8", "--out", out], tmp_path)
    assert done.status == 1 and "is where the model itself lies" in done.said, done.said


def test_the_check_reads_pipes_and_compares_as_it_is_told(make_model, make_data, tmp_path, measured):
    data = make_data(2)
    lines = [f"{utterance.utt_id} cat {utterance.wav} |" for utterance in data]
    (data.path / "wav.scp").write_text("\n".join(lines) + "\n")
    (data.path / "text").write_text("".join(f"{utterance.utt_id} {utterance.text.upper()}\n" for utterance in data))
    make_model(num_layers=1).save(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--to", "torch", "--out", str(tmp_path / "out"), "--data", str(data.path)]
    assert main(command) == 1
    assert main([*command, "--allow-pipes", "--normaliser", "basic", "--metric", "wer"]) == 0
    about = read_json(tmp_path / "out" / "torch_int8" / "export.json")
    assert (about["metric"], about["normaliser"], about["num_utterances"]) == ("wer", "basic", 2)
    options = ["--model", "model", "--data", "data", "--to", "torch", "--precision", "int8", "--normaliser", "basic"]
    assert "--allow-pipes" in call("local/export.py", options, tmp_path).said
    assert call("local/export.py", [*options, "--allow-pipes"], tmp_path).status == 0


@pytest.fixture
def no_work(monkeypatch):
    """It fails where something is recognised or written."""
    for name in ("recognise", "save_int8", "write_ctc"):
        monkeypatch.setattr(exporting, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))


def refused_before_any_work(message, model, out, check):
    with pytest.raises(ComflpError, match=message):
        export(model, out, [INT8, FORMATS["onnx"]], check)
    assert not (out / "torch_int8").exists() and not list(out.glob(".*"))


def test_the_places_of_all_formats_are_looked_at_before_any_work(make_model, make_data, tmp_path, no_work):
    model, check = make_model(num_layers=1), Check(tuple(make_data(2)))
    (tmp_path / "taken" / "onnx").mkdir(parents=True)
    (tmp_path / "taken" / "onnx" / "mine.txt").write_text("mine")
    refused_before_any_work(r"onnx is there already and is no model directory of this program \(mine.txt\)", model, tmp_path / "taken", check)
    (tmp_path / "t.csv").write_text("mine")
    refused_before_any_work("t.csv is no folder; name another place", model, tmp_path / "t.csv", check)
    with working(tmp_path / "out" / "onnx"), pytest.raises(ComflpError, match="onnx is in use by process"):
        export(model, tmp_path / "out", [INT8, FORMATS["onnx"]], check)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_the_packages_of_all_formats_are_asked_for_before_any_work(make_model, make_data, tmp_path, no_work, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    refused_before_any_work(f"export for onnx needs the package {package}; pip install 'comflp.export.' brings it",
                            make_model(num_layers=1), tmp_path / "out", Check(tuple(make_data(2))))


def test_those_that_exports_are_checked_with_are_asked_for_where_they_are_checked(make_model, make_data, tmp_path, no_work, monkeypatch):
    monkeypatch.setattr(exporting, "check_writers", lambda runtime: None)
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    with pytest.raises(ComflpError, match="checking an export for sherpa-onnx needs the package sherpa_onnx; pip install 'comflp.runtimes.'"):
        export(make_model(num_layers=1), tmp_path / "out", [INT8, FORMATS["sherpa-onnx"]], Check(tuple(make_data(2))))


def test_texts_that_the_normaliser_leaves_nothing_of_are_named_before_any_work(make_model, make_data, tmp_path, no_work, monkeypatch):
    monkeypatch.setattr(exporting, "check_writers", lambda runtime: None)
    dots = tuple(replace(utterance, text="...") for utterance in make_data(2))
    refused_before_any_work("the references are all empty", make_model(num_layers=1), tmp_path / "out", Check(dots, normaliser="basic"))


def test_a_file_that_cannot_be_written_is_no_fault_of_the_exporter(monkeypatch):
    def gone(*_, **__):
        raise FileNotFoundError(2, "No such file or directory", "out/.tmp-onnx/model.onnx")

    monkeypatch.setattr(onnx_files, "check_writers", lambda runtime: None)
    monkeypatch.setattr("torch.onnx.export", gone)
    with pytest.raises(FileNotFoundError):
        onnx_files.export_graph("wav2vec2", torch.nn.Linear(2, 2), [torch.zeros(1, 2)], None, Path("model.onnx"), ["x"], ["y"])


def test_a_format_that_is_named_twice_is_made_once():
    assert [form.name for form in formats_of(["onnx", "torch", "onnx"], ["int8", "int8"])] == ["onnx_int8", "torch_int8"]


def test_how_many_utterances_is_checked_before_any_work(capsys):
    with pytest.raises(SystemExit):
        main(["export", "nowhere", "--out", "out", "--num-utterances", "-3"])
    assert "'-3' is not a whole number from 0" in capsys.readouterr().err


def test_speechbrain_models_are_refused_before_any_work(tmp_path):
    model = load(make_speechbrain_model(tmp_path / "model", "ABC "), trust_hyperparams=True)
    for form in (INT8, FORMATS["onnx"], FORMATS["sherpa-onnx"]):
        with pytest.raises(ComflpError, match=f"cannot be exported as {form.name}: SpeechBrain models"):
            refuse(model, form)
