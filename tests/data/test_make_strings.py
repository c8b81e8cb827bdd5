"""Digit strings from recordings of digits: a synthetic corpus in the dataset's form, and the real one where it is."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from comflp.data.data_dir import read_data_dir
from fixtures.corpora import ROOT, lay_out_fsdd

SCRIPT = "recipes/fsdd/local/make_strings.py"
REAL = ROOT.parent / "shared" / "fsdd"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return lay_out_fsdd(tmp_path_factory.mktemp("fsdd"))


@pytest.fixture(scope="module")
def make_strings():
    sys.path[:0] = [str(ROOT / "local"), str(ROOT / "recipes" / "fsdd" / "local")]
    try:
        import make_strings
    finally:
        del sys.path[:2]
    return make_strings


def make(script, corpus, *arguments, **options):
    return script(SCRIPT, "--corpus", corpus, "--num-train", 12, "--num-short", 4, "--num-dev", 6, "--num-test", 6, *arguments, **options)


def least_seconds(text):
    """What CTC needs at 40 ms a frame: a frame a letter and one between equal letters, spaces apart."""
    return sum(0.04 * (len(word) + sum(a == b for a, b in zip(word, word[1:])) + 2) for word in text.split())


def test_strings_are_real_wav_files_long_enough_for_ctc(corpus, script, tmp_path, monkeypatch):
    make(script, corpus)
    monkeypatch.chdir(tmp_path)
    for name, count in (("train", 16), ("dev", 6), ("test", 6)):
        data = read_data_dir(f"data/{name}")
        assert len(data) == count and {u.speaker for u in data} == {"anna", "bert"}
        for utterance in data:
            info = soundfile.info(utterance.wav)
            assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "PCM_16")
            assert info.frames == round(utterance.duration * 8000)
            words = utterance.text.split()
            assert 1 <= len(words) <= 7 and set(words) <= set("zero one two three four five six seven eight nine".split())
            assert utterance.duration > least_seconds(utterance.text)
        assert sum(len(utterance.text.split()) < 3 for utterance in data) <= (4 if name == "train" else 0)


def test_a_fast_word_gets_its_slot_and_no_sample_is_lost(make_strings):
    assert make_strings.slot_seconds("three") == pytest.approx(0.32)
    assert make_strings.slot_seconds("six") == pytest.approx(0.20)
    fast = np.full(800, 0.5, dtype=np.float32)
    string = make_strings.join_digits([fast, fast, fast], ["three"] * 3, np.random.default_rng(0))
    assert len(string) >= 3 * 0.32 * 8000
    sounding = np.abs(string) > 0.25
    assert sounding.sum() == 3 * 800


def test_sets_share_no_recording(make_strings):
    train, dev, test = (set(make_strings.TAKES[name]) for name in ("train", "dev", "test"))
    assert dev | test == {0, 1, 2, 3, 4} and train == set(range(5, 50)) and not dev & test


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus, script, tmp_path):
    strings = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make(script, corpus, "--data", name, "--seed", seed)
        strings.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.wav")})
    assert len(strings[0]) == 28 and strings[0] == strings[1]
    assert strings[0].keys() == strings[2].keys() and not set(strings[0].values()) & set(strings[2].values())


def test_a_second_run_is_up_to_date_and_lost_strings_are_made_again(corpus, script, tmp_path):
    make(script, corpus)
    assert "up to date" in make(script, corpus).stdout
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    shutil.rmtree(tmp_path / "data" / "strings" / "dev")
    make(script, corpus)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.wav")} == before


def test_a_missing_corpus_is_explained(script, tmp_path):
    failed = make(script, tmp_path / "nowhere", check=False)
    assert failed.returncode == 1 and "there is no folder" in failed.stderr and "download.sh" in failed.stderr
    assert "--corpus" in script(SCRIPT, check=False).stderr


def test_an_incomplete_corpus_is_explained(corpus, script, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "copy")
    for take in (0, 1):
        (copy / "recordings" / f"3_anna_{take}.wav").unlink()
    failed = make(script, copy, check=False)
    assert failed.returncode == 1 and "no takes of set dev for digit 3 of anna" in failed.stderr
    (copy / "recordings" / "three_anna.wav").write_bytes(b"")
    assert "three_anna.wav: the name is not {digit}_{speaker}_{take}.wav" in make(script, copy, check=False).stderr
    shutil.rmtree(copy / "recordings")
    (copy / "recordings").mkdir()
    assert "no wav files at all" in make(script, copy, check=False).stderr


def test_unseen_speakers_are_in_dev_and_test_alone(corpus, script, tmp_path, monkeypatch):
    make(script, corpus, "--unseen-speakers", "bert")
    monkeypatch.chdir(tmp_path)
    speakers = {name: {utterance.speaker for utterance in read_data_dir(f"data/{name}")} for name in ("train", "dev", "test")}
    assert speakers == {"train": {"anna"}, "dev": {"bert"}, "test": {"bert"}}
    changed = make(script, corpus, check=False)
    assert changed.returncode == 1 and "unseen speakers" in changed.stderr
    for named, said in (("bert carl", "there is no speaker carl among anna, bert"), ("anna bert", "names all 2 speakers")):
        failed = make(script, corpus, "--unseen-speakers", named, check=False)
        assert failed.returncode == 1 and said in failed.stderr


def test_an_unreadable_recording_is_named_and_leaves_no_set(corpus, script, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "copy")
    (copy / "recordings" / "3_anna_5.wav").write_bytes(b"RIFF")
    failed = make(script, copy, check=False)
    assert failed.returncode == 1 and "3_anna_5.wav cannot be read as audio" in failed.stderr
    assert not list((tmp_path / "data").rglob("*.wav"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the Free Spoken Digit Dataset is not beside the repository")
def test_the_real_dataset(script, tmp_path, monkeypatch):
    said = make(script, REAL).stdout
    assert "3,000 recordings of 6 speakers" in said
    monkeypatch.chdir(tmp_path)
    data = read_data_dir("data/train")
    assert {u.speaker for u in data} == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    assert all(utterance.duration > least_seconds(utterance.text) for utterance in data)
    assert all(Path(utterance.wav).is_file() for utterance in data)
