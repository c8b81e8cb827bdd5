"""AISHELL-1's layout to Kaldi data directories, valid and probe; on a synthetic corpus of a few dozen utterances."""

import json
import shutil
from pathlib import Path

import pytest

from comflp.data.data_dir import read_data_dir
from fixtures.corpora import lay_out_aishell

TRANSCRIPT = "transcript/aishell_transcript_v0.8.txt"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return lay_out_aishell(tmp_path_factory.mktemp("aishell"))


@pytest.fixture
def corpus(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "downloads" / "data_aishell")


def prepare(script, *arguments, **options):
    return script("local/prepare_aishell.py", "--corpus", "downloads", *arguments, **options)


def test_the_three_sets_are_written(corpus, script, tmp_path, monkeypatch):
    said = prepare(script).stdout
    monkeypatch.chdir(tmp_path)
    data = {name: read_data_dir(f"data/{name}") for name in ("train", "dev", "test")}
    assert [len(d) for d in data.values()] == [24, 8, 8]
    first = data["train"].utterances[0]
    assert first.utt_id == "SYN009S0001W0001" and first.speaker == "S0001"
    assert first.wav == "downloads/data_aishell/wav/train/S0001/SYN009S0001W0001.wav"
    line = (corpus / TRANSCRIPT).read_text().splitlines()[0]
    assert " " in line.split(" ", 1)[1] and first.text == "".join(line.split()[1:])
    speakers = [{u.speaker for u in d} for d in data.values()]
    assert not speakers[0] & speakers[1] and not speakers[1] & speakers[2]
    assert "wrote data/{train,dev,test}; 0 transcripts have no wav file" in said


def test_wavs_and_transcripts_without_each_other_are_counted(corpus, script, tmp_path):
    (corpus / "wav/train/S0001/SYN009S0001W0001.wav").unlink()
    lines = (corpus / TRANSCRIPT).read_text().splitlines(keepends=True)
    (corpus / TRANSCRIPT).write_text("".join(line for line in lines if not line.startswith(("SYN009S0002W0001", "SYN009S0002W0002"))))
    said = prepare(script).stdout
    assert "data/train: 21 utterances" in said and "2 wavs without a transcript left out" in said
    assert "1 transcripts have no wav file" in said
    record = json.loads((tmp_path / "data/prepare.record.json").read_text())
    assert record["counts"]["train"] == {"utterances": 21, "wavs_without_transcript": 2}
    assert record["transcripts_without_wav"] == 1


def test_published_counts_are_checked_only_when_asked(corpus, script):
    assert "warning" not in prepare(script).stderr
    assert "train has 24 utterances, AISHELL-1 as published has 120,098" in prepare(script, "--force", "--check-counts", "true").stderr


def test_a_second_run_finds_it_up_to_date_and_a_moved_corpus_is_read_again(corpus, script, tmp_path):
    prepare(script)
    assert "up to date" in prepare(script).stdout
    (tmp_path / "downloads").rename(tmp_path / "elsewhere")
    script("local/prepare_aishell.py", "--corpus", "elsewhere")
    assert "elsewhere/data_aishell" in (tmp_path / "data/train/wav.scp").read_text()


def test_a_changed_corpus_is_refused_until_forced(corpus, script, tmp_path):
    prepare(script)
    (corpus / "wav/train/S0001/SYN009S0001W0001.wav").unlink()
    refused = prepare(script, check=False)
    assert refused.returncode == 1 and "wavs:" in refused.stderr and "--force" in refused.stderr
    prepare(script, "--force")
    assert len((tmp_path / "data/train/text").read_text().splitlines()) == 23


def broken_no_corpus(corpus):
    shutil.rmtree(corpus)
    return "holds no AISHELL-1"


def broken_duplicate(corpus):
    with open(corpus / TRANSCRIPT, "a") as file:
        file.write("SYN009S0001W0001 又 一 次\n")
    return f"{TRANSCRIPT}:41: duplicate id 'SYN009S0001W0001', first on line 1"


def broken_empty_transcript(corpus):
    lines = (corpus / TRANSCRIPT).read_text().splitlines()
    (corpus / TRANSCRIPT).write_text("\n".join([lines[0], lines[1].split()[0], *lines[2:]]) + "\n")
    return f"{TRANSCRIPT}:2: utterance 'SYN009S0001W0002' has an empty transcript"


def broken_wav(corpus):
    (corpus / "wav/dev/S0007/SYN009S0007W0001.wav").write_bytes(b"RIFF")
    return "wav/dev/S0007/SYN009S0007W0001.wav cannot be read as audio"


