"""How many samples an MP3 file really holds: its frames are counted, and compared with what its length tag says.

MP3 has no length of its own. Encoders add a first frame with a tag (Xing, Info) that gives one. libsndfile believes the
tag, or guesses from the bit rate of the first frames where there is none, and reads no further.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import numpy as np
import soundfile

_BITRATES = {  # kbit/s of the 16 codes in layer III: MPEG 1, and MPEG 2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Frames:
    """num_samples: how many the audio frames of a file hold, a channel. promised: what its tag says, None without one.
    begin: byte at which the first audio frame begins, after any tags."""

    num_samples: int
    promised: int | None
    begin: int


def count_frames(content: bytes) -> Frames:
    """Walk over the frames of an MP3 file, which is given as its bytes."""
    place = _first_frame(content)
    samples, promised, begin = 0, None, place
    while (size_and_samples := _frame(content, place)) is not None:
        size, in_frame = size_and_samples
        tag = _tag(content[place : place + size]) if place == begin and not samples else None
        if tag is not None:
            promised, begin = tag * in_frame, place + size
        else:
            samples += in_frame
        place += size
        if _frame(content, place) is None:  # another tag, or damage: go on where two frames follow each other
            place = _next_pair(content, place)
    return Frames(samples, promised, begin)


def decode(content: bytes) -> tuple[np.ndarray, int]:
    """(samples (T, channels) float32, sampling rate) of the frames in ``content``, to its end.

    Raises soundfile.SoundFileError where it holds no MP3 frames.
    """
    source, sink = os.pipe()
    # Of a pipe libsndfile cannot know the length, so it reads until the frames end.
    feeder = threading.Thread(target=_feed, args=(sink, content), daemon=True)
    feeder.start()
    try:
        with open(source, "rb") as end, soundfile.SoundFile(end.fileno(), closefd=False) as file:
            blocks = [file.read(_BLOCK, dtype="float32", always_2d=True)]
            while len(blocks[-1]):
                blocks.append(file.read(_BLOCK, dtype="float32", always_2d=True))
            return np.concatenate(blocks), file.samplerate
    finally:
        feeder.join()


def _feed(sink: int, content: bytes) -> None:
    try:
        with open(sink, "wb") as file:
            file.write(content)
    except BrokenPipeError:  # the reader ended early
        return


def _first_frame(content: bytes) -> int:
    """The byte after an ID3v2 tag, if the file begins with one."""
    place = 0
    if content[:3] == b"ID3" and len(content) > 10:
        place = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0)))
    return place if _frame(content, place) is not None else _next_pair(content, place)


def _next_pair(content: bytes, place: int) -> int:
    """The next place at which a frame begins that another follows; the end of the file where there is none."""
    while (place := content.find(b"\xff", place)) >= 0:
        frame = _frame(content, place)
        if frame is not None and _frame(content, place + frame[0]) is not None:
            return place
        place += 1
    return len(content)


def _frame(content: bytes, place: int) -> tuple[int, int] | None:
    """(bytes, samples) of the layer III frame that begins at ``place``; None where none does."""
    head = content[place : place + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bitrate_code, rate_code = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate_code == 3:
        return None
    bitrate, rate = _BITRATES[version == 3][bitrate_code], _RATES[version][rate_code]
    if not bitrate:
        return None
    samples = 1152 if version == 3 else 576
    return samples // 8 * bitrate * 1000 // rate + (head[2] >> 1 & 1), samples


def _tag(frame: bytes) -> int | None:
    """The number of frames that a Xing or Info tag says; None where the frame is no tag, or says none."""
    is_mono = frame[3] >> 6 == 3
    side = (17 if is_mono else 32) if frame[1] >> 3 & 3 == 3 else (9 if is_mono else 17)
    begin = 4 + side
    if frame[begin : begin + 4] not in (b"Xing", b"Info"):
        return None
    has_count = len(frame) >= begin + 12 and frame[begin + 7] & 1
    return int.from_bytes(frame[begin + 8 : begin + 12], "big") if has_count else 0
