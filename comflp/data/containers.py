"""What the header of an audio file promises against what the file holds: WAV, AIFF and their kin, NIST SPHERE, FLAC, MP3, Ogg.

libsndfile reads a file that was cut off, or that holds more than its header says, without a word. Here it is read to
its end where the header does not know the length (written into a pipe), and refused where it says another one.
"""

from __future__ import annotations

import io
import re
from typing import BinaryIO

import numpy as np
import soundfile

from comflp.artifacts import LFS_POINTER
from comflp.data import mp3
from comflp.errors import ComflpError

_BLOCK = 1 << 16
_UNKNOWN = 0x7FFF0000
"""Sizes from here on are what programs write that cannot go back to the header: 0x7FFFF000 (SoX), 0xFFFFFFFF (FFmpeg)."""
_ENDLESS = 1 << 47
"""libsndfile's number of frames, or more, where a header gives none."""
_SIZES = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_FRAMES = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_AFTER_SAMPLES = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"fact", b"PEAK", b"_PMX")
_OGG, _FIRST, _LAST = b"OggS", 2, 4
"""What a page of Ogg begins with, and the flags of a stream's first page and of its last."""
_ID3V1 = 128
"""Bytes of a tag that may stand after everything else."""


HEAD = 1024
"""Bytes by which the beginning of a file tells what it is."""
_OTHERS = (
    (rb"\s*\Z", "it is empty: copy it again"),
    (re.escape(LFS_POINTER), "it is a pointer of Git LFS in the place of the audio: git lfs pull fetches that"),
    (rb"\s*<(!doctype|html|\?xml)", "it is a web page or XML, as a download that failed leaves it: fetch the audio again"),
    (rb"NIST_1A.*embedded-shorten", "it is compressed with shorten: sph2pipe -f wav OLD NEW.wav converts it"),
    (rb"PK\x03\x04|\x1f\x8b|BZh|7z\xbc\xaf", "it is an archive: unpack it"),
)
"""What stands in the place of audio: how it begins, and what to do about it."""


class LengthError(ComflpError):
    """A file is not as long as its header says, or would be read in part only; the message says what was found."""


def open_checked(source: BinaryIO) -> soundfile.SoundFile:
    """``source``, a binary file that can seek, opened; the length in its header is checked as far as the header tells.

    Raises soundfile.SoundFileError, or LengthError.
    """
    source.seek(0)
    file = soundfile.SoundFile(source)
    try:
        _check_log(file)
        if file.format in ("WAV", "WAVEX", "AIFF"):
            _check_rest(file, source)
        elif file.format == "NIST":
            _check_sphere(file, source)
        elif file.format == "OGG":
            _check_ogg(_piece(source, 0))
    except BaseException:
        file.close()
        raise
    return file


def read_whole(source: BinaryIO) -> tuple[np.ndarray, int]:
    """(samples (T, channels) float32, sampling rate): all that the file holds. Raises as :func:`open_checked` does."""
    with open_checked(source) as file:
        if file.format == "MP3":
            return _read_mp3(_piece(source, 0))
        if file.format == "FLAC":
            return _read_flac(file, _piece(source, 0))
        samples = file.read(file.frames if file.frames < _ENDLESS else -1, dtype="float32", always_2d=True)  # some codecs take no -1
        _compare(file.frames, len(samples))
        return samples, file.samplerate


def read_part(source: BinaryIO, begin: float, end: float) -> tuple[np.ndarray, int]:
    """The samples from ``begin`` to ``end``, in seconds, fewer where the audio ends before; and the sampling rate."""
    with open_checked(source) as file:
        rate = file.samplerate
        if file.format not in ("MP3", "OGG") and file.seekable() and file.frames < _ENDLESS:
            first, last = (min(round(second * rate), file.frames) for second in (begin, end))
            file.seek(first)
            samples = file.read(last - first, dtype="float32", always_2d=True)
            _compare(last - first, len(samples))
            return samples, rate
    samples, rate = read_whole(source)
    return samples[round(begin * rate) : round(end * rate)], rate


def count_samples(source: BinaryIO) -> tuple[int, int]:
    """(samples of a channel, sampling rate), from the header where that can be trusted, else by reading."""
    with open_checked(source) as file:
        if file.format != "MP3" and file.frames < _ENDLESS:
            return file.frames, file.samplerate
        if file.format == "MP3" and _agrees(mp3.count_frames(_piece(source, 0))):
            return file.frames, file.samplerate
    samples, rate = read_whole(source)
    return len(samples), rate


def what_to_do(head: bytes) -> str:
    """What to do about a file that libsndfile cannot read, by its first ``HEAD`` bytes; begins with a colon.

    >>> what_to_do(b"")
    ': it is empty: copy it again'
    """
    for pattern, advice in _OTHERS:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            return f": {advice}"
    return ": whatever its name says, it is damaged or in a format that is not read here (M4A, WebM, AMR, ...), which ffmpeg -i OLD NEW.wav converts"


