"""Header against bytes: audio is read to its end, or the error says what was promised and what was found."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile

from comflp.data.audio import AudioError, AudioWarning, audio_facts, audio_seconds, read_audio
from comflp.data.containers import LengthError, _check_ogg
from comflp.data.data_dir import Utterance, validate_data_dir

RATE = 16000
TONE = (0.4 * np.sin(np.arange(3 * RATE) / 7)).astype(np.float32)


def encoded(container, subtype=None, samples=TONE):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=container, subtype=subtype)
    return file.getvalue()


def without_tag(content):
    """An MP3 file without the frame that tells its length."""
    return content[content.index(content[:2], 4) :]


def with_tag_of(content, frames):
    place = content.index(b"Info" if b"Info" in content else b"Xing") + 8
    return content[:place] + struct.pack(">I", frames) + content[place + 4 :]


def test_an_mp3_without_a_length_is_read_to_its_end(written):
    path = written(without_tag(encoded("MP3")))
    waveform = read_audio(path, RATE)
    assert 3.0 <= len(waveform) / RATE < 3.2  # the encoder's delay, which the tag tells too, is not cut away
    assert audio_seconds(path) == len(waveform) / RATE
    assert np.abs(waveform[int(2.5 * RATE) : int(2.9 * RATE)]).max() > 0.3


def test_an_mp3_with_a_length_that_is_too_short_is_read_to_its_end(written):
    path = written(with_tag_of(encoded("MP3"), 10))
    assert 3.0 <= len(read_audio(path, RATE)) / RATE < 3.2 and audio_seconds(path) > 3.0


def test_an_mp3_that_tells_its_length_rightly_is_cut_to_the_sample(written):
    path = written(b"ID3\4\0\0\0\0\1\0" + b"a" * 128 + encoded("MP3") + b"TAG" + b"a" * 125)
    assert len(read_audio(path, RATE)) == audio_facts(path).num_samples == len(TONE)


def test_two_mp3_files_one_after_the_other_are_both_read(written):
    assert audio_seconds(written(encoded("MP3") * 2)) > 6.0


CUT = {"WAV": "PCM_16", "WAVEX": "FLOAT", "AIFF": "PCM_16", "AU": "PCM_16", "NIST": "PCM_16", "RF64": "PCM_16", "FLAC": "PCM_16",
       "MP3": "MPEG_LAYER_III"}


@pytest.mark.parametrize("container", sorted(CUT))
def test_audio_that_was_cut_is_reported_with_what_was_promised_and_found(written, container):
    content = encoded(container, CUT[container])
    assert abs(len(read_audio(written(content), RATE)) - len(TONE)) == 0
    path = written(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"audio cannot be read as audio \(its header promises [45]\d,\d{3} samples and the file holds [12]\d,\d{3}"):
        read_audio(path, RATE)


@pytest.mark.parametrize(("container", "padding"), [*((name, b"\x11\x22" * 4000) for name in ("WAV", "WAVEX", "AIFF", "NIST")), ("NIST", bytes(8000))])
def test_audio_longer_than_its_header_says_is_reported(written, container, padding):
    path = written(encoded(container, CUT[container]) + padding)
    for read in (lambda: read_audio(path, RATE), lambda: audio_facts(path)):
        with pytest.raises(AudioError, match=r"its header promises 48,000 samples and the file holds (49|5\d),\d\d\d: its header was not completed"):
            read()


def test_a_flac_longer_than_its_header_says_is_reported(written):
    content = bytearray(encoded("FLAC"))
    content[22:26] = struct.pack(">I", 40_000)
    with pytest.raises(AudioError, match="promises 40,000 samples and the file holds 48,000"):
        read_audio(written(content), RATE)


@pytest.mark.parametrize("size", [0, 1000, 90_000])
def test_a_wav_whose_size_was_not_filled_in_is_reported(written, size):
    content = bytearray(encoded("WAV", "PCM_16"))
    content[40:44] = struct.pack("<I", size)
    with pytest.raises(AudioError, match=f"promises {size // 2:,} samples and the file holds 48,000"):
        read_audio(written(content), RATE)


@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFF0, 0xFFFFFFFF])
def test_a_wav_written_into_a_pipe_has_no_size_and_is_read_to_its_end(written, size):
    content = bytearray(encoded("WAV", "PCM_16"))
    content[40:44] = struct.pack("<I", size)
    np.testing.assert_allclose(read_audio(written(content), RATE), TONE, atol=1e-4)


def test_a_flac_written_into_a_pipe_has_no_size_and_is_read_to_its_end(written):
    content = bytearray(encoded("FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert len(read_audio(written(content), RATE)) == audio_facts(written(content)).num_samples == len(TONE)


@pytest.mark.parametrize("after", [b"LIST\4\0\0\0abcd", b"id3 \5\0\0\0abcde\0", b"TAG" + b"a" * 125, b"\0\0\0", b"LIST\4\0\0\0abcd" + bytes(4096)])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_tags_and_zeros_behind_the_samples_are_no_samples(written, container, after):
    assert len(read_audio(written(encoded(container, "PCM_16") + after), RATE)) == len(TONE)


def test_an_aiff_may_be_filled_up_with_zeros(written):
    assert len(read_audio(written(encoded("AIFF", "PCM_16") + bytes(4096)), RATE)) == len(TONE)


def refused(path, message):
    for read in (lambda: read_audio(path, RATE), lambda: audio_facts(path), lambda: audio_seconds(path)):
        with pytest.raises(AudioError, match=f"audio cannot be read as audio .*{message}"):
            read()


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_an_ogg_that_was_cut_or_chained_is_refused(written, codec):
    content = encoded("OGG", codec, np.tile(TONE, 7))
    assert len(read_audio(written(content), RATE)) == audio_facts(written(content)).num_samples == 7 * len(TONE)
    last = content.rindex(b"OggS")
    for length in (len(content) * 6 // 10, len(content) - 1, last + 27, last + 10, last):
        refused(written(content[:length]), "it was cut off; if you know that nothing is missing, ffmpeg -i OLD -c copy NEW.ogg adds the mark")
    refused(written(content * 2), "several Ogg files in a row, of which only the first would be read; make one of them")
    refused(written(content[:last] + content), "several Ogg files in a row")
    assert len(read_audio(written(content + b"TAG" + bytes(125)), RATE)) == 7 * len(TONE)


def test_streams_side_by_side_in_an_ogg_are_one_file(written):
    """Another stream's first and last page around those of the sound, as a film has them."""
    def page(flags):
        return b"OggS\0" + bytes([flags]) + bytes(8) + b"film" + bytes(8) + b"\1\1" + b"x"

    content = encoded("OGG", "VORBIS")
    second = content.index(b"OggS", 4)
    _check_ogg(content[:second] + page(2) + content[second:] + page(4))
    with pytest.raises(LengthError, match="several"):
        _check_ogg(content + page(2) + page(4))


