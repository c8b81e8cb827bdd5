"""Reading audio: any format that libsndfile knows, as mono float32 at the rate that is asked for."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator

import numpy as np
import soundfile
import soxr

from comflp.data.containers import HEAD, LengthError, count_samples, read_part, read_whole, what_to_do
from comflp.data.utterance import Utterance
from comflp.errors import ComflpError

# A damaged header can also make libsndfile claim more samples than memory holds, or a shape that numpy refuses.
_DECODING_ERRORS = (soundfile.SoundFileError, LengthError, OSError, MemoryError, ValueError, TypeError, OverflowError)

_RATES = range(1_000, 1_000_001)
"""Sampling rates, in Hz, that speech may come at; a damaged header names others, and the waveform would be noise."""

_IN_ARCHIVE = re.compile(r"\.ark:\d+(\[.*\])?$")
"""How Kaldi names what stands in an archive from a byte on."""

_CANCELLED = 0.05
"""Power of the mean of channels below this share of their mean power: one is (nearly) the other upside down."""

_BLOCKS, _BLOCK = 16, 1 << 16
"""A file's content is known by so many blocks of so many bytes, evenly spaced: all of it up to 1 MiB."""


class AudioWarning(UserWarning):
    """Audio was resampled or mixed down. Python shows each such message once."""


class AudioError(ComflpError):
    """An audio file cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What is to know of a recording without decoding it. num_samples: how many a channel has. content: a hash of size and bytes."""

    num_samples: int
    sample_rate: int
    content: str


def read_audio(utterance_or_path: Utterance | str | Path, sample_rate: int, allow_pipes: bool = False) -> np.ndarray:
    """Read one utterance, or one audio file, as a mono waveform.

    Several channels are averaged, or the loudest is taken where they cancel each other out; another sampling rate is
    converted (soxr, high quality). Each is said once by an AudioWarning.

    utterance_or_path: an Utterance, of whose recording only its segment is read, or a path.
    sample_rate: samples a second of what is returned.
    allow_pipes: whether an utterance's ``wav`` may be a shell command ending in ``|``.

    Returns float32 (num_samples,), values in [-1, 1] for integer formats.

    Raises AudioError, naming utterance and file: the file is missing, unreadable, empty, not as long as its header
    says, holds values that are not finite, or is not the one that the data directory was read with (``content``); or it is a
    pipe and pipes were not allowed.
    """
    utt_id = getattr(utterance_or_path, "utt_id", None)
    segment = getattr(utterance_or_path, "segment", None)
    wav = os.fspath(getattr(utterance_or_path, "wav", utterance_or_path))
    try:
        with _opened(wav, allow_pipes) as source:
            samples, rate = read_whole(source) if segment is None else read_part(source, segment.start, segment.end)
            _check(wav, len(samples), rate)
            _check_same(source, wav, getattr(utterance_or_path, "content", ""))
        if not np.isfinite(samples).all():
            raise AudioError(f"{wav} holds samples that are not finite numbers")
    except AudioError as error:
        if utt_id is None:
            raise
        raise AudioError(f"utterance {utt_id!r}: {error}") from error
    waveform = mixed(samples)
    if rate != sample_rate:
        warnings.warn(f"audio at {rate} Hz is resampled to {sample_rate} Hz", AudioWarning, stacklevel=1)
        waveform = soxr.resample(waveform, rate, sample_rate)
    return waveform


def audio_facts(wav: str | Path, allow_pipes: bool = False) -> AudioFacts:
    """What the header and a hash of the bytes tell of a recording (an allowed pipe is run).

    Raises AudioError as :func:`read_audio` does, but for what only decoding shows.
    """
    wav = os.fspath(wav)
    with _opened(wav, allow_pipes) as source:
        num_samples, rate = count_samples(source)
        _check(wav, num_samples, rate)
        return AudioFacts(num_samples, rate, _content(source))


def audio_seconds(wav: str | Path) -> float:
    """Length of a recording in seconds, by its samples. Raises AudioError as :func:`audio_facts` does."""
    wav = os.fspath(wav)
    with _opened(wav, allow_pipes=False) as source:
        num_samples, rate = count_samples(source)
    _check(wav, num_samples, rate)
    return num_samples / rate


