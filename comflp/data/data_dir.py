"""Kaldi data directories: read, check, write and draw subsets.

A data directory holds one line an utterance in each of its files:

=========  =========================  ==============================================
file       a line                     note
=========  =========================  ==============================================
wav.scp    ``<utt> <path>``           or ``<utt> <command> |``, refused unless allowed
text       ``<utt> <words>``          needed unless the caller says otherwise
utt2spk    ``<utt> <speaker>``        without it every utterance is its own speaker
spk2utt    ``<speaker> <utt> ...``    checked against utt2spk when it is there
utt2dur    ``<utt> <seconds>``        compared with the audio, whose samples decide
segments   ``<utt> <rec> <from> <to>``  wav.scp then has recordings, and these are parts
=========  =========================  ==============================================

Files are UTF-8, in any order of lines. A relative path in wav.scp is relative to the working directory, as in Kaldi.
Names that begin with a dot are not data: ``.audio.json`` keeps what is known of the audio files (comflp/data/inventory.py).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable, Iterable, Iterator

import numpy as np

from comflp.artifacts import atomic_directory, fingerprint_value
from comflp.data.loading import load
from comflp.data.tables import FAULTS_SHOWN, DataError, Fault, id_fault, stop_at_faults
from comflp.data.utterance import Segment, Utterance
from comflp.replacing import Kind
from comflp.text import plain_text

__all__ = ["DATA_DIRECTORY", "DataDir", "Segment", "Utterance", "read_data_dir", "subset", "validate_data_dir", "write_data_dir"]

DATA_DIRECTORY = Kind("data directory", signs=("wav.scp",))


class DataDir:
    """The utterances of one data directory, sorted by id: ``len(data)``, ``data["id"]``, iteration."""

    def __init__(self, path: str | Path, utterances: Iterable[Utterance]):
        self.path = Path(path)
        self.utterances = tuple(sorted(utterances, key=lambda utterance: utterance.utt_id))
        self._by_id = {utterance.utt_id: utterance for utterance in self.utterances}

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def __contains__(self, utt_id: str) -> bool:
        return utt_id in self._by_id

    def __getitem__(self, utt_id: str) -> Utterance:
        return self._by_id[utt_id]

    @property
    def seconds(self) -> float:
        """All audio of the directory, in seconds."""
        return sum(utterance.duration for utterance in self.utterances)

    def fingerprint(self) -> str:
        """SHA-256 over utterance ids, texts and audio (of what was not read from disk: durations).

        Where the audio files lie does not enter it, nor who speaks, which matters to intervals alone (:meth:`speakers`).
        """
        digest = hashlib.sha256()
        for utterance in self.utterances:
            audio = utterance.content or repr(utterance.duration)
            digest.update(f"{utterance.utt_id}\t{utterance.text}\t{audio}\n".encode())
        return digest.hexdigest()

    def speakers(self) -> str:
        """SHA-256 over who speaks which utterance."""
        return fingerprint_value([(utterance.utt_id, utterance.speaker) for utterance in self.utterances])


def read_data_dir(path: str | Path, require_text: bool = True, allow_pipes: bool = False, progress: Callable | None = None) -> DataDir:
    """Read and check a data directory.

    require_text: whether the file ``text`` must be there. When it is there it is always read.
    allow_pipes: whether wav.scp may hold shell commands. They are refused unless the user asked for them.
    progress: wraps the loop over audio files that are new or have changed, as tqdm does.

    Raises DataError, which lists the first 20 faults, each with file and line.
    """
    utterances, faults = load(Path(path), require_text, allow_pipes, progress=progress)
    hint = " (utils/validate_data_dir.sh lists all faults)" if len(faults) > FAULTS_SHOWN else ""
    stop_at_faults(f"{path} is not a usable data directory{hint}", faults)
    return DataDir(path, utterances)


def validate_data_dir(
    path: str | Path, require_text: bool = True, allow_pipes: bool = False, check_audio: bool = False, progress: Callable | None = None
) -> list[Fault]:
    """List every fault of a data directory; an empty list means that it is sound.

    ``check_audio`` also reads every utterance to its end. ``progress`` wraps the loops over audio as tqdm does.
    """
    return load(Path(path), require_text, allow_pipes, check_audio, progress)[1]


def write_data_dir(path: str | Path, utterances: Iterable[Utterance], force: bool = False) -> None:
    """Write wav.scp, text (unless no utterance has one), utt2spk, spk2utt and utt2dur.

    The directory appears whole or not at all. It replaces one that was written so; with ``force`` another data directory
    too, and nothing else (comflp/replacing.py).

    Raises DataError if an utterance could not be read back: an id or speaker that is empty or holds white space, a
    duplicate id, a text over several lines; or if its audio lies in what would be replaced.
    """
    path = Path(path)
    data = DataDir(path, utterances)
    if len(data._by_id) != len(data.utterances):
        raise DataError(f"cannot write {path}: two utterances have the same id")
    with_text = any(utterance.text for utterance in data)
    speakers: dict[str, list[str]] = {}
    for utterance in data:
        fault = _fault_in_writing(utterance, with_text)
        if fault is not None:
            raise DataError(f"cannot write {path}: utterance {utterance.utt_id!r}: {fault}")
        speakers.setdefault(utterance.speaker, []).append(utterance.utt_id)
    recordings, segments = _recordings(path, data)
    inside = [wav for wav in recordings.values() if os.path.abspath(wav).startswith(os.path.join(os.path.abspath(path), ""))]
    if inside:
        raise DataError(f"cannot write {path}: {inside[0]} lies in it and would be removed; name another place")

    with atomic_directory(path, DATA_DIRECTORY, force) as temporary:
        _write_table(temporary / "wav.scp", sorted(recordings.items()))
        if segments:
            _write_table(temporary / "segments", segments)
        if with_text:
            _write_table(temporary / "text", ((u.utt_id, u.text) for u in data))
        _write_table(temporary / "utt2spk", ((u.utt_id, u.speaker) for u in data))
        _write_table(temporary / "spk2utt", ((speaker, " ".join(ids)) for speaker, ids in sorted(speakers.items())))
        _write_table(temporary / "utt2dur", ((u.utt_id, repr(round(u.duration, 6))) for u in data))


def _fault_in_writing(utterance: Utterance, with_text: bool) -> str | None:
    """Why an utterance could not be read back, or None."""
    if any("\n" in field or "\r" in field for field in (utterance.wav, utterance.text)):
        return "its path or text spans several lines"
    if with_text and not plain_text(utterance.text):
        return "its transcript is empty"
    return id_fault(utterance.utt_id) or id_fault(utterance.speaker)


def _recordings(path: Path, data: DataDir) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """(key of wav.scp -> path, rows of segments; none where every utterance is a recording)."""
    recordings: dict[str, str] = {}
    for utterance in data:
        key = utterance.segment.recording if utterance.segment else utterance.utt_id
        if recordings.setdefault(key, utterance.wav) != utterance.wav:
            raise DataError(f"cannot write {path}: recording {key!r} is {recordings[key]} and {utterance.wav}")
    cut = [(utterance.utt_id, utterance.segment) for utterance in data if utterance.segment]
    if cut and len(cut) != len(data):
        raise DataError(f"cannot write {path}: {len(cut)} of {len(data)} utterances are segments; either all are, or none")
    return recordings, [(utt_id, f"{segment.recording} {segment.start!r} {segment.end!r}") for utt_id, segment in cut]


def subset(data: DataDir, n: int, seed: int) -> DataDir:
    """Draw ``n`` utterances at random without replacement, returned as a DataDir sorted by id.

    >>> data = DataDir("x", [Utterance(f"u{i}", "a.wav", "t", "s", 1.0) for i in range(9)])
    >>> [u.utt_id for u in subset(data, 3, seed=1)] == [u.utt_id for u in subset(data, 3, seed=1)]
    True
    >>> len(subset(data, 3, seed=1))
    3
    """
    if not 1 <= n <= len(data):
        raise DataError(f"cannot draw {n} utterances from {data.path}, which has {len(data)}")
    chosen = np.random.default_rng(seed).choice(len(data), size=n, replace=False)
    return DataDir(data.path, [data.utterances[i] for i in chosen])


def _write_table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    path.write_text("".join(f"{key} {value}\n" for key, value in rows), encoding="utf-8", newline="\n")
