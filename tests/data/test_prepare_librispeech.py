"""LibriSpeech's layout to Kaldi data directories; on synthetic parts of a few utterances."""

import shutil

import pytest

from comflp.data.data_dir import read_data_dir
from fixtures.corpora import lay_out_librispeech

SCRIPT = "recipes/librispeech/local/prepare_librispeech.py"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return lay_out_librispeech(tmp_path_factory.mktemp("librispeech"), {"train-clean-100": 2, "train-clean-360": 1, "dev-clean": 1,
                                                                       "test-clean": 1, "test-other": 1})


@pytest.fixture
def corpus(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "LibriSpeech")


def test_parts_become_sets_and_text_stays_the_corpus_own(corpus, script, tmp_path, monkeypatch):
    script(SCRIPT, "--corpus", ".", "--train", "train-clean-100 train-clean-360")
    monkeypatch.chdir(tmp_path)
    data = {name: read_data_dir(f"data/{name}") for name in ("train", "dev", "test", "test_other")}
    assert [len(d) for d in data.values()] == [12, 4, 4, 4]
    utterance = data["dev"].utterances[0]
    folder = f"LibriSpeech/dev-clean/{utterance.speaker}/198"
    assert utterance.wav == f"{folder}/{utterance.utt_id}.flac" and utterance.utt_id.startswith(f"{utterance.speaker}-198-")
    transcript = next((tmp_path / folder).glob("*.trans.txt")).read_text()
    assert f"{utterance.utt_id} {utterance.text}\n" in transcript and utterance.text.isupper()


def test_lower_case_for_models_with_lower_case_letters(corpus, script, tmp_path, monkeypatch):
    script(SCRIPT, "--corpus", ".")
    refused = script(SCRIPT, "--corpus", ".", "--letter-case", "lower", check=False)
    assert refused.returncode == 1 and "letter_case" in refused.stderr
    monkeypatch.chdir(tmp_path)
    upper = read_data_dir("data/train")
    script(SCRIPT, "--corpus", ".", "--letter-case", "lower", "--force")
    assert [u.text for u in read_data_dir("data/train")] == [u.text.lower() for u in upper]
    assert "up to date" in script(SCRIPT, "--corpus", ".", "--letter-case", "lower").stdout


def damage_no_part(corpus):
    shutil.rmtree(corpus / "test-other")
    return "has no LibriSpeech/test-other"


def damage_missing_audio(corpus):
    audio = sorted((corpus / "dev-clean").rglob("*.flac"))[1]
    audio.unlink()
    return f".trans.txt:2: there is no {audio.name}"


def damage_missing_line(corpus):
    transcript = next((corpus / "dev-clean").rglob("*.trans.txt"))
    lines = transcript.read_text().splitlines(keepends=True)
    transcript.write_text("".join(lines[1:]))
    return f"{transcript.name}: has no line for {lines[0].split()[0]}.flac"


def damage_empty_line(corpus):
    transcript = next((corpus / "dev-clean").rglob("*.trans.txt"))
    lines = transcript.read_text().splitlines()
    transcript.write_text("\n".join([lines[0].split()[0], *lines[1:]]) + "\n")
    return f"{transcript.name}:1: utterance '{lines[0].split()[0]}' has an empty transcript"


def damage_audio(corpus):
    audio = next((corpus / "train-clean-100").rglob("*.flac"))
    audio.write_bytes(audio.read_bytes()[:20])
    return f"{audio.name} cannot be read as audio"


@pytest.mark.parametrize("damage", [damage_no_part, damage_missing_audio, damage_missing_line, damage_empty_line, damage_audio])
def test_a_broken_part_is_explained_in_one_error(corpus, script, tmp_path, damage):
    expected = damage(corpus)
    failed = script(SCRIPT, "--corpus", ".", check=False)
    assert failed.returncode == 1 and expected in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "data" / "prepare.record.json").exists()


def test_a_corpus_in_another_place_is_read_from_there(corpus, script, tmp_path):
    script(SCRIPT, "--corpus", ".")
    assert "up to date" in script(SCRIPT, "--corpus", ".").stdout
    shutil.copytree(corpus, tmp_path / "noisy" / "LibriSpeech")
    assert "up to date" not in script(SCRIPT, "--corpus", "noisy").stdout, "the same texts, and other recordings"
    assert "noisy/LibriSpeech" in (tmp_path / "data" / "dev" / "wav.scp").read_text()


def test_a_correction_by_hand_is_not_lost(corpus, script, tmp_path):
    script(SCRIPT, "--corpus", ".")
    text = tmp_path / "data" / "test" / "text"
    corrected = text.read_text().replace(" ", " AS IT WAS SAID ", 1)
    text.write_text(corrected)
    refused = script(SCRIPT, "--corpus", ".", check=False)
    assert refused.returncode == 1 and "data/test/text was changed after stage 0, prepare_librispeech wrote it; make the change in the corpus" in refused.stderr
    assert text.read_text() == corrected
    script(SCRIPT, "--corpus", ".", "--force")
    assert text.read_text() != corrected
