"""One utterance of a data directory."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a recording: the recording's id in wav.scp, begin and end in seconds."""

    recording: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """``wav`` is the path of an audio file or, where the caller allowed it, a shell command ending in ``|``.

    ``text`` is empty when the directory has no transcripts. ``duration`` is in seconds: samples over sampling rate, so
    that equal durations are equal numbers of samples. ``segment`` is the part of ``wav`` that is meant, None for all of
    it. ``content`` is a hash of the audio, empty where nobody has looked at it.
    """

    utt_id: str
    wav: str
    text: str
    speaker: str
    duration: float
    segment: Segment | None = None
    content: str = field(default="", compare=False)