def mixed(samples: np.ndarray) -> np.ndarray:
    """(T,) of samples (T, channels): their average, or the loudest channel where they cancel each other out. A warning says which."""
    channels = samples.shape[1]
    if channels == 1:
        return np.ascontiguousarray(samples[:, 0])
    mean = samples.mean(axis=1, dtype=np.float32)
    powers = np.square(samples, dtype=np.float64).mean(axis=0)
    if np.square(mean, dtype=np.float64).mean() < _CANCELLED * powers.mean():
        warnings.warn(f"audio of {channels} channels that cancel each other out: the loudest one is taken", AudioWarning, stacklevel=1)
        return np.ascontiguousarray(samples[:, int(powers.argmax())])
    warnings.warn(f"audio of {channels} channels is mixed down to one", AudioWarning, stacklevel=1)
    return mean


@contextlib.contextmanager
def _opened(wav: str, allow_pipes: bool) -> Iterator[BinaryIO]:
    """The bytes of a file, or what an allowed pipe prints; what goes wrong with them in the block names ``wav``."""
    said = ""  # of a pipe: its status is that of its last command, so what the others said is kept
    head = None
    try:
        if wav.endswith("|"):
            content, said = _run_pipe(wav, allow_pipes)
            yield io.BytesIO(content)
            return
        if not stat.S_ISREG(os.stat(wav).st_mode):  # reading a named pipe would wait for ever
            raise AudioError(f"{wav} cannot be read as audio (it is a folder, a device or a named pipe, and not a file)")
        with open(wav, "rb") as source:
            head = source.read(HEAD)
            yield source
    except FileNotFoundError:
        if _IN_ARCHIVE.search(wav):
            raise AudioError(f"{wav} is a place in an archive, and archives are not read: copy what is there to a file of its own "
                             f"(Kaldi: wav-copy {wav} NEW.wav), and name that") from None
        raise AudioError(f"there is no file {wav}" + ("" if os.path.isabs(wav) else f" in {os.getcwd()}")) from None
    except _DECODING_ERRORS as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        hint = what_to_do(head) if head is not None and isinstance(error, soundfile.SoundFileError) else ""
        raise AudioError(f"{wav} cannot be read as audio ({reason})" + hint + (f"; the command said: {said}" if said else "")) from error


def _content(source: BinaryIO) -> str:
    """A hash of the size and of evenly spaced blocks of what ``source`` holds."""
    size = source.seek(0, io.SEEK_END)
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    step = max(_BLOCK, (size - _BLOCK) / (_BLOCKS - 1))
    for number in range(_BLOCKS):
        source.seek(int(number * step))
        digest.update(source.read(_BLOCK))
    return digest.hexdigest()


def _check(wav: str, num_samples: int, rate: int) -> None:
    """AudioError unless there are samples, at a sampling rate that audio can have."""
    if num_samples < 1:
        raise AudioError(f"{wav} holds no audio")
    if rate not in _RATES:
        raise AudioError(f"{wav} says that it has {rate} samples a second: its header is damaged")


def _check_same(source: BinaryIO, wav: str, content: str) -> None:
    """AudioError where a file is another than the one with the ``content`` that its data directory was read with.

    What a command prints may differ from call to call, as dither does.
    """
    if content and not wav.endswith("|") and _content(source) != content.partition(":")[0]:
        raise AudioError(f"{wav} has changed since its data directory was read, and results would be of both; run this again")


def _run_pipe(wav: str, allow_pipes: bool) -> tuple[bytes, str]:
    """What the shell command of an allowed pipe prints: stdout, and the end of stderr in one line."""
    if not allow_pipes:
        raise AudioError(f"{wav!r} is a pipe; commands from data run only with --allow-pipes")
    done = subprocess.run(wav[:-1], shell=True, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    said = " / ".join(done.stderr.decode(errors="replace").split("\n")).strip(" /")[-200:]
    if done.returncode != 0:
        raise AudioError(f"the pipe {wav!r} ended with status {done.returncode}: {said}")
    return done.stdout, said
