"""comflp.prune and the command comflp: from any speech to a smaller model, with and without texts, resumed where it was killed."""

import re
import json

import numpy as np
import pytest
import soundfile
from fixtures.whisper import make_whisper
from huggingface_hub import ModelCard

import comflp
import comflp.models
from comflp.cli import main
from comflp.costs import ModelCosts
from comflp.data.audio import read_audio
from comflp.data.data_dir import subset
from comflp.data.sources import read_speech
from comflp.errors import ComflpError
from comflp.inference.decode import decode
from comflp.scoring import error_rate


@pytest.fixture
def folder(make_data, tmp_path):
    """A folder of 20 wav files, the data directory that they came of."""
    data = make_data(20)
    return tmp_path / "data-wav", data


def test_arrays_in_memory(make_model, folder, tmp_path):
    _, data = folder
    deep = make_model(4)
    arrays = [read_audio(utterance, deep.sample_rate) for utterance in data]
    result = comflp.prune(deep, arrays, target="layers=2", repair=16, sample_rate=deep.sample_rate)
    assert result.model.num_layers == 2 and deep.num_layers == 4 and result.proposal.num_removed == 2
    assert [step["step"] for step in result.history] == ["target", "coarse search", "repair", "held-out utterances"]
    assert result.standings["deep"].divergence == 0 and result.standings["pruned"].divergence > 0
    assert result.standings["repaired"].error_rate is None and result.num_held_out == 4
    result.save(tmp_path / "out")
    assert comflp.models.load(tmp_path / "out").num_layers == 2
    assert json.loads((tmp_path / "out" / "pruning.json").read_text())["steps"][0]["target"] == "layers=2"


def test_forms_of_speech_give_the_same_model(make_model, folder, tmp_path):
    wavs, data = folder
    deep = make_model(3)
    table = tmp_path / "wavs.csv"
    table.write_text("path\n" + "".join(f"{utterance.wav}\n" for utterance in data))
    forms = [wavs, str(table), [utterance.wav for utterance in data]]
    found = [comflp.prune(deep, form, target="layers=1", repair=0) for form in forms]
    assert len({str(result.proposal) for result in found}) == 1
    divergences = [result.standings["pruned"].divergence for result in found]
    assert divergences == pytest.approx([divergences[0]] * 3, rel=1e-5)


def test_texts_add_fine_search_and_error_rates(make_model, folder):
    _, data = folder
    deep = make_model(4)
    result = comflp.prune(deep, data.path, target="layers=1", repair=0, metric="wer")
    fine = next(step for step in result.history if step["step"] == "fine search")
    assert fine["results"][0]["proposal"] == str(result.proposal) and fine["metric"] == "wer"
    assert fine["results"] == sorted(fine["results"], key=lambda row: row["error_rate"])
    held_out = subset(data, 4, 0)
    texts = decode(deep.prune(result.proposal), held_out)
    expected = error_rate({u.utt_id: u.text for u in held_out}, texts, "wer").rate
    assert result.standings["pruned"].error_rate == pytest.approx(expected)


