"""The tools for data directories in utils/: validate, subset, from CSV, from a Hugging Face datasets folder."""

import json
import shutil

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from comflp.data.audio import read_audio
from comflp.data.data_dir import Utterance, read_data_dir, write_data_dir


@pytest.fixture
def data_dir(write_wav, tmp_path):
    wav = write_wav("wavs/a.wav")
    write_data_dir(tmp_path / "data dir", [Utterance(f"u{i}", str(wav), f"text {i}", f"s{i % 2}", 1.0) for i in range(5)])
    return tmp_path / "data dir"


def test_validate_says_that_a_sound_directory_is_sound(data_dir, script):
    assert "sound; 5 utterances of 2 speakers, 0.00 h" in script("utils/validate_data_dir.sh", data_dir).stdout


def test_validate_lists_every_fault_with_file_and_line(data_dir, script, tmp_path):
    (data_dir / "text").write_text("u0 a\nu1\nu1 b\nu3 c\nu4 d\nu9 e\n")
    (tmp_path / "wavs" / "a.wav").write_bytes(b"RIFF")
    done = script("utils/validate_data_dir.sh", "--check-audio", data_dir, check=False)
    assert done.returncode == 1
    faults = done.stdout.splitlines()
    assert [fault.removeprefix(f"{data_dir}/") for fault in faults if "/text:" in fault] == [
        "text:2: utterance 'u1' has an empty transcript",
        "text:3: duplicate id 'u1', first on line 2",
        "text:6: utterance 'u9' has no line in wav.scp",
    ]
    assert f"{data_dir}/wav.scp:3: utterance 'u2' has no line in text" in faults
    assert sum("cannot be read as audio" in fault for fault in faults) == 5
    assert f"{len(faults)} faults" in done.stderr


def test_validate_takes_its_options(data_dir, script):
    (data_dir / "text").unlink()
    assert script("utils/validate_data_dir.sh", data_dir, check=False).returncode == 1
    assert "sound" in script("utils/validate_data_dir.sh", "--no-text", data_dir).stdout
    assert script("utils/validate_data_dir.sh", "--nothing", data_dir, check=False).returncode == 2
    assert "--check-audio" in script("utils/validate_data_dir.sh", "--help").stdout


def test_subset_draws_and_records(data_dir, script, tmp_path):
    arguments = ["utils/subset_data_dir.py", "--data", data_dir, "--out", tmp_path / "small", "--seed", 4, "--num-utterances"]
    script(*arguments, 2)
    assert len(read_data_dir(tmp_path / "small")) == 2
    record = json.loads((tmp_path / "small.json").read_text())
    assert record["options"] == {"num_utterances": 2, "seed": 4} and record["source"] == str(data_dir)
    assert "up to date" in script(*arguments, 2).stdout
    assert "num_utterances: 2 before, 3 now" in script(*arguments, 3, check=False).stderr
    assert "cannot draw 9 utterances" in script(*arguments, 9, "--force", check=False).stderr


@pytest.mark.parametrize("forced", [(), ("--force",)])
def test_subset_replaces_nothing_that_is_not_its_own(data_dir, script, tmp_path, forced):
    arguments = ["utils/subset_data_dir.py", "--data", data_dir, "--num-utterances", 2, *forced, "--out"]
    (tmp_path / "manifest.json").write_text('{"my": "manifest"}')
    assert "is no record of this script" in script(*arguments, tmp_path / "manifest", check=False).stderr
    assert (tmp_path / "manifest.json").read_text() == '{"my": "manifest"}' and not (tmp_path / "manifest").exists()
    write_data_dir(tmp_path / "train", list(read_data_dir(data_dir)))
    done = script(*arguments, tmp_path / "train", check=False)
    assert ("is there already; add --force" in done.stderr, len(read_data_dir(tmp_path / "train"))) == ((False, 2) if forced else (True, 5))
    assert all("has no name of its own" in script(*arguments, place, check=False).stderr for place in (".", ".."))


def test_a_damaged_record_is_made_again_with_force(data_dir, script, tmp_path):
    arguments = ["utils/subset_data_dir.py", "--data", data_dir, "--num-utterances", 2, "--out", tmp_path / "small"]
    script(*arguments)
    (tmp_path / "small.json").write_text('{"sta')
    assert "is damaged" in script(*arguments, check=False).stderr
    script(*arguments, "--force")
    assert json.loads((tmp_path / "small.json").read_text())["stage"] == "subset_data_dir"