def _read_mp3(content: bytes) -> tuple[np.ndarray, int]:
    frames = mp3.count_frames(content)
    if _agrees(frames):
        return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return mp3.decode(content[frames.begin :])


def _agrees(frames: mp3.Frames) -> bool:
    """Whether a tag says what there is, give or take its own frame. LengthError where it says more: the file was cut."""
    one = 1152
    if frames.promised is not None and frames.promised > frames.num_samples + one:
        raise LengthError(_message(frames.promised, frames.num_samples))
    return frames.promised is not None and frames.promised >= frames.num_samples - one


def _read_flac(file: soundfile.SoundFile, content: bytes) -> tuple[np.ndarray, int]:
    """With the length in its header taken out, FLAC is read to the end of its frames, and what was promised is compared."""
    if content[:4] == b"fLaC" and content[4] & 0x7F == 0:
        content = content[:21] + bytes([content[21] & 0xF0]) + b"\0\0\0\0" + content[26:]
    blocks, ended = [], None
    with soundfile.SoundFile(io.BytesIO(content)) as endless:
        while ended is None and (not blocks or len(blocks[-1])):
            block = np.full((_BLOCK, file.channels), np.nan, np.float32)
            try:
                blocks.append(endless.read(out=block))
            except soundfile.SoundFileError as error:  # at the end of an unknown length too; what is still NaN was not read
                ended = error
                blocks.append(block[: np.count_nonzero(~np.isnan(block[:, 0]))])
    samples = np.concatenate(blocks)
    if file.frames < _ENDLESS:
        _compare(file.frames, len(samples))
    elif not len(samples):
        raise ended
    return samples, file.samplerate


def _check_log(file: soundfile.SoundFile) -> None:
    """libsndfile writes into its log where a size in a header is not the file's."""
    for found, said in _FRAMES.findall(file.extra_info):
        _compare(int(said), int(found))
    for said, found in _SIZES.findall(file.extra_info):
        if int(said) < _UNKNOWN and int(found):
            _compare(round(file.frames * int(said) / int(found)), file.frames)


def _check_rest(file: soundfile.SoundFile, source: BinaryIO) -> None:
    """What follows the samples of WAV or AIFF has to be chunks; else it is samples that the header does not count."""
    name, order = (b"SSND", "big") if file.format == "AIFF" else (b"data", "little")
    before = source.tell()
    total = source.seek(0, io.SEEK_END)
    source.seek(before)
    place, data = 12, None
    while len(head := _piece(source, place, 8)) == 8:
        size = int.from_bytes(head[4:], order)
        if data is None or (head[:4].isascii() and head[:4].decode().isprintable() and place + 8 + size <= total + 1):
            if head[:4] == name:
                data = size
            place += 8 + size + size % 2
            if size % 2 and _piece(source, place - 1, 4) in _AFTER_SAMPLES:  # some programs leave the byte of padding out
                place -= 1
            continue
        if (total - place != _ID3V1 or head[:3] != b"TAG") and _piece(source, place).strip(b"\0"):  # some programs fill up with zeros
            bytes_a_sample = data / file.frames if data and file.frames else 2.0 * file.channels
            raise LengthError(_message(file.frames, file.frames + int((total - place) / bytes_a_sample)))
        return


def _check_sphere(file: soundfile.SoundFile, source: BinaryIO) -> None:
    said = re.search(rb"sample_count -i (\d+)", _piece(source, 0, 1024))
    if said is not None:
        _compare(int(said[1]), file.frames)


def _check_ogg(content: bytes) -> None:
    """Ogg names no length, but its last page is marked. libsndfile reads no further than to the first such mark."""
    place, flags, is_whole = content.find(_OGG), _FIRST, False
    while content[place : place + 4] == _OGG:
        before, flags = flags, int.from_bytes(content[place + 5 : place + 6])
        if flags & _FIRST and not before & _FIRST:  # streams side by side all begin before the second page of any
            raise LengthError("it is several Ogg files in a row, of which only the first would be read; make one of them: ffmpeg -i OLD NEW.wav")
        num_sizes = int.from_bytes(content[place + 26 : place + 27])
        place += 27 + num_sizes + sum(content[place + 27 : place + 27 + num_sizes])
        is_whole = place <= len(content)
    if not (is_whole and flags & _LAST):
        raise LengthError("its last page is not whole or not marked as the end: it was cut off; "
                          "if you know that nothing is missing, ffmpeg -i OLD -c copy NEW.ogg adds the mark")


def _piece(source: BinaryIO, place: int, length: int = -1) -> bytes:
    """Bytes of ``source`` from ``place``, whose position stays; libsndfile reads on from there."""
    before = source.tell()
    source.seek(place)
    content = source.read(length)
    source.seek(before)
    return content


def _compare(promised: int, found: int) -> None:
    if promised != found:
        raise LengthError(_message(promised, found))


def _message(promised: int, found: int) -> str:
    what = "it was cut off or is damaged" if found < promised else "its header was not completed"
    return f"its header promises {promised:,} samples and the file holds {found:,}: {what}"