def test_the_smallest_model_within_an_increase(make_model, folder, tmp_path):
    _, data = folder
    deep = make_model(4)
    result = comflp.prune(deep, data.path, max_increase=300, repair=0)
    tried = {step["removed"]: step for step in result.history if step["step"] == "increase"}
    number = result.proposal.num_removed
    assert tried[number]["increase"] <= 300 and tried[number]["proposal"] == str(result.proposal)
    assert number == 3 or tried[number + 1]["increase"] > 300
    low, high = tried[number]["interval"]
    assert low <= tried[number]["increase"] <= high and len(tried) <= 2 and tried[number]["num_fitted"] == 0
    repaired = comflp.prune(deep, data.path, max_increase=300, repair=12)
    assert {step["num_fitted"] for step in repaired.history if step["step"] == "increase"} == {12}, "of all but the held-out ones, which are heard"

    own = decode(deep, data)  # texts that the whole model makes no error on, so that any change is one for the worse
    written = [utterance for utterance in data if own[utterance.utt_id]]
    table = tmp_path / "own.csv"
    table.write_text("wav,text\n" + "".join(f"{u.wav},{own[u.utt_id]}\n" for u in written))
    with pytest.raises(ComflpError, match=r"no layer can go within 0 points of CER: without 1 it rises by"):
        comflp.prune(deep, str(table), max_increase=0, repair=12)
    with pytest.raises(ComflpError, match="both say how small the model is to be"):
        comflp.prune(deep, data.path, target="layers=1", max_increase=1)
    with pytest.raises(ComflpError, match="''"):
        comflp.prune(deep, data.path, target="")
    with pytest.raises(ComflpError, match="takes speech with texts"):
        comflp.prune(deep, [utterance.wav for utterance in data], max_increase=1)
    for wrong in ({"repair": -3}, {"repair": 1}, {"repair": 2.5}, {"max_increase": -1}, {"max_increase": float("nan")}, {"metric": "ser"},
                  {"seed": -1}, {"target": 50}):
        with pytest.raises(ComflpError, match=f"{list(wrong)[0]} .*{re.escape(repr(list(wrong.values())[0]))}"):
            comflp.prune(deep, "speech that is not looked at", **wrong)


def test_a_killed_call_goes_on(make_model, folder, tmp_path, monkeypatch):
    _, data = folder
    deep, work = make_model(4), tmp_path / "work"
    expected = comflp.prune(deep, data.path, target="layers=2", repair=12)
    runs = []

    def killed(iterable, desc, total):
        runs.append((desc, total))
        if desc == "divergence":
            raise KeyboardInterrupt
        return iterable

    with pytest.raises(KeyboardInterrupt):
        comflp.prune(deep, data.path, target="layers=2", repair=12, work=work, progress=killed)
    monkeypatch.setattr("comflp.pruning.repaired_copy", None)  # it is done
    left = []
    found = comflp.prune(deep, data.path, target="layers=2", repair=12, work=work,
                         progress=lambda iterable, desc, total: left.append((desc, total)) or iterable)
    assert found.standings == expected.standings and found.proposal == expected.proposal
    assert sum(total for desc, total in left if "pruned models" in desc) == 0  # no search was run again


def test_too_little_speech_and_no_speech(make_model, make_data, tmp_path):
    deep = make_model(3)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ComflpError, match="at least 10 utterances are needed, and there are 5"):
        comflp.prune(deep, make_data(5).path)
    for speech, message in (([], "empty"), (tmp_path / "absent", "there is no .*absent"), (tmp_path / "bare", "holds neither wav.scp nor audio files")):
        with pytest.raises(ComflpError, match=message):
            comflp.prune(deep, speech)
    with pytest.raises(ComflpError, match="need sample_rate"):
        comflp.prune(deep, [np.zeros(800)] * 12)
    with pytest.raises(ComflpError, match="utterance 2 is not an array"):
        comflp.prune(deep, [np.zeros(800), np.array([np.nan])], sample_rate=8000)


def test_names_of_files(make_data, tmp_path):
    make_data(2)
    for name in ("a/x 1.wav", "b/x 1.wav"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "tree" / name, np.zeros(800), 8000)
    (tmp_path / "tree" / "notes.txt").write_text("no audio")
    assert [u.utt_id for u in read_speech(tmp_path / "tree", tmp_path / "made")] == ["a_x_1", "b_x_1"]
    files = sorted((tmp_path / "tree").rglob("*.wav"))
    assert [u.utt_id for u in read_speech(files, tmp_path / "made")] == ["000001_x_1", "000002_x_1"]


@pytest.mark.parametrize(("content", "message"), [
    ("name\nx.wav\n", "there is no column wav or path"), ("wav\nabsent.wav\n", r"t.csv:2: there is no file"), ("wav\n", "there are no rows"),
    ("wav,text\ndata-wav/u000.wav,\n", "the row has no text"),
])
def test_faults_of_tables(make_data, tmp_path, content, message):
    make_data(1)
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ComflpError, match=message):
        read_speech(tmp_path / "t.csv", tmp_path / "made")


