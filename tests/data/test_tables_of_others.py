"""Tables that others wrote: Common Voice's tsv, spreadsheets, datasets folders with caches; and what Macs leave beside files."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from comflp.data.data_dir import read_data_dir
from comflp.data.sources import read_speech
from comflp.errors import ComflpError

COMMON_VOICE = ["--wav-column", "path", "--text-column", "sentence", "--speaker-column", "client_id"]


@pytest.fixture
def clips(write_wav):
    for name in "abcdefgh":
        write_wav(f"{name}.wav", seconds=0.1)


def texts(folder):
    return (folder / "text").read_text(encoding="utf-8").splitlines()


def test_a_tsv_has_no_quoting(clips, script, tmp_path):
    rows = ["client_id\tpath\tsentence", 's1\ta.wav\t"open', 's1\tb.wav\tshe said "no"', 's2\tc.wav\t"closed"', 's2\td.wav\tlast"']
    (tmp_path / "t.tsv").write_text("\n".join(rows) + "\n")
    script("utils/csv_to_data_dir.py", "--csv", "t.tsv", "--out", "out", *COMMON_VOICE)
    assert texts(tmp_path / "out") == ['a "open', 'b she said "no"', 'c "closed"', 'd last"']


def test_a_tsv_names_files_in_clips(write_wav, script, tmp_path):
    """As Common Voice is unpacked: LANGUAGE/test.tsv names files that lie in LANGUAGE/clips."""
    write_wav("de/clips/a.wav", seconds=0.1)
    write_wav("de/b.wav", seconds=0.1)
    (tmp_path / "de" / "test.tsv").write_text("client_id\tpath\tsentence\ns1\ta.wav\tone\ns2\tb.wav\ttwo\n")
    script("utils/csv_to_data_dir.py", "--csv", "de/test.tsv", "--out", "out", *COMMON_VOICE)
    assert (tmp_path / "out" / "wav.scp").read_text().splitlines() == ["a de/clips/a.wav", "b de/b.wav"]
    assert [(u.utt_id, u.wav) for u in read_speech(tmp_path / "de" / "test.tsv", tmp_path / "made")] == [
        ("a", str(tmp_path / "de" / "clips" / "a.wav")), ("b", str(tmp_path / "de" / "b.wav"))]
    (tmp_path / "de" / "test.tsv").write_text(f"client_id\tpath\tsentence\ns1\t{'x' * 300}.wav\tone\n")
    done = script("utils/csv_to_data_dir.py", "--csv", "de/test.tsv", "--out", "out2", *COMMON_VOICE, check=False)
    assert "test.tsv:2: there is no file de/xxx" in done.stderr
    with pytest.raises(ComflpError, match=r"test\.tsv:2: there is no file .*/de/xxx"):
        read_speech(tmp_path / "de" / "test.tsv", tmp_path / "made")


@pytest.mark.parametrize(
    ("name", "table", "expected"),
    [
        ("t.csv", 'wav,text\na.wav,"one\nb.wav,two"\n', "t.csv:2: the row goes on until line 3"),
        ("t.csv", "wav,text\na.wav,one,more\n", "t.csv:2: the row has 3 values, the header 2 columns"),
        ("t.csv", "wav,text,speaker\na.wav,one\n", "t.csv:2: the row has 2 values, the header 3 columns"),
        ("t.tsv", "wav\ttext\na.wav\tone\ttwo\n", "t.tsv:2: the row has 3 values, the header 2 columns"),
        ("t.csv", "wav,text,text\na.wav,one,two\n", "t.csv:1: there are two columns text"),
        ("t.csv", "wav,text,speaker\na.wav,one,a b\n", "t.csv:2: the id 'a b' holds white space"),
        ("t.csv", "wav,text,id\na.wav,one,x/y\n", "t.csv:2: the id 'x/y' has to be usable as a file name"),
        ("t.csv", b"wav,text\na.wav,\xff\n", "t.csv:2: the line is not UTF-8"),
        ("t.csv", "", "t.csv:1: there is no column wav or text"),
        ("t.csv", "wav;text\na.wav;one, two\n", "t.csv:1: columns are separated by ; here: write commas and call the table .csv, or tabs and .tsv"),
        ("t.csv", "wav\ttext\na.wav\tone\n", "t.csv:1: columns are separated by tabs here: call the table .tsv"),
        ("t.tsv", "\nwav,text\na.wav,one\n", "t.tsv:2: columns are separated by commas here: call the table .csv"),
        ("t.csv", "wav,text\na.wav,one\n".encode("utf-16"), "t.csv is UTF-16: save it as UTF-8"),
        ("t.tsv", "wav\ttext\na.wav\tone\n".encode("utf-16-be"), "t.tsv is UTF-16: save it as UTF-8"),
    ],
)
def test_a_row_that_is_not_as_the_header_is_named(clips, script, tmp_path, name, table, expected):
    (tmp_path / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    done = script("utils/csv_to_data_dir.py", "--csv", name, "--out", "out", check=False)
    assert done.returncode == 1 and expected in done.stderr and not (tmp_path / "out").exists()


def test_an_unreadable_file_is_named_with_its_row(clips, script, tmp_path):
    (tmp_path / "b.wav").write_bytes(b"no audio")
    (tmp_path / "t.csv").write_text("wav,text\na.wav,x\nb.wav,y\n")
    assert "t.csv:3: b.wav cannot be read as audio" in script("utils/csv_to_data_dir.py", "--csv", "t.csv", "--out", "o", check=False).stderr


def test_a_speaker_that_is_not_told_is_the_utterance(clips, script, tmp_path):
    (tmp_path / "t.csv").write_text("wav,text,speaker\na.wav,x,ann\nb.wav,y,\n")
    script("utils/csv_to_data_dir.py", "--csv", "t.csv", "--out", "out")
    assert (tmp_path / "out" / "utt2spk").read_text() == "a ann\nb b\n"


def rows_of(tmp_path, names, speaker="s"):
    return [{"audio": {"bytes": (tmp_path / f"{name}.wav").read_bytes(), "path": f"{name}.wav"}, "text": f"text {name}", "who": speaker}
            for name in names]


def write_arrow(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([("audio", audio), ("text", pyarrow.string()), ("who", pyarrow.string())]))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
        return
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def state(folder, *names):
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))


def test_only_the_files_of_state_json_are_data(clips, script, tmp_path):
    """map() and filter() leave cache-*.arrow beside them."""
    write_arrow(tmp_path / "ds" / "data-00000-of-00001.arrow", rows_of(tmp_path, "abc"))
    write_arrow(tmp_path / "ds" / "cache-2d0a802b78a30b76.arrow", rows_of(tmp_path, "de"))
    state(tmp_path / "ds", "data-00000-of-00001.arrow")
    script("utils/hf_to_data_dir.py", "--dataset", "ds", "--out", "out")
    assert texts(tmp_path / "out") == ["out-0000000 text a", "out-0000001 text b", "out-0000002 text c"]


def explained(script, *arguments):
    done = script("utils/hf_to_data_dir.py", "--dataset", "ds", "--out", "out", *arguments, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") <= 4 and "Traceback" not in done.stderr
    return done.stderr


def test_a_split_is_not_another_that_begins_as_it_does(clips, script, tmp_path):
    for name, letters in (("train-00000-of-00001", "ab"), ("train-other-00000-of-00001", "c"), ("test-00000-of-00001-0123456789abcdef", "d")):
        write_arrow(tmp_path / "ds" / "data" / f"{name}.parquet", rows_of(tmp_path, letters))
    script("utils/hf_to_data_dir.py", "--dataset", "ds", "--split", "train", "--out", "out")
    assert len(texts(tmp_path / "out")) == 2
    script("utils/hf_to_data_dir.py", "--dataset", "ds", "--split", "test", "--out", "test")
    assert texts(tmp_path / "test") == ["test-0000000 text d"]
    assert "several splits, test, train, train-other; utils/hf_to_data_dir.py takes one with --split" in explained(script, "--force")


def test_an_incomplete_folder_is_refused(clips, script, tmp_path):
    write_arrow(tmp_path / "ds" / "data-00001-of-00002.arrow", rows_of(tmp_path, "a"))
    assert "is incomplete: it holds 1 of the 2 files" in explained(script)
    state(tmp_path / "ds", "data-00000-of-00002.arrow", "data-00001-of-00002.arrow")
    assert "is incomplete: data-00000-of-00002.arrow of state.json is not there" in explained(script)
    state(tmp_path / "ds", "../elsewhere.arrow")
    assert "names files that are not in its folder" in explained(script)


def test_speakers_and_texts_that_are_null(clips, script, tmp_path):
    rows = rows_of(tmp_path, "ab", speaker=None)
    write_arrow(tmp_path / "ds" / "data-00000-of-00001.arrow", rows)
    script("utils/hf_to_data_dir.py", "--dataset", "ds", "--speaker-column", "who", "--out", "out")
    assert (tmp_path / "out" / "utt2spk").read_text() == "out-0000000 out-0000000\nout-0000001 out-0000001\n"
    assert "row 1: the id an id is empty" not in explained(script, "--id-column", "who", "--force")


def test_audio_that_was_there_stays(clips, script, tmp_path):
    """OUT_audio is refused like OUT, and nothing goes before all rows are sound."""
    write_arrow(tmp_path / "ds" / "data-00000-of-00001.arrow", rows_of(tmp_path, "a"))
    (tmp_path / "out_audio").mkdir()
    (tmp_path / "out_audio" / "mine.wav").write_bytes(b"mine")
    assert "out_audio is there already; add --force" in explained(script)
    assert "out_audio is there already and is no folder of a data directory's audio of this program" in explained(script, "--force")
    assert (tmp_path / "out_audio" / "mine.wav").read_bytes() == b"mine" and not (tmp_path / "out").exists()


def test_its_own_results_stay_until_the_new_ones_are_sound(clips, script, tmp_path):
    write_arrow(tmp_path / "ds" / "data-00000-of-00001.arrow", rows_of(tmp_path, "ab"))
    script("utils/hf_to_data_dir.py", "--dataset", "ds", "--out", "out")
    before = {path: path.read_bytes() for path in tmp_path.glob("out*/*")}
    write_arrow(tmp_path / "ds" / "data-00000-of-00001.arrow", [*rows_of(tmp_path, "c"), {"audio": None, "text": "x", "who": "s"}])
    assert "row 2: column audio holds no audio" in explained(script, "--force")
    assert {path: path.read_bytes() for path in tmp_path.glob("out*/*")} == before
    write_arrow(tmp_path / "ds" / "data-00000-of-00001.arrow", rows_of(tmp_path, "c"))
    script("utils/hf_to_data_dir.py", "--dataset", "ds", "--out", "out", "--force")
    assert texts(tmp_path / "out") == ["out-0000000 text c"] and len(list((tmp_path / "out_audio").glob("*.wav"))) == 1


def test_names_that_begin_with_a_dot_are_not_data(script, tmp_path, monkeypatch):
    """A corpus that was on a Mac's disk has an AppleDouble file ._x beside every x."""
    for part in ("train-clean-100", "dev-clean", "test-clean", "test-other"):
        folder = tmp_path / "LibriSpeech" / part / "84" / "121"
        folder.mkdir(parents=True)
        soundfile.write(folder / "84-121-0000.flac", np.zeros(1600), 16000)
        (folder / "84-121.trans.txt").write_text("84-121-0000 TEXT\n")
        for name in ("._84-121-0000.flac", "._84-121.trans.txt", ".DS_Store"):
            (folder / name).write_bytes(b"\0\5\x16\7")
        (folder.parent / "._121").write_bytes(b"\0")
    script("recipes/librispeech/local/prepare_librispeech.py", "--corpus", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert [len(read_data_dir(f"data/{name}")) for name in ("train", "dev", "test", "test_other")] == [1, 1, 1, 1]
    aishell = tmp_path / "data_aishell"
    for number, name in enumerate(("train", "dev", "test")):
        folder = aishell / "wav" / name / "S1"
        folder.mkdir(parents=True)
        soundfile.write(folder / f"u{number}.wav", np.zeros(1600), 16000)
        (folder / f"._u{number}.wav").write_bytes(b"\0")
    (aishell / "transcript").mkdir()
    (aishell / "transcript" / "aishell_transcript_v0.8.txt").write_text("u0 a\nu1 b\nu2 c\n")
    assert "0 wavs without a transcript" in script("local/prepare_aishell.py", "--corpus", tmp_path, "--data", "aishell").stdout
