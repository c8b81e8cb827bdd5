"""Folders of audio files as speech: what is in them is read, through links too, or is named."""

import numpy as np
import pytest
import soundfile

from comflp.data.sources import UNREADABLE, read_speech
from comflp.errors import ComflpError


@pytest.fixture
def folder(tmp_path):
    """A folder with the recording one.wav, and a recording in another folder, disk2/day/two.flac."""
    for path in (tmp_path / "speech" / "one.wav", tmp_path / "disk2" / "day" / "two.flac"):
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(800), 8000)
    return tmp_path / "speech"


def ids(folder):
    return [utterance.utt_id for utterance in read_speech(folder, folder.parent / "made")]


def test_folders_behind_links_are_read_once_and_loops_do_no_harm(folder):
    (folder / "disk2").symlink_to(folder.parent / "disk2")
    assert ids(folder) == ["disk2_day_two", "one"]
    (folder / "again").symlink_to(folder)
    (folder.parent / "disk2" / "back").symlink_to(folder)
    (folder / "a_new_name").symlink_to(folder / "latest")
    (folder / "latest").mkdir()
    soundfile.write(folder / "latest" / "three.wav", np.zeros(800), 8000)
    assert ids(folder) == ["disk2_day_two", "latest_three", "one"]


@pytest.mark.parametrize(("name", "container"), [("a.oga", "OGG"), ("a.caf", "CAF"), ("a.wave", "WAV"), ("a.AIFC", "AIFF"), ("a.rf64", "RF64"),
                                                 ("a.snd", "AU"), ("a.voc", "VOC")])
def test_files_are_known_by_all_endings_of_what_can_be_read(folder, name, container):
    soundfile.write(folder / name, np.zeros(800), 8000, format=container)
    assert ids(folder) == ["a", "one"]


@pytest.mark.parametrize("suffix", UNREADABLE)
def test_audio_that_cannot_be_read_is_not_left_out_without_a_word(folder, suffix):
    (folder / "call").mkdir()
    for name in "ab":
        (folder / "call" / f"{name}{suffix}").write_bytes(b"compressed")
    with pytest.raises(ComflpError, match=f"speech holds 2 audio files that cannot be read .*call/a{suffix}.: convert"):
        ids(folder)
    soundfile.write(folder / "call" / "a.wav", np.zeros(800), 8000)
    with pytest.raises(ComflpError, match=f"speech holds an audio file that cannot be read .*call/b{suffix}.: convert"):
        ids(folder)
    soundfile.write(folder / "call" / "b.wav", np.zeros(800), 8000)
    assert ids(folder) == ["call_a", "call_b", "one"]


@pytest.mark.parametrize(("name", "content"), [
    ("metadata.csv", "file_name,transcription\none.wav,the text\n"),
    ("metadata.jsonl", '{"file_name": "one.wav", "transcription": "the text"}\n'),
])  # fmt: skip
def test_the_texts_of_an_audiofolder_are_read(folder, name, content):
    """As the library datasets loads it: the table beside the audio files says which there are, and their texts."""
    soundfile.write(folder / "two.wav", np.zeros(800), 8000)
    (folder / name).write_text(content)
    for given in (folder, folder / name):
        assert [(u.utt_id, u.text) for u in read_speech(given, folder.parent / "made")] == [("one", "the text")]
    (folder / name).write_text("one|a table of something else\n")
    assert ids(folder) == ["one", "two"]


@pytest.mark.parametrize("content", ["wav_file_name,label\none,dog\n", "original_file_name\nx\n", "file_name|text\none|the text\n"])
def test_a_table_of_another_kind_beside_audio_is_none_of_an_audiofolder(folder, content):
    """A folder of audio files may hold any ``metadata.csv``."""
    before = ids(folder)
    (folder / "metadata.csv").write_text(content)
    (folder / "metadata.jsonl").write_text('{"note": "file_name"}\n')
    assert ids(folder) == before


def test_the_files_of_an_audiofolder_are_those_of_its_file_name(folder):
    """Whatever else a column says, such as where a file lay at first. A saved dataset is read as that."""
    (folder / "metadata.csv").write_text("path,audio,file_name,sentence\n/original/x.mp3,x,one.wav,the text\n")
    for given in (folder, folder / "metadata.csv"):
        assert [(u.utt_id, u.text) for u in read_speech(given, folder.parent / "made")] == [("one", "the text")]
    (folder / "state.json").write_text("{}")
    with pytest.raises(ComflpError, match="state.json has no key '_data_files'"):
        read_speech(folder, folder.parent / "made")


def test_a_damaged_table_of_an_audiofolder_is_told(folder):
    """And not taken for one of another kind, so that its texts would be left out."""
    (folder / "metadata.csv").write_text("file_name,text\none.wav\n")
    with pytest.raises(ComflpError, match=r"metadata\.csv:2: the row has 1 values, the header 2 columns"):
        read_speech(folder, folder.parent / "made")
