"""What is known of audio files: samples decide, content enters the fingerprint, unchanged files are not opened again."""

import json
import os
import shutil
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from comflp.data import inventory
from comflp.data.batching import make_batches
from comflp.data.data_dir import read_data_dir
from faults.damage import CASES, damaged

RATE = 16000


@pytest.fixture
def data_dir(tmp_path):
    """Three utterances whose lengths utt2dur rounds to the same, as Kaldi writes it."""
    directory = tmp_path / "data"
    directory.mkdir()
    lengths = {"u1": 16000, "u2": 16060, "u3": 15970, "u4": 16000}
    for key, samples in lengths.items():
        soundfile.write(tmp_path / f"{key}.wav", np.random.default_rng(samples).uniform(-0.5, 0.5, samples), RATE)
    (directory / "wav.scp").write_text("".join(f"{key} {tmp_path / key}.wav\n" for key in lengths))
    (directory / "text").write_text("".join(f"{key} a\n" for key in lengths))
    (directory / "utt2dur").write_text("".join(f"{key} 1.00\n" for key in lengths))
    return directory


def older(folder):
    """Files as they are a while after they were written."""
    for path in folder.glob("*.wav"):
        os.utime(path, (time.time() - 60, time.time() - 60))


def test_batches_of_equal_length_are_of_equal_numbers_of_samples(data_dir):
    data = read_data_dir(data_dir)
    assert {u.utt_id: round(u.duration * RATE) for u in data} == {"u1": 16000, "u2": 16060, "u3": 15970, "u4": 16000}
    batches = make_batches(data.utterances, max_padding=0.0)
    assert [[u.utt_id for u in batch] for batch in batches] == [["u2"], ["u1", "u4"], ["u3"]]


def test_many_equal_durations_are_one_batch():
    """Sums of 0.1 are not multiples of 0.1; a batch of equal utterances is not cut for it."""
    from comflp.data.utterance import Utterance

    utterances = [Utterance(f"u{i}", "", "", "", 1601 / RATE) for i in range(50)]
    assert len(make_batches(utterances, max_padding=0.0)) == 1


def test_replaced_audio_of_the_same_length_is_other_data(data_dir, tmp_path):
    before = read_data_dir(data_dir).fingerprint()
    assert read_data_dir(data_dir).fingerprint() == before
    path = tmp_path / "u1.wav"
    stat = path.stat()
    soundfile.write(path, np.random.default_rng(9).uniform(-0.5, 0.5, 16000), RATE)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # even where a copying program keeps the time
    assert path.stat().st_size == stat.st_size
    assert read_data_dir(data_dir).fingerprint() != before


def test_one_changed_sample_in_a_long_file_is_other_data(tmp_path):
    samples = np.zeros(400_000, dtype=np.int16)
    for name, place in (("a.wav", None), ("b.wav", 250_000)):
        if place:
            samples[place] = 1
        soundfile.write(tmp_path / name, samples, RATE)
    assert inventory.audio_facts(tmp_path / "a.wav").content != inventory.audio_facts(tmp_path / "b.wav").content


def test_the_same_audio_elsewhere_is_the_same_data(data_dir, tmp_path):
    before = read_data_dir(data_dir).fingerprint()
    (tmp_path / "moved").mkdir()
    for path in tmp_path.glob("*.wav"):
        shutil.move(path, tmp_path / "moved" / path.name)
    (data_dir / "wav.scp").write_text((data_dir / "wav.scp").read_text().replace(str(tmp_path), str(tmp_path / "moved")))
    assert read_data_dir(data_dir).fingerprint() == before


def test_files_that_did_not_change_are_opened_once(data_dir, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(inventory, "audio_facts", lambda wav, pipes, look=inventory.audio_facts: opened.append(wav) or look(wav, pipes))
    monkeypatch.setattr(inventory, "_SETTLED", -60.0)
    first = read_data_dir(data_dir)
    assert len(opened) == 4
    assert read_data_dir(data_dir).fingerprint() == first.fingerprint() and len(opened) == 4
    soundfile.write(tmp_path / "u2.wav", np.zeros(16060), RATE)
    assert read_data_dir(data_dir).fingerprint() != first.fingerprint() and len(opened) == 5


def test_a_file_that_was_just_written_is_looked_at_again(data_dir):
    """Or one that is written twice within a tick of the file system's clock would pass for unchanged."""
    read_data_dir(data_dir)
    assert json.loads((data_dir / inventory.CACHE).read_text())["files"] == {}


def test_a_directory_that_cannot_be_written_is_read_all_the_same(data_dir, monkeypatch):
    (data_dir / inventory.CACHE).mkdir()
    assert len(read_data_dir(data_dir)) == 4
    assert not list(data_dir.glob("*.tmp"))


@CASES
@given(content=st.one_of(damaged(b'{"version": 1, "files": {"a.wav": [[1, 2, 3], 8000, 16000, "ab"]}}'),
                         st.sampled_from([b"[" * 100_000, b"null", b'{"version": 1, "files": 3}', b'{"version": 1, "files": {"a.wav": 3}}'])))
def test_a_damaged_memory_is_no_memory(tmp_path_factory, content):
    cache = tmp_path_factory.getbasetemp() / "damaged.json"
    cache.write_bytes(content)
    for entry in inventory._read(cache).values():
        assert inventory._is_whole(entry)


def test_a_command_is_known_by_the_files_that_it_names(data_dir, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    (data_dir / "wav.scp").write_text("".join(f"u{i} echo >> {runs}; cat '{tmp_path}/u{i}.wav' |\n" for i in range(1, 5)))
    monkeypatch.setattr(inventory, "_SETTLED", -60.0)
    (tmp_path / "runs").write_text("")
    data = read_data_dir(data_dir, allow_pipes=True)
    assert [round(u.duration * RATE) for u in data] == [16000, 16060, 15970, 16000]