def test_noise_is_as_loud_as_asked_and_follows_from_seed_and_id(write_wav, script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    speech = [Utterance(f"u{i}", str(write_wav(f"wavs/{i}.wav", seconds=0.5)), f"text {i}", "s", 0.5) for i in range(2)]
    write_data_dir(tmp_path / "clean", speech)
    arguments = ["utils/add_noise.py", "--data", tmp_path / "clean", "--snr", 10]
    script(*arguments, "--out", tmp_path / "noisy")
    clean, noisy = read_data_dir(tmp_path / "clean"), read_data_dir(tmp_path / "noisy")
    assert [(utterance.utt_id, utterance.text) for utterance in noisy] == [("u0", "text 0"), ("u1", "text 1")]
    noise = {}
    for before, after in zip(clean, noisy):
        before, after = read_audio(before, 16000), read_audio(after, 16000)
        noise[len(noise)] = after - before * (before @ after) / (before @ before)
        assert 10 * np.log10((after**2).mean() / (noise[len(noise) - 1] ** 2).mean() - 1) == pytest.approx(10, abs=0.5)
    assert not np.allclose(noise[0], noise[1], atol=1e-3)
    script(*arguments, "--out", tmp_path / "again")
    assert np.array_equal(read_audio(next(iter(read_data_dir(tmp_path / "again"))), 16000), read_audio(next(iter(noisy)), 16000))
    assert "--snr-to 5 is below --snr 10" in script(*arguments, "--snr-to", 5, "--out", tmp_path / "no", check=False).stderr
    assert "noisy is there already; add --force" in script(*arguments, "--out", tmp_path / "noisy", check=False).stderr
    shutil.rmtree(tmp_path / "again")
    script(*arguments, "--out", tmp_path / "again")  # as after a kill between the audio and the directory
    write_data_dir(tmp_path / "part", list(noisy)[:1])
    over = ["utils/add_noise.py", "--data", tmp_path / "part", "--snr", 5, "--out", tmp_path / "noisy", "--force"]
    assert "would be replaced while it is read" in script(*over, check=False).stderr
    assert len(list((tmp_path / "noisy_audio").glob("*.wav"))) == 2


def test_a_recipe_used_through_a_link_keeps_relative_paths(write_wav, script, tmp_path, monkeypatch):
    wav = write_wav("recipe/wavs/one.wav", seconds=0.5)
    (tmp_path / "link").symlink_to(tmp_path / "recipe")
    (tmp_path / "recipe" / "table.csv").write_text("wav,text\nwavs/one.wav,one\n")
    monkeypatch.chdir(tmp_path / "link")
    monkeypatch.setenv("PWD", str(tmp_path / "link"))
    script("utils/csv_to_data_dir.py", "--csv", tmp_path / "link" / "table.csv", "--out", "data", cwd=tmp_path / "link")
    (utterance,) = read_data_dir(tmp_path / "recipe" / "data")
    assert utterance.wav == "wavs/one.wav" and wav.exists()


def test_csv_with_only_paths_and_texts(write_wav, script, tmp_path, monkeypatch):
    write_wav("set/one.wav", seconds=0.5)
    write_wav("set/sub/two.wav", seconds=0.25)
    (tmp_path / "set" / "table.csv").write_text('wav,text\none.wav,"hello,  world"\nsub/two.wav,再见\n')
    script("utils/csv_to_data_dir.py", "--csv", "set/table.csv", "--out", "data/train")
    monkeypatch.chdir(tmp_path)
    assert list(read_data_dir("data/train")) == [Utterance("one", "set/one.wav", "hello, world", "one", 0.5),
                                                 Utterance("two", "set/sub/two.wav", "再见", "two", 0.25)]
    again = script("utils/csv_to_data_dir.py", "--csv", "set/table.csv", "--out", "data/train", check=False)
    assert again.returncode == 1 and "add --force to replace it" in again.stderr


def test_tsv_with_columns_of_its_own(write_wav, script, tmp_path, monkeypatch):
    write_wav("clips/x.wav")
    (tmp_path / "t.tsv").write_text("client_id\tpath\tsentence\tkey\nann\tclips/x.wav\thallo\tk1\n")
    script("utils/csv_to_data_dir.py", "--csv", "t.tsv", "--out", "d", "--wav-column", "path", "--text-column", "sentence",
           "--speaker-column", "client_id", "--id-column", "key")
    monkeypatch.chdir(tmp_path)
    assert list(read_data_dir("d")) == [Utterance("k1", "clips/x.wav", "hallo", "ann", 1.0)]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("wav,words\na.wav,x\n", "t.csv:1: there is no column text; the columns are wav, words"),
        ("wav,text\na.wav,x\n\nb.wav,y\n", "t.csv:4: there is no file b.wav"),
        ("wav,text\na.wav,\n", "t.csv:2: the row has no text"),
        ("wav,text\n,x\n", "t.csv:2: the row has no audio path"),
        ("wav,text\na.wav,x\na.wav,y\n", "t.csv:3: duplicate id 'a', first on line 2"),
        ("wav,text\na.wav,x\na.wav,y\na.wav,z\n", "(2 rows repeat an id); an utterance is named by its audio file here"),
        ("wav,text\n", "t.csv:1: there are no rows"),
        ('wav,text\na.wav,"x\n', "t.csv:2 cannot be read as a table"),
        ("wav,text\nbad.wav,x\n", "bad.wav cannot be read as audio"),
    ],
)
def test_a_bad_table_is_explained_with_file_and_line(write_wav, script, tmp_path, table, expected):
    write_wav("a.wav")
    (tmp_path / "bad.wav").write_bytes(b"x")
    (tmp_path / "t.csv").write_text(table)
    failed = script("utils/csv_to_data_dir.py", "--csv", "t.csv", "--out", "d", check=False)
    assert failed.returncode == 1 and expected in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "d").exists()


