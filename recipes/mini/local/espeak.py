"""Speech from espeak-ng through its C API; the PyPI package espeakng-loader brings the library and its voices.

espeak-ng keeps state between utterances (and random numbers for breath), so the samples of an utterance depend on what
the process said before. For the same bytes every time, start a process for each run of utterances and say them in the
same order.
"""

import ctypes

import espeakng_loader
import numpy as np

_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """One espeak-ng synthesiser; a process can have one. ``sample_rate`` is in Hz."""

    def __init__(self, seed=0):
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_Synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint,
                                               ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _DONT_EXIT)
        if self.sample_rate <= 0:
            raise RuntimeError("espeak-ng does not start; is the package espeakng-loader whole?")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._pieces = []
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, _events):
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def set_voice(self, name, words_per_minute, pitch, pitch_range):
        """Choose a voice such as ``cmn+f2``; pitch and its range are 0 to 100, 50 being the voice's own."""
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r}")
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, int(value), 0)

    def say(self, text):
        """Samples of ``text`` without the silence around it: float32 in [-1, 1] at ``sample_rate``."""
        self._pieces.clear()
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.int16)
        sounding = np.flatnonzero(np.abs(samples) > 60)
        if not len(sounding):
            raise ValueError(f"espeak-ng says nothing for {text!r}")
        return samples[sounding[0]:sounding[-1] + 1].astype(np.float32) / 32768
