"""Reading audio: formats, channels and rates; what cannot be used is named."""

import struct
import warnings

import numpy as np
import pytest
import soundfile

from comflp.data.audio import AudioError, AudioWarning, audio_seconds, read_audio
from comflp.data.data_dir import Segment, Utterance, read_data_dir, write_data_dir


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_formats_are_read_at_their_own_rate_without_a_word(write_wav, name):
    path = write_wav(name, seconds=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        waveform = read_audio(path, 16000)
    assert waveform.shape == (8000,) and waveform.dtype == np.float32 and np.abs(waveform).max() <= 1
    assert audio_seconds(path) == 0.5


def test_samples_are_what_the_file_holds(tmp_path):
    samples = np.array([0, 1, -32768, 32767], dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16000), samples.astype(np.float32) / 32768)


def test_stereo_at_48_khz_becomes_mono_at_the_rate_asked_for(tmp_path):
    time = np.arange(48000) / 48000
    left = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], axis=1), 48000, subtype="FLOAT")
    with pytest.warns(AudioWarning) as said:
        waveform = read_audio(tmp_path / "a.wav", 16000)
    assert sorted(str(warning.message) for warning in said) == ["audio at 48000 Hz is resampled to 16000 Hz",
                                                                "audio of 2 channels is mixed down to one"]
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(waveform[200:-200], expected[200:-200], atol=1e-3)


def test_resampling_and_mixing_are_said_once(write_wav, script, tmp_path):
    for number in range(4):
        write_wav(f"{number}.wav", rate=48000, channels=2)
    program = tmp_path / "read.py"
    program.write_text("from comflp.data.audio import read_audio\nfor i in range(4): read_audio(f'{i}.wav', 16000)\n")
    said = script(str(program), own_process=True).stderr
    assert said.count("audio at 48000 Hz is resampled to 16000 Hz") == 1
    assert said.count("audio of 2 channels is mixed down to one") == 1


def test_utterance_and_file_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"utterance 'u7': there is no file .*none\.wav"):
        read_audio(Utterance("u7", str(tmp_path / "none.wav"), "t", "s", 1.0), 16000)
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"bad\.wav cannot be read as audio"):
        read_audio(tmp_path / "bad.wav", 16000)
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read_audio(tmp_path, 16000)


@pytest.mark.parametrize("name", ["x.ark:13", "x.ark:13[0:99]"])
def test_a_place_in_an_archive_is_told_from_a_file(tmp_path, name):
    (tmp_path / "x.ark").write_bytes(b"u1 RIFF")
    with pytest.raises(AudioError, match=r"x.ark:13\S* is a place in an archive, .* \(Kaldi: wav-copy .*/x.ark:13\S* NEW.wav\)"):
        read_audio(tmp_path / name, 16000)
    with pytest.raises(AudioError, match="there is no file .*x.ark:one"):
        read_audio(tmp_path / "x.ark:one", 16000)


def test_empty_and_infinite_audio_is_refused(write_wav, tmp_path):
    with pytest.raises(AudioError, match="holds no audio"):
        read_audio(write_wav("empty.wav", seconds=0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        read_audio(tmp_path / "nan.wav", 16000)


def test_a_header_that_promises_more_than_the_file_has_does_no_harm(write_wav):
    path = write_wav("a.wav", seconds=0.1)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    assert read_audio(path, 16000).shape == (1600,)


def test_a_pipe_runs_only_when_allowed(write_wav, tmp_path):
    path = write_wav("a b.wav", seconds=0.25)
    utterance = Utterance("u1", f"cat '{path}' |", "t", "s", 0.25)
    with pytest.raises(AudioError, match="utterance 'u1': .*--allow-pipes"):
        read_audio(utterance, 16000)
    np.testing.assert_array_equal(read_audio(utterance, 16000, allow_pipes=True), read_audio(path, 16000))
    with pytest.raises(AudioError, match="ended with status 3: gone"):
        read_audio(Utterance("u1", "echo gone >&2; exit 3 |", "t", "s", 1.0), 16000, allow_pipes=True)


@pytest.mark.parametrize("in_segments", [False, True])
def test_a_file_that_is_exchanged_after_its_data_directory_was_read(write_wav, tmp_path, in_segments):
    path = write_wav("a.wav", seconds=2.0)
    cut = Segment("a", 0.5, 1.0) if in_segments else None
    write_data_dir(tmp_path / "data", [Utterance("u1", str(path), "t", "s", 0.5 if cut else 2.0, cut)])
    data = read_data_dir(tmp_path / "data")
    before = read_audio(data["u1"], 16000)
    (content := bytearray(path.read_bytes()))[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"utterance 'u1': .*a\.wav has changed since its data directory was read"):
        read_audio(data["u1"], 16000)
    again = read_data_dir(data.path)
    assert len(read_audio(again["u1"], 16000)) == len(before) and again.fingerprint() != data.fingerprint()


@pytest.mark.parametrize(("content", "advice"), [
    (b"", "it is empty: copy it again"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4cac\nsize 84977953\n", "git lfs pull fetches that"),
    (b"\n<!DOCTYPE html><html><body>404</body></html>", "it is a web page or XML"),
    (b"NIST_1A\n   1024\nchannel_count -i 1\nsample_coding -s26 pcm,embedded-shorten-v2.00\nsample_count -i 8\nsample_n_bytes -i 2\n"
     b"sample_rate -i 8000\nend_head\n".ljust(1040, b"\0"), "sph2pipe -f wav OLD NEW.wav"),
    (b"PK\x03\x04" + bytes(100), "it is an archive: unpack it"),
    (b"\0\0\0\x20ftypM4A " + bytes(100), r"a format that is not read here \(M4A, WebM, AMR, ...\), which ffmpeg -i OLD NEW.wav converts"),
])  # fmt: skip
def test_what_is_no_audio_is_told_by_how_it_begins(written, content, advice):
    path = written(content, "call.wav")
    for read in (audio_seconds, lambda path: read_audio(path, 8000)):
        with pytest.raises(AudioError, match=rf"call\.wav cannot be read as audio \(.*\): .*{advice}"):
            read(path)
