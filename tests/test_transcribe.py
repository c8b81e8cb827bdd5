"""comflp transcribe: any rate, any length, any model directory; clear errors for what is no audio."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from fixtures.transducers import make_rnnt, make_tdt
from fixtures.whisper import make_whisper

from comflp.artifacts import write_json
from comflp.cli import main
from comflp.deploy import recognition
from comflp.deploy.description import describe
from comflp.inference.decode import decode
from comflp.inference.journal import work_key
from comflp.models import load
from comflp.replacing import MARK


@pytest.fixture
def recipe(make_model, make_data, tmp_path):
    """(model directory, data, what decoding gives)."""
    model, data = make_model(num_layers=3), make_data(4)
    model.save(tmp_path / "model")
    return tmp_path / "model", data, decode(model, data)


def test_each_file_is_a_line_with_the_text_that_decoding_gives(recipe, capsys):
    directory, data, texts = recipe
    assert main(["transcribe", str(directory), *(utterance.wav for utterance in data)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{utterance.wav}\t{texts[utterance.utt_id]}" for utterance in data]


def test_any_rate_and_channels(recipe, tmp_path, capsys):
    directory, data, _ = recipe
    samples, rate = soundfile.read(data.utterances[0].wav)
    soundfile.write(tmp_path / "stereo.flac", np.stack([samples, samples], axis=1), rate * 2)
    assert main(["transcribe", str(directory), str(tmp_path / "stereo.flac")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'stereo.flac'}\t")


def test_a_name_that_is_no_utf8_is_printed_as_it_is(recipe):
    directory, data, texts = recipe
    odd, utterance = os.fsencode(directory.parent) + b"/caf\xe9.wav", data.utterances[0]
    shutil.copyfile(utterance.wav, odd)
    done = subprocess.run([sys.executable, "-m", "comflp", "transcribe", str(directory), odd], capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert (done.returncode, done.stdout) == (0, odd + f"\t{texts[utterance.utt_id]}\n".encode()), done.stderr


def test_a_name_with_a_line_break_is_printed_in_one_line(recipe, tmp_path, capsys):
    directory, data, texts = recipe
    shutil.copyfile(data.utterances[0].wav, tmp_path / "a\tb\nc.wav")
    assert main(["transcribe", str(directory), str(tmp_path / "a\tb\nc.wav"), str(tmp_path / "nothere\nx.wav")]) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}/a\\tb\\nc.wav\t{texts[data.utterances[0].utt_id]}\n"
    assert printed.err.startswith("comflp: error: ") and printed.err.count("\n") == 1 and "nothere\\nx.wav" in printed.err


@pytest.mark.parametrize("content", [b"", b"RIFF", b"this is a letter, not speech"])
def test_what_is_no_audio_is_named_and_the_rest_goes_on(recipe, tmp_path, capsys, content):
    directory, data, texts = recipe
    (tmp_path / "letter.wav").write_bytes(content)
    utterance = data.utterances[0]
    assert main(["transcribe", str(directory), str(tmp_path / "letter.wav"), str(tmp_path / "absent.wav"), utterance.wav]) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{utterance.wav}\t{texts[utterance.utt_id]}\n"
    assert "letter.wav" in printed.err and "there is no file" in printed.err and "Traceback" not in printed.err


def test_a_directory_that_is_no_model_is_named(tmp_path, capsys):
    assert main(["transcribe", str(tmp_path), "x.wav"]) == 1
    assert f"{tmp_path} is not a model directory" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "soon"])
def test_chunk_length_has_to_be_positive(tmp_path, text):
    with pytest.raises(SystemExit):
        main(["transcribe", str(tmp_path), "x.wav", f"--chunk-seconds={text}"])


def test_very_short_audio_is_padded(recipe, tmp_path, capsys):
    directory, _, _ = recipe
    soundfile.write(tmp_path / "click.wav", np.array([0.5]), 8000)
    assert main(["transcribe", str(directory), str(tmp_path / "click.wav")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("num_samples", [1, 7, 400, 401, 999, 1000, 1001, 12345])
@pytest.mark.parametrize(("step", "chunk", "context", "minimum"), [(4, 400, 40, 1), (4, 401, 3, 10), (7, 7, 0, 7), (3, 1, 50, 2)])
def test_chunks_keep_every_frame_once(num_samples, step, chunk, context, minimum):
    kept = []
    for start, end, first, last in recognition.chunks(num_samples, step, chunk, context, minimum):
        assert start % step == 0 and 0 <= start < end <= num_samples
        frames = range(start // step, -(-end // step))
        kept += list(frames)[first:last]
        assert end - start >= min(minimum, num_samples)
    assert kept == list(range(-(-num_samples // step)))


def test_long_audio_in_chunks_reads_as_in_one_piece_where_the_model_looks_nearby(make_model, make_data):
    model = make_model(num_layers=1)
    for layer in model.stacks["encoder"].layers:
        layer.self_attn.out_proj.weight.data.zero_()
        layer.self_attn.out_proj.bias.data.zero_()
    model.positions.pe.zero_()
    recognizer = recognition.of_model(model)
    waveform = np.random.default_rng(0).uniform(-0.3, 0.3, 8000 * 40).astype(np.float32)
    whole, pieces = recognizer.text(waveform, chunk_seconds=100), recognizer.text(waveform, chunk_seconds=5)
    assert len(whole) > 100
    import jiwer

    assert jiwer.cer(whole, pieces) < 0.05


@pytest.mark.parametrize("chunk_seconds", [1e-9, 0.3, 7.0, 400.0, 1e308])
def test_pieces_are_such_as_the_model_bears(make_model, chunk_seconds):
    recognizer, heard = recognition.of_model(make_model(num_layers=1)), []

    def logits(piece):
        heard.append(len(piece))
        return recognizer.logits(piece)

    assert recognizer.longest == pytest.approx(239.99)
    watched = dataclasses.replace(recognizer, longest=9.99, logits=logits)
    watched.text(np.random.default_rng(0).uniform(-0.3, 0.3, 8000 * 10).astype(np.float32), chunk_seconds)
    assert len(heard) > 1 and recognizer.minimum_samples <= min(heard) and max(heard) <= 9.99 * 8000
    pieces = []
    texts = recognition.TextRecognizer(8000, "onnx", "a runtime", 1, 1, None, 800, 9.99, lambda piece: pieces.append(len(piece)) or "a")
    texts.text(np.zeros(8000 * 10, dtype=np.float32), chunk_seconds)
    assert sum(pieces) == 8000 * 10 and 800 <= min(pieces) and max(pieces) <= 9.99 * 8000


def test_a_file_that_a_runtime_fails_on_is_named_and_the_rest_goes_on(recipe, tmp_path, capsys, monkeypatch):
    directory, data, texts = recipe
    model, wavs = load(directory), [utterance.wav for utterance in data]

    class Session:
        def get_inputs(self):
            return ["waveforms", "num_samples"]

        def run(self, names, given):
            if given["num_samples"][0] == len(soundfile.read(wavs[0])[0]):
                raise RuntimeError("[ONNXRuntimeError] : 2\nGather is out of bounds")
            return [recognition.of_model(model).logits(given["waveforms"][0])[None].numpy()]

    (tmp_path / "onnx").mkdir()
    model.tokenizer.save(tmp_path / "onnx")
    write_json(tmp_path / "onnx" / "export.json", describe(model, "onnx", reads="waveforms"))
    monkeypatch.setattr(recognition, "session", lambda path, num_threads: Session())
    pytest.importorskip("onnxruntime")
    assert main(["transcribe", str(tmp_path / "onnx"), *wavs]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{utterance.wav}\t{texts[utterance.utt_id]}" for utterance in data.utterances[1:]]
    assert printed.err.startswith(f"comflp: error: {wavs[0]}: onnxruntime ") and "Gather is out of bounds" in printed.err


@pytest.mark.parametrize("make", [make_rnnt, make_tdt])
def test_a_transducer_writes_what_decoding_gives(make, make_data, tmp_path, capsys):
    directory, data = make(tmp_path / "model"), make_data(3)
    assert main(["transcribe", str(directory), *(utterance.wav for utterance in data)]) == 0
    texts = decode(load(directory), data)
    assert capsys.readouterr().out.splitlines() == [f"{utterance.wav}\t{texts[utterance.utt_id]}" for utterance in data]


def test_the_language_is_asked_for(make_data, tmp_path, capsys):
    directory, data = make_whisper(tmp_path / "model", encoder_layers=1, decoder_layers=1), make_data(1)
    assert main(["transcribe", str(directory), data.utterances[0].wav]) == 1
    assert "say which one with --language" in capsys.readouterr().err
    assert main(["transcribe", str(directory), data.utterances[0].wav, "--language", "it"]) == 0
    italian, english = (load(directory, language=language) for language in ("it", "en"))
    assert work_key(italian, data, []) != work_key(english, data, []), "work in one language is not gone on with in another"
    before = work_key(italian, data, [])
    italian.model.generation_config.suppress_tokens = [5]
    other = work_key(italian, data, [])
    italian.processor.feature_extractor.dither = 0.5
    assert len({before, other, work_key(italian, data, [])}) == 3, "nor with other settings"


def test_an_evaluation_without_texts_leaves_no_scores_of_another(recipe, tmp_path, capsys):
    directory, data, _ = recipe
    out = tmp_path / "scores"
    assert main(["evaluate", str(directory), "--data", str(data.path), "--out", str(out)]) == 0
    assert (out / "score.json").exists()
    (tmp_path / "wavs").mkdir()
    soundfile.write(tmp_path / "wavs" / "one.wav", np.zeros(8000), 8000)
    assert main(["evaluate", str(directory), "--data", str(tmp_path / "wavs"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [MARK, "hyp"]


@pytest.mark.parametrize("place, said", [("data", "it is or holds"), ("data/scores", "lies in it"), ("mine", "is no evaluation of this program"),
                                         ("scored", "add --force")])
def test_an_evaluation_replaces_nothing_of_the_users(recipe, tmp_path, capsys, place, said):
    directory, data, _ = recipe
    assert data.path == tmp_path / "data"
    for folder, name in (("mine", "ref"), ("scored", "score.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("my own")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert main(["evaluate", str(directory), "--data", str(tmp_path / "data"), "--out", str(tmp_path / place)]) == 1
    assert said in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")}


def test_an_evaluation_compares_as_pruning_does(recipe, tmp_path, capsys):
    """Capitals that the model cannot write are told, and compared without case where that is asked for."""
    model, data, _ = recipe
    (data.path / "text").write_text("".join(f"{utterance.utt_id} {utterance.text.upper()}\n" for utterance in data))
    words = ["evaluate", str(model), "--data", str(data.path), "--out", str(tmp_path / "out")]
    assert main(words) == 1 and "--normaliser basic" in capsys.readouterr().err
    assert main([*words, "--normaliser", "basic"]) == 0
    assert json.loads((tmp_path / "out" / "score.json").read_text())["normaliser"] == "basic"
    assert "wrote" in capsys.readouterr().out and main([*words, "--normaliser", "basic", "--metric", "wer"]) == 0
    assert ": WER " in capsys.readouterr().out, "the rate that was asked for comes first"
    assert json.loads((tmp_path / "out" / "score.json").read_text())["data"] == str(data.path)


def test_texts_that_the_normaliser_leaves_nothing_of_are_named_before_decoding(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("comflp.inference.decode.decode", lambda *_, **__: pytest.fail("decoded"))
    directory, data, _ = recipe
    (data.path / "text").write_text("".join(f"{utterance.utt_id} ...\n" for utterance in data))
    words = ["evaluate", str(directory), "--data", str(data.path), "--out", str(tmp_path / "out"), "--normaliser", "basic"]
    assert main(words) == 1 and "all empty, as the normaliser 'basic' leaves them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out.work"))


@pytest.mark.parametrize("out", [".", ".."])
def test_an_evaluation_does_not_replace_the_folder_that_one_is_in(recipe, tmp_path, monkeypatch, capsys, out):
    (tmp_path / "some" / "where").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "some" / "where")
    assert main(["evaluate", str(recipe[0]), "--data", str(recipe[1].path), "--out", out]) == 1
    assert "is the current folder or holds it" in capsys.readouterr().err and not list(tmp_path.rglob(".*.work"))
