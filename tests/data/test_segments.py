"""Kaldi's segments: utterances that are parts of recordings."""

import numpy as np
import pytest
import soundfile

from comflp.data.audio import read_audio
from comflp.data.data_dir import Segment, Utterance, read_data_dir, subset, validate_data_dir, write_data_dir
from comflp.data.tables import DataError

RATE = 8000


@pytest.fixture
def segmented(tmp_path):
    """(data directory of two recordings and three segments, samples of the recordings)."""
    directory = tmp_path / "data"
    directory.mkdir()
    samples = {}
    for number, (name, seconds) in enumerate((("call1", 2.0), ("call2", 1.0))):
        samples[name] = np.random.default_rng(number).integers(-9000, 9000, int(seconds * RATE)).astype(np.int16)
        soundfile.write(tmp_path / f"{name}.wav", samples[name], RATE)
    (directory / "wav.scp").write_text("".join(f"{name} {tmp_path / name}.wav\n" for name in samples))
    (directory / "segments").write_text("a-1 call1 0.00 0.75\na-2 call1 0.75 1.50\nb-1 call2 0.25 -1\n")
    (directory / "text").write_text("a-1 one\na-2 two\nb-1 three\n")
    (directory / "utt2spk").write_text("a-1 a\na-2 a\nb-1 b\n")
    return directory, samples


def test_only_the_segment_is_read(segmented):
    directory, samples = segmented
    data = read_data_dir(directory)
    assert [(u.utt_id, u.text, u.speaker, u.duration) for u in data] == [("a-1", "one", "a", 0.75), ("a-2", "two", "a", 0.75),
                                                                        ("b-1", "three", "b", 0.75)]
    for key, recording, first, last in (("a-1", "call1", 0, 6000), ("a-2", "call1", 6000, 12000), ("b-1", "call2", 2000, 8000)):
        np.testing.assert_array_equal(read_audio(data[key], RATE), samples[recording][first:last].astype(np.float32) / 32768)
    assert validate_data_dir(directory, check_audio=True) == []


@pytest.mark.parametrize("name", ["call1.flac", "call1.ogg", "call1.mp3"])
def test_of_every_format(tmp_path, name):
    samples = 0.4 * np.sin(np.arange(2 * RATE) / 9)
    soundfile.write(tmp_path / name, samples, RATE)
    whole = read_audio(tmp_path / name, RATE)
    part = read_audio(Utterance("u", str(tmp_path / name), "t", "s", 0.5, Segment("r", 0.5, 1.0)), RATE)
    np.testing.assert_array_equal(part, whole[4000:8000])


def test_of_a_pipe_with_the_users_consent_only(segmented, tmp_path):
    directory, samples = segmented
    (directory / "wav.scp").write_text("".join(f"{name} cat '{tmp_path / name}.wav' |\n" for name in samples))
    with pytest.raises(DataError, match="recording 'call1' is a pipe \\(and 1 more\\); .* --allow-pipes"):
        read_data_dir(directory)
    data = read_data_dir(directory, allow_pipes=True)
    np.testing.assert_array_equal(read_audio(data["a-2"], RATE, allow_pipes=True), samples["call1"][6000:12000].astype(np.float32) / 32768)


def test_what_is_written_is_read_back(segmented, tmp_path):
    data = read_data_dir(segmented[0])
    write_data_dir(tmp_path / "copy", subset(data, 2, seed=1))
    copy = read_data_dir(tmp_path / "copy")
    assert list(copy) == [data[u.utt_id] for u in copy] and len(copy) == 2
    assert copy.fingerprint() == subset(data, 2, seed=1).fingerprint()


def test_other_times_are_other_data(segmented):
    directory = segmented[0]
    before = read_data_dir(directory).fingerprint()
    (directory / "segments").write_text((directory / "segments").read_text().replace("a-1 call1 0.00 0.75", "a-1 call1 0.25 1.00"))
    assert read_data_dir(directory).fingerprint() != before


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a-1 call9 0 1", "segments:1: utterance 'a-1': recording 'call9' has no line in wav.scp"),
        ("a-1 call1 1 1", "segments:1: utterance 'a-1': 'call1 1 1' is not a recording, a begin and a later end"),
        ("a-1 call1 -1 1", "is not a recording, a begin and a later end"),
        ("a-1 call1 nan 1", "is not a recording, a begin and a later end"),
        ("a-1 call1 0", "is not a recording, a begin and a later end"),
        ("a-1 call1 0 1 A", "is not a recording, a begin and a later end"),
        ("a-1", "is not a recording, a begin and a later end"),
        ("a-1 call1 0 2.6", "segments:1: utterance 'a-1': it ends at 2.6 s, its recording at 2.000 s"),
        ("a-1 call1 2 -1", "it has no samples between 2 s and the end of its recording at 2.000 s"),
        ("a-1 call1 0 0.00001", "it has no samples"),
    ],
)
def test_a_bad_segment_is_named_with_file_and_line(segmented, line, expected):
    directory = segmented[0]
    (directory / "segments").write_text((directory / "segments").read_text().replace("a-1 call1 0.00 0.75", line))
    with pytest.raises(DataError) as caught:
        read_data_dir(directory)
    assert expected in str(caught.value)


def test_an_end_that_was_rounded_up_is_the_recordings(segmented):
    directory = segmented[0]
    (directory / "segments").write_text((directory / "segments").read_text().replace("0.75 1.50", "1.50 2.01"))
    assert read_data_dir(directory)["a-2"].duration == 0.5


def test_whole_recordings_and_segments_are_not_mixed(tmp_path):
    with pytest.raises(DataError, match="1 of 2 utterances are segments"):
        write_data_dir(tmp_path / "d", [Utterance("a", "x", "t", "s", 1.0), Utterance("b", "x", "t", "s", 1.0, Segment("r", 0, 1))])
    with pytest.raises(DataError, match="recording 'r' is x and y"):
        write_data_dir(tmp_path / "d", [Utterance(k, w, "t", "s", 1.0, Segment("r", 0, 1)) for k, w in (("a", "x"), ("b", "y"))])
