"""Reading audio: any format that libsndfile knows, as mono float32 at the rate that is asked for."""

import io
import os
import subprocess
import warnings

import numpy as np
import soundfile
import soxr

from comflp.errors import ComflpError


# A damaged header can also make libsndfile claim more samples than memory holds, or a shape that numpy refuses.
_DECODING_ERRORS = (soundfile.SoundFileError, OSError, MemoryError, ValueError, TypeError)

_RATES = range(1_000, 1_000_001)
"""Sampling rates, in Hz, that speech may come at; a damaged header names others, and the waveform would be noise."""


class AudioWarning(UserWarning):
    """Audio was resampled or mixed down. Python shows each such message once."""


class AudioError(ComflpError):
    """An audio file cannot be used; the message names it."""


def read_audio(utterance_or_path, sample_rate, allow_pipes=False):
    """Read one utterance, or one audio file, as a mono waveform.

    Several channels are averaged, another sampling rate is converted (soxr, high quality); each is said once by an
    AudioWarning.

    Parameters
    ----------
    utterance_or_path : an Utterance, or a path.
    sample_rate : samples a second of what is returned.
    allow_pipes : whether an utterance's ``wav`` may be a shell command ending in ``|``.

    Returns
    -------
    float32 array (num_samples,), values in [-1, 1] for integer formats

    Raises
    ------
    AudioError : the file is missing, unreadable, empty or holds values that are not finite; or it is a pipe and pipes
        were not allowed. The message names the utterance and the file.
    """
    utt_id = getattr(utterance_or_path, "utt_id", None)
    wav = os.fspath(getattr(utterance_or_path, "wav", utterance_or_path))
    try:
        samples, rate = _decode(wav, allow_pipes)
    except AudioError as error:
        raise error if utt_id is None else AudioError(f"utterance {utt_id!r}: {error}") from error
    if samples.shape[1] > 1:
        warnings.warn(f"audio of {samples.shape[1]} channels is mixed down to one", AudioWarning, stacklevel=1)
    waveform = np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32) if samples.shape[1] > 1 else samples[:, 0])
    if rate != sample_rate:
        warnings.warn(f"audio at {rate} Hz is resampled to {sample_rate} Hz", AudioWarning, stacklevel=1)
        waveform = soxr.resample(waveform, rate, sample_rate)
    return waveform


def audio_seconds(wav, allow_pipes=False):
    """Length of an audio file in seconds, from its header (an allowed pipe is run). Raises AudioError as read_audio does."""
    wav = os.fspath(wav)
    if wav.endswith("|"):
        samples, rate = _decode(wav, allow_pipes)
        return len(samples) / rate
    try:
        info = soundfile.info(wav)
    except _DECODING_ERRORS as error:
        raise _unreadable(wav, error) from error
    _check(wav, info.frames, info.samplerate)
    return info.frames / info.samplerate


def _decode(wav, allow_pipes):
    """Samples (num_samples, num_channels) float32 and the sampling rate."""
    source = io.BytesIO(_run_pipe(wav, allow_pipes)) if wav.endswith("|") else wav
    try:
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except _DECODING_ERRORS as error:
        raise _unreadable(wav, error) from error
    _check(wav, samples.shape[0], rate)
    if not np.isfinite(samples).all():
        raise AudioError(f"{wav} holds samples that are not finite numbers")
    return samples, rate


def _check(wav, num_samples, rate):
    """AudioError unless the header names samples, and a sampling rate that audio can have."""
    if num_samples < 1:
        raise AudioError(f"{wav} holds no audio")
    if rate not in _RATES:
        raise AudioError(f"{wav} says that it has {rate} samples a second: its header is damaged")


def _run_pipe(wav, allow_pipes):
    """The bytes that the shell command of an allowed pipe prints."""
    if not allow_pipes:
        raise AudioError(f"{wav!r} is a pipe; commands from data run only with --allow-pipes")
    done = subprocess.run(wav[:-1], shell=True, capture_output=True, check=False)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip()
        raise AudioError(f"the pipe {wav!r} ended with status {done.returncode}: {message}")
    return done.stdout


def _unreadable(wav, error):
    if not os.path.exists(wav) and not wav.endswith("|"):
        return AudioError(f"there is no file {wav}")
    return AudioError(f"{wav} cannot be read as audio ({error})")