def test_channels_that_cancel_are_noticed(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([TONE, -0.9 * TONE], axis=1), RATE)
    with pytest.warns(AudioWarning, match="2 channels that cancel each other out: the loudest one is taken"):
        waveform = read_audio(path, RATE)
    np.testing.assert_allclose(waveform, TONE, atol=1e-4)


@pytest.mark.parametrize("other", [np.zeros_like(TONE), TONE, np.random.default_rng(0).uniform(-0.4, 0.4, len(TONE))])
def test_channels_that_do_not_cancel_are_averaged(tmp_path, other):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([TONE, other], axis=1), RATE, subtype="FLOAT")
    with pytest.warns(AudioWarning, match="2 channels is mixed down"):
        np.testing.assert_allclose(read_audio(path, RATE), (TONE + other) / 2, atol=1e-4)


def test_silence_in_two_channels_is_silence(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), RATE)
    with pytest.warns(AudioWarning, match="mixed down"):
        assert not read_audio(tmp_path / "a.wav", RATE).any()


def test_a_named_pipe_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    for read in (lambda path: read_audio(path, RATE), audio_facts, audio_seconds):
        with pytest.raises(AudioError, match="a folder, a device or a named pipe"):
            read(tmp_path / "fifo.wav")
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text(f"u1 {tmp_path / 'fifo.wav'}\n")
    assert "wav.scp:1: utterance 'u1': " in str(validate_data_dir(data, require_text=False)[0])


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "GSM610"), ("AU", "G721_32")])
def test_codecs_that_cannot_be_wound_forward_are_read(tmp_path, container, subtype):
    soundfile.write(tmp_path / "a", 0.3 * np.sin(np.arange(8000) / 9), 8000, format=container, subtype=subtype)
    samples = read_audio(Utterance("u", str(tmp_path / "a"), "", "", 1.0), 8000)
    assert len(samples) == round(audio_seconds(tmp_path / "a") * 8000) >= 8000


def test_odd_samples_without_a_byte_of_padding_before_another_chunk(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8001), 8000, subtype="PCM_U8")
    content = (tmp_path / "a.wav").read_bytes()[: 44 + 8001] + b"LIST" + struct.pack("<I", 4) + b"INFO"
    (tmp_path / "b.wav").write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert audio_facts(tmp_path / "b.wav").num_samples == len(read_audio(tmp_path / "b.wav", 8000)) == 8001
