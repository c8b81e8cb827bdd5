"""Datasets as speech: rows in memory, a Dataset of the library datasets, and what its save_to_disk wrote."""

import json

import numpy as np
import pyarrow
import pytest
import soundfile

from comflp.data.audio import read_audio
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

    def get_all_samples(self):
        return type("Samples", (), {"data": np.stack([wave(2), wave(2)]), "sample_rate": RATE})


def check(data, texts=("one", "two", "three")):
    assert [utterance.text for utterance in data] == list(texts)
    for number, utterance in enumerate(data):
        np.testing.assert_allclose(read_audio(utterance, RATE), wave(number), atol=1e-4)


def test_rows_in_every_form_of_audio(tmp_path):
    soundfile.write(tmp_path / "named.wav", wave(3), RATE)
    rows = [
        {"audio": {"array": wave(0), "sampling_rate": RATE, "path": None}, "sentence": "one"},
        {"audio": {"bytes": encoded(tmp_path, 1), "path": "b.flac"}, "sentence": " two "},
        {"audio": Decoder(), "sentence": "three"},
        {"audio": str(tmp_path / "named.wav"), "sentence": "four"},
    ]
    check(read_speech(rows, tmp_path / "made"), ("one", "two", "three", "four"))
    with pytest.raises(ComflpError, match="no column wav or path"):
        read_speech([{"sound": 1}], tmp_path / "made")
    with pytest.raises(ComflpError, match=r"row 2: there is no audio"):
        read_speech([rows[0], {"audio": None, "sentence": "x"}], tmp_path / "made")


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
    with pytest.raises(ComflpError, match="several splits; give the folder of one of them, such as"):
        read_speech(tmp_path / "set", tmp_path / "made")


def test_a_dataset_of_the_library(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the library datasets is not here")
    save_to_disk(tmp_path / "set", tmp_path)
    (tmp_path / "set" / "dataset_info.json").write_text("{}")
    dataset = datasets.load_from_disk(str(tmp_path / "set"))
    assert isinstance(dataset, datasets.Dataset)
    check(read_speech(dataset, tmp_path / "made"))