def write_hf(folder, rows, kind):
    """Rows in the files that datasets' save_to_disk (arrow) or a dataset repository (parquet) has."""
    folder.mkdir(parents=True)
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([("audio", audio), ("text", pyarrow.string()), ("who", pyarrow.int64())]))
    if kind == "parquet":
        pyarrow.parquet.write_table(table, folder / "train-00000-of-00001.parquet")
    else:
        with pyarrow.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}))


@pytest.mark.parametrize(("kind", "where"), [("arrow", "train"), ("parquet", "data")])
def test_a_datasets_folder_with_audio_inside(write_wav, script, tmp_path, monkeypatch, kind, where):
    rows = [{"audio": {"bytes": write_wav(f"{i}.flac", seconds=0.5 + i).read_bytes(), "path": f"{i}.flac"}, "text": f"text  {i}", "who": i}
            for i in range(2)]
    write_hf(tmp_path / "set" / where, rows, kind)
    script("utils/hf_to_data_dir.py", "--dataset", "set", "--split", "train", "--out", "data/train", "--speaker-column", "who")
    monkeypatch.chdir(tmp_path)
    data = read_data_dir("data/train")
    assert [(u.utt_id, u.wav, u.text, u.speaker, u.duration) for u in data] == [
        ("train-0000000", "data/train_audio/train-0000000.flac", "text 0", "0", 0.5),
        ("train-0000001", "data/train_audio/train-0000001.flac", "text 1", "1", 1.5),
    ]
    assert (tmp_path / data["train-0000001"].wav).read_bytes() == rows[1]["audio"]["bytes"]


def test_a_datasets_folder_that_names_its_audio(write_wav, script, tmp_path, monkeypatch):
    write_hf(tmp_path / "set", [{"audio": {"bytes": None, "path": str(write_wav("a.wav"))}, "text": "t", "who": 1}], "arrow")
    script("utils/hf_to_data_dir.py", "--dataset", "set", "--out", "train")
    monkeypatch.chdir(tmp_path)
    assert read_data_dir("train")["train-0000000"].wav == "a.wav"
    assert not (tmp_path / "train_audio").exists()


def test_a_bad_datasets_folder_is_explained(write_wav, script, tmp_path):
    good = {"audio": {"bytes": write_wav("a.wav").read_bytes(), "path": None}, "text": "t", "who": 1}
    write_hf(tmp_path / "set" / "train", [good, {**good, "text": None}, {**good, "audio": None}], "arrow")

    def explained(*arguments):
        done = script("utils/hf_to_data_dir.py", "--out", "out", *arguments, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr and not (tmp_path / "out").exists()
        return done.stderr

    assert "there is no folder none" in explained("--dataset", "none")
    assert "there are train" in explained("--dataset", "set")
    said = explained("--dataset", "set", "--split", "train")
    assert "arrow: row 2: the text is empty" in said and "arrow: row 3: column audio holds no audio" in said
    assert "has no column sentence; it has audio, text, who" in explained("--dataset", "set", "--split", "train", "--text-column", "sentence")
    (tmp_path / "set" / "train" / "data-00000-of-00001.arrow").write_bytes(b"not arrow")
    assert "data-00000-of-00001.arrow cannot be read" in explained("--dataset", "set", "--split", "train")
