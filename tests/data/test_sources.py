"""Datasets as speech: rows in memory, a Dataset of the library datasets, and what its save_to_disk wrote."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from comflp.data.audio import AudioWarning, read_audio
from comflp.data.sources import read_speech
from comflp.errors import ComflpError

RATE = 8000


def wave(number):
    return (0.1 * np.sin(np.arange(800 + number) / (5 + number))).astype(np.float32)


def encoded(tmp_path, number):
    path = tmp_path / f"{number}.flac"
    soundfile.write(path, wave(number), RATE)
    return path.read_bytes()


class Decoder:
    """What datasets gives for audio where it decodes with torchcodec."""

    def __init__(self, *channels):
        self.samples = type("Samples", (), {"data": np.stack(channels), "sample_rate": RATE})

    def get_all_samples(self):
        return self.samples


def check(data, texts=("one", "two", "three")):
    assert [utterance.text for utterance in data] == list(texts)
    for number, utterance in enumerate(data):
        np.testing.assert_allclose(read_audio(utterance, RATE), wave(number), atol=1e-4)


def test_rows_in_every_form_of_audio(tmp_path):
    soundfile.write(tmp_path / "named.wav", wave(3), RATE)
    rows = [
        {"audio": {"array": wave(0), "sampling_rate": RATE, "path": None}, "sentence": "one"},
        {"audio": {"bytes": encoded(tmp_path, 1), "path": "b.flac"}, "sentence": " two "},
        {"audio": Decoder(wave(2), wave(2)), "sentence": "three"},
        {"audio": str(tmp_path / "named.wav"), "sentence": "four"},
    ]
    check(read_speech(rows, tmp_path / "made"), ("one", "two", "three", "four"))
    with pytest.raises(ComflpError, match="no column audio or wav"):
        read_speech([{"sound": 1}], tmp_path / "made")
    with pytest.raises(ComflpError, match=r"row 2: there is no audio"):
        read_speech([rows[0], {"audio": None, "sentence": "x"}], tmp_path / "made")


def test_columns_are_found_whatever_their_capitals(tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(0), RATE)
    table = tmp_path / "t.csv"
    table.write_text("Path,Sentence\na.wav,one\n")
    check(read_speech(table, tmp_path / "made"), ["one"])
    table.write_text("PATH,path,Text,sentence\nb.wav,a.wav,two,one\n")
    check(read_speech(table, tmp_path / "made"), ["one"])
    check(read_speech([{"Audio": str(tmp_path / "a.wav"), "TEXT": "one"}], tmp_path / "made"), ["one"])
    table.write_text("path,Text,TEXT\na.wav,one,two\n")
    with pytest.raises(ComflpError, match="t.csv:1: the columns Text and TEXT differ in capitals only; rename or remove one"):
        read_speech(table, tmp_path / "made")


def test_channels_that_cancel_each_other_out_are_no_silence(tmp_path):
    with pytest.warns(AudioWarning, match="the loudest one is taken"):
        check(read_speech([{"audio": Decoder(wave(0), -0.9 * wave(0)), "text": "one"}], tmp_path / "made"), ["one"])


def save_to_disk(folder, tmp_path):
    """As the library lays a dataset of one split out."""
    folder.mkdir(parents=True)
    audio = [{"bytes": encoded(tmp_path, number), "path": f"{number}.flac"} for number in range(3)]
    table = pyarrow.table({"audio": audio, "text": ["one", "two", "three"], "speaker": [1, 2, 3]})
    with pyarrow.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def test_a_saved_dataset(tmp_path):
    save_to_disk(tmp_path / "set" / "train", tmp_path)
    check(read_speech(tmp_path / "set" / "train", tmp_path / "made"))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(ComflpError, match="several splits; give the folder of one of them: .*/set/train$"):
        read_speech(tmp_path / "set", tmp_path / "made")


def test_a_saved_dataset_of_some_rows_of_its_files(tmp_path):
    """Versions 1 of the library kept the numbers of the rows that were chosen in another file."""
    save_to_disk(tmp_path / "set", tmp_path)
    content = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    for chosen in ([], None):
        (tmp_path / "set" / "state.json").write_text(json.dumps({**content, "_indices_data_files": chosen}))
        check(read_speech(tmp_path / "set", tmp_path / "made"))
    (tmp_path / "set" / "state.json").write_text(json.dumps({**content, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(ComflpError, match=r"state.json names _indices_data_files.* save flatten_indices\(\) of it again"):
        read_speech(tmp_path / "set", tmp_path / "made")


def test_a_dataset_of_the_library(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the library datasets is not here")
    save_to_disk(tmp_path / "set", tmp_path)
    (tmp_path / "set" / "dataset_info.json").write_text("{}")
    dataset = datasets.load_from_disk(str(tmp_path / "set"))
    assert isinstance(dataset, datasets.Dataset)
    check(read_speech(dataset, tmp_path / "made"))


def test_the_audio_of_a_row_goes_before_the_path_that_it_came_from(tmp_path):
    rows = [{"path": "common_voice_en_1.mp3", "audio": {"bytes": encoded(tmp_path, n), "path": None}, "sentence": said}
            for n, said in enumerate(("one", "two", "three"))]
    check(read_speech(rows, tmp_path / "made"))
    (tmp_path / "saved").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "saved" / "0000.parquet")
    check(read_speech(tmp_path / "saved", tmp_path / "made again"))


def test_integers_are_no_samples(tmp_path):
    whole = (wave(0) * 32768).astype(np.int16)
    with pytest.raises(ComflpError, match="utterance 2 is an array of int16, and samples are floats in .* divide 16-bit ones by 32768"):
        read_speech([wave(0), whole], tmp_path / "made", sample_rate=RATE)
    with pytest.raises(ComflpError, match="row 1 is an array of int16"):
        read_speech([{"audio": {"array": whole, "sampling_rate": RATE}}], tmp_path / "made")
    with pytest.raises(ComflpError, match=r"row 1 is not an array \(num_samples,\)"):
        read_speech([{"audio": {"array": np.stack([wave(0)] * 2), "sampling_rate": RATE}}], tmp_path / "made")


def test_rows_without_a_text_are_named(tmp_path):
    audio = {"array": wave(0), "sampling_rate": RATE}
    for row in ({"audio": audio}, {"audio": audio, "text": float("nan")}):
        with pytest.raises(ComflpError, match="row 2: there is no text"):
            read_speech([{"audio": audio, "text": "one"}, row], tmp_path / "made")
    with pytest.raises(ComflpError, match="row 1: there is no text"):
        read_speech([{"audio": audio}, {"audio": audio, "text": "one"}], tmp_path / "made")


def test_files_whose_names_are_no_ids_are_numbered(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("\u4f1a" * 44, "short"):
        soundfile.write(folder / f"{name}.wav", wave(0), RATE)
    assert [utterance.utt_id for utterance in read_speech(folder, tmp_path / "made")] == ["000001_short", "000002"]


@pytest.mark.parametrize("name", ["caf\udce9.wav", "caf\n2.wav"])
def test_a_file_whose_name_is_no_line_in_utf8_is_named(tmp_path, name):
    folder = tmp_path / "recordings"
    folder.mkdir()
    try:
        (folder / name).write_bytes(encoded(tmp_path, 0))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    with pytest.raises(ComflpError, match="caf.*the name is not in UTF-8"):
        read_speech(folder, tmp_path / "made")


def test_a_row_of_a_table_without_a_file_name_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(0), RATE)
    (tmp_path / "table.csv").write_text("path,text\na.wav,one\n,two\n")
    with pytest.raises(ComflpError, match=r"table.csv:3: the row names no audio file"):
        read_speech(tmp_path / "table.csv", tmp_path / "made")


def test_parquet_files_of_several_splits_are_not_one_set(tmp_path):
    row = pyarrow.Table.from_pylist([{"audio": {"bytes": encoded(tmp_path, 0), "path": None}, "text": "one"}])

    def read(*names):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            pyarrow.parquet.write_table(row, folder / f"{name}.parquet")
        return read_speech(folder, tmp_path / "made")

    with pytest.raises(ComflpError, match="several splits, test, train; utils/hf_to_data_dir.py takes one"):
        read("train", "test")
    for names in (("0000", "0001"), ("part-0-a", "part-1-b"), ("part.0", "part.1"), ("shard_0", "shard_1"), ("train-000", "train-001")):
        assert len(read(*names)) == 2


def test_speakers_of_tables_and_datasets(tmp_path):
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", wave(number), RATE)
    table = tmp_path / "table.tsv"
    table.write_text("path\tclient_id\n0.wav\tann\n1.wav\tbob\n2.wav\tann\n")
    assert [utterance.speaker for utterance in read_speech(table, tmp_path / "made")] == ["ann", "bob", "ann"]
    table.write_text(f"path\tclient_id\n0.wav\t{'f' * 128}\n1.wav\tb o\n2.wav\t{'f' * 128}\n")
    assert [utterance.speaker for utterance in read_speech(table, tmp_path / "made")] == ["speaker0001", "speaker0002", "speaker0001"]
    table.write_text("path\tclient_id\n0.wav\tann\n1.wav\t\n2.wav\tann\n")
    assert [utterance.speaker for utterance in read_speech(table, tmp_path / "made")] == ["0", "1", "2"], "one is not known"
    rows = [{"audio": str(tmp_path / f"{number}.wav"), "speaker_id": number // 2} for number in range(3)]
    assert [utterance.speaker for utterance in read_speech(rows, tmp_path / "made")] == ["0", "0", "1"]


def test_a_column_without_a_name_is_none(tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(0), RATE)
    (tmp_path / "table.csv").write_text(",path\n0,a.wav\n")  # as pandas writes its index
    (found,) = read_speech(tmp_path / "table.csv", tmp_path / "made")
    assert (found.utt_id, found.text, found.speaker) == ("a", "", "a")


def test_a_column_that_is_read_is_there_once(tmp_path):
    soundfile.write(tmp_path / "0.wav", wave(0), RATE)
    (tmp_path / "t.csv").write_text("wav,text,note,note\n0.wav,one,x,y\n")
    check(read_speech(tmp_path / "t.csv", tmp_path / "made"), ["one"])
    (tmp_path / "t.csv").write_text("wav,text,text\n0.wav,one,two\n")
    with pytest.raises(ComflpError, match="t.csv:1: there are two columns text"):
        read_speech(tmp_path / "t.csv", tmp_path / "made")


def test_names_of_columns_may_have_spaces_around(tmp_path):
    soundfile.write(tmp_path / "0.wav", np.zeros(800), 8000)
    (tmp_path / "t.csv").write_text("path, transcription\n0.wav, hello\n")
    assert [utterance.text for utterance in read_speech(tmp_path / "t.csv", tmp_path / "made")] == ["hello"]


def test_datasets_of_several_splits_and_those_that_are_read_as_they_come(tmp_path):
    class Splits(dict):
        column_names = {"train": ["audio"], "test": ["audio"]}

    @dataclass(frozen=True)
    class Audio:
        decode: bool = True

    class Stream:
        column_names = ["audio", "text"]

        def __init__(self, audio):
            self.features = {"audio": audio}

        def cast_column(self, name, feature):
            return Stream(feature)

        def __iter__(self):
            if self.features["audio"].decode:
                raise ImportError("To support decoding audio data, please install 'torchcodec'.")
            return iter(rows)

    rows = [{"audio": {"array": np.full(800, 0.1, np.float32), "sampling_rate": 8000}, "text": "a"}] * 2
    with pytest.raises(ComflpError, match=r"several splits, train, test; give one of them, such as dataset\['train'\]"):
        read_speech(Splits(train=rows, test=rows), tmp_path / "made")
    assert len(read_speech(Stream(Audio()), tmp_path / "made")) == 2