def test_the_command_from_wavs_to_text(make_model, folder, tmp_path, capsys):
    wavs, data = folder
    make_model(4).save(tmp_path / "deep")
    arguments = ["prune", str(tmp_path / "deep"), "--data", str(wavs), "--target", "layers=2", "--out", str(tmp_path / "small"), "--repair", "12"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "removing half of the encoder's layers" in shown and "(2 of 4)" in shown and "divergence" in shown and "CER" not in shown
    assert not (tmp_path / ".small.work").exists()
    assert ModelCosts.read(tmp_path / "small" / "costs.json").num_layers == {"encoder": 4}
    assert main(arguments) == 1
    assert "is there already" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0 and (tmp_path / "small" / "pruning.json").exists()
    capsys.readouterr()
    assert main(["info", str(tmp_path / "small")]) == 0
    shown = capsys.readouterr().out
    assert "encoder: 2 layers" in shown and "of 4 are gone, repaired on 12 utterances" in shown
    assert main(["transcribe", str(tmp_path / "small"), data.utterances[0].wav]) == 0
    assert capsys.readouterr().out.startswith(data.utterances[0].wav + "\t")
    assert main(["evaluate", str(tmp_path / "small"), "--data", str(data.path), "--out", str(tmp_path / "scores")]) == 0
    assert "CER" in capsys.readouterr().out and (tmp_path / "scores" / "score.json").exists()
    assert main(["evaluate", str(tmp_path / "small"), "--data", str(wavs), "--out", str(tmp_path / "texts")]) == 0
    assert len((tmp_path / "texts" / "hyp").read_text().splitlines()) == len(data)
    for _ in range(2):  # the second replaces the first
        assert main(["export", str(tmp_path / "small"), "--out", str(tmp_path / "exported"), "--to", "torch", "--data", str(data.path)]) == 0
    assert main(["transcribe", str(tmp_path / "exported" / "torch_int8"), data.utterances[0].wav]) == 0


def test_texts_are_on_the_last_screen(make_model, folder, tmp_path, capsys):
    _, data = folder
    make_model(4).save(tmp_path / "deep")
    arguments = ["--data", str(data.path), "--target", "speedup=1.05@2", "--out", str(tmp_path / "small"), "--repair", "0"]
    assert main(["prune", str(tmp_path / "deep"), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "as measured here" in shown and "CER" in shown and "by seconds" in shown and "batch of 2 utterances" in shown
    [score] = ModelCard.load(tmp_path / "small" / "README.md").data.eval_results
    assert f"{score.metric_value:.2f}% pruned" in shown and score.dataset_name == "4 utterances that no step has seen"


def test_errors_are_one_line(make_model, folder, tmp_path, capsys):
    wavs, _ = folder
    make_model(3).save(tmp_path / "deep")
    for arguments, status, message in (
        ([], 2, "usage: comflp COMMAND"), (["prnue"], 2, "no command 'prnue'"), (["report", str(tmp_path / "absent")], 1, "does not exist"),
        (["info", str(tmp_path)], 1, "is not a model directory"),
        (["prune", str(tmp_path / "deep"), "--data", str(wavs), "--out", str(tmp_path), "--force"], 1, "was not made by comflp prune"),
        (["prune", str(tmp_path / "deep"), "--data", str(wavs), "--target", "params=0%", "--out", str(tmp_path / "o")], 1, "cannot be reached"),
        (["prune", str(tmp_path / "deep"), "--data", str(wavs), "--target", "half", "--out", str(tmp_path / "o")], 1, "NAME=VALUE"),
    ):
        assert main(arguments) == status
        shown = capsys.readouterr().err
        assert message in shown and "Traceback" not in shown
    assert main(["--version"]) == 0 and capsys.readouterr().out == f"comflp {comflp.__version__}\n"


def test_a_stack_of_one_layer_stands_beside_one_that_is_pruned(tmp_path):
    deep = comflp.models.load(make_whisper(tmp_path / "deep", encoder_layers=3, decoder_layers=1, seed=7, ends=True), language="it")
    waveforms = [0.2 * np.random.default_rng(number).standard_normal(9000 + 400 * number) for number in range(12)]
    result = comflp.prune(deep, waveforms, target="encoder=1", repair=0, sample_rate=16000)
    assert {name: stack.num_layers for name, stack in result.model.stacks.items()} == {"encoder": 2, "decoder": 1}


def test_two_stacks_are_pruned_together(tmp_path):
    """Of a small random Whisper: layers of both stacks, or of either, whichever reaches the target at the least divergence."""
    directory = make_whisper(tmp_path / "deep", encoder_layers=3, decoder_layers=3, seed=7, ends=True)
    deep = comflp.models.load(directory, language="it")
    waveforms = [0.2 * np.random.default_rng(number).standard_normal(9000 + 400 * number) for number in range(12)]
    result = comflp.prune(deep, waveforms, target="encoder=1+decoder=1", repair=4, sample_rate=16000, metric="wer")
    assert {name: stack.num_layers for name, stack in result.model.stacks.items()} == {"encoder": 2, "decoder": 2}
    found = {step["step"]: step for step in result.history}
    candidates = found["coarse search"]["candidates"]
    assert found["coarse search"]["measure"] == "repair" and len(candidates) == 9 and "free runs" not in found
    assert str(result.proposal) == candidates[0]["proposal"] == found["repair"]["proposal"]
    qualities = [candidate["quality"] for candidate in candidates]
    assert qualities == sorted(qualities, reverse=True) and qualities[0] < 0
    untouched = comflp.prune(deep, waveforms, target="encoder=1+decoder=1", repair=0, sample_rate=16000, metric="wer")
    steps = {step["step"]: step for step in untouched.history}
    assert (steps["coarse search"]["measure"], steps["free runs"]["measure"]) == ("kl", "kl+text")
    assert str(untouched.proposal) == steps["free runs"]["candidates"][0]["proposal"] and "repair" not in steps
    assert result.standings["pruned"].divergence > 0 and "repaired" in result.standings
    result.save(tmp_path / "pruned")
    assert comflp.models.load(tmp_path / "pruned").origin["pruning"][-1]["removed"] == str(result.proposal)


def test_a_killed_calls_model_is_not_another_proposals(make_model, folder, tmp_path, monkeypatch):
    """One call is killed after its repair, another one between the model and the key that it goes by."""
    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    wavs, _ = folder
    options = {"repair": 6, "work": tmp_path / "work"}
    for target, killed in (("layers=1", "_Run._look"), ("layers=2", "write_json")):
        with monkeypatch.context() as patched:
            patched.setattr(f"comflp.pruning.{killed}", dies)
            with pytest.raises(Killed):
                comflp.prune(make_model(4), wavs, target, **options)
    assert comflp.prune(make_model(4), wavs, "layers=1", **options).model.num_layers == 3


def test_an_earlier_result_that_one_is_in_is_not_replaced(make_model, folder, tmp_path, monkeypatch, capsys):
    wavs, _ = folder
    make_model(3).save(tmp_path / "deep")
    words = ["prune", str(tmp_path / "deep"), "--data", str(wavs), "--target", "layers=1", "--repair", "0"]
    assert main([*words, "--out", str(tmp_path / "small")]) == 0
    monkeypatch.chdir(tmp_path / "small")
    assert main([*words, "--out", ".", "--force"]) == 1
    assert "it is the current folder or holds it" in capsys.readouterr().err and (tmp_path / "small" / "config.json").exists()


@pytest.mark.parametrize("words", [("--seed", "-1"), ("--repair", "-1")])
def test_numbers_are_checked_before_any_work(words, capsys):
    with pytest.raises(SystemExit):
        main(["prune", "nowhere", "--data", "nowhere", "--out", "small", *words])
    assert "is not a whole number from 0" in capsys.readouterr().err