def broken_packed(corpus):
    shutil.rmtree(corpus / "wav" / "test")
    (corpus / "wav" / "test").mkdir()
    (corpus / "wav" / "S0009.tar.gz").write_bytes(b"")
    return "unpack the 1 archives beside it"


def broken_repeated_wav(corpus):
    shutil.copy(corpus / "wav/dev/S0007/SYN009S0007W0001.wav", corpus / "wav/dev/S0008")
    return "utterance 'SYN009S0007W0001' is twice in the corpus"


@pytest.mark.parametrize("damage", [broken_no_corpus, broken_duplicate, broken_empty_transcript, broken_wav, broken_packed,
                                    broken_repeated_wav])
def test_a_broken_corpus_is_explained_in_one_error(corpus, script, tmp_path, damage):
    expected = damage(corpus)
    failed = prepare(script, check=False)
    assert failed.returncode == 1 and expected in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "data" / "prepare.record.json").exists()
    assert not list(tmp_path.rglob(".tmp*"))


def test_valid_and_probe_are_drawn_and_recorded(corpus, script, tmp_path, monkeypatch):
    prepare(script)
    said = script("local/select_subsets.py", "--num-valid", 5, "--num-probe", 500, "--seed", 3).stdout
    assert "probe: 500 utterances asked for, train has 24: all of them are taken" in said
    monkeypatch.chdir(tmp_path)
    dev, train, valid, probe = (read_data_dir(f"data/{name}") for name in ("dev", "train", "valid", "probe"))
    assert len(valid) == 5 and all(utterance in dev.utterances for utterance in valid)
    assert probe.utterances == train.utterances
    record = json.loads((tmp_path / "data/subsets.json").read_text())
    assert record["drawn"]["valid"] == {"source": "dev", "num_utterances": 5, "seed": 3}
    assert "up to date" in script("local/select_subsets.py", "--num-valid", 5, "--num-probe", 500, "--seed", 3).stdout

    refused = script("local/select_subsets.py", "--num-valid", 5, "--num-probe", 500, "--seed", 3, "--valid-from", "test", check=False)
    assert refused.returncode == 1 and "valid_from" in refused.stderr
    script("local/select_subsets.py", "--num-valid", 5, "--valid-from", "test", "--force")
    assert all(utterance in read_data_dir("data/test").utterances for utterance in read_data_dir("data/valid"))


def test_subsets_follow_a_corrected_speaker(corpus, script, tmp_path, monkeypatch):
    prepare(script)
    monkeypatch.chdir(tmp_path)
    draws = [("local/select_subsets.py", "--num-valid", 5, "--num-probe", 8),
             ("utils/subset_data_dir.py", "--data", "data/dev", "--num-utterances", 5, "--out", "data/small")]
    for draw in draws:
        script(*draw)
        assert "up to date" in script(*draw).stdout
    speakers = Path("data/dev/utt2spk")
    speakers.write_text("".join(f"{line.split()[0]} another\n" for line in speakers.read_text().splitlines()))
    Path("data/dev/spk2utt").unlink(missing_ok=True)
    for draw, made in zip(draws, ("valid", "small")):
        assert "wrote" in script(*draw).stdout
        assert {utterance.speaker for utterance in read_data_dir(f"data/{made}")} == {"another"}


def test_train_needs_no_texts_and_a_corpus_may_move(corpus, script, tmp_path):
    prepare(script)
    (tmp_path / "data/train/text").unlink()
    options = ("--num-valid", 5, "--num-probe", 8)
    assert "wrote" in script("local/select_subsets.py", *options).stdout and not (tmp_path / "data/probe/text").exists()
    assert "up to date" in script("local/select_subsets.py", *options).stdout
    (tmp_path / "downloads/data_aishell").rename(tmp_path / "downloads/moved")
    for path in tmp_path.glob("data/*/wav.scp"):
        if path.parent.name not in ("valid", "probe"):
            path.write_text(path.read_text().replace("downloads/data_aishell/", "downloads/moved/"))
    assert "wrote" in script("local/select_subsets.py", *options).stdout, "valid and probe follow"
    assert "downloads/moved/" in (tmp_path / "data/probe/wav.scp").read_text()


def test_subsets_before_the_sets_name_the_stage_that_makes_them(script):
    failed = script("local/select_subsets.py", check=False)
    assert failed.returncode == 1 and "data/dev does not exist; stage 0" in failed.stderr
