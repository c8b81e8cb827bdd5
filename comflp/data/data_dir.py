"""Kaldi data directories: read, check, write and draw subsets.

A data directory holds one line an utterance in each of its files:

=========  =========================  ==============================================
file       a line                     note
=========  =========================  ==============================================
wav.scp    ``<utt> <path>``           or ``<utt> <command> |``, refused unless allowed
text       ``<utt> <words>``          needed unless the caller says otherwise
utt2spk    ``<utt> <speaker>``        without it every utterance is its own speaker
spk2utt    ``<speaker> <utt> ...``    checked against utt2spk when it is there
utt2dur    ``<utt> <seconds>``        without it the audio headers are read
=========  =========================  ==============================================

Files are UTF-8, in any order of lines. A relative path in wav.scp is relative to the working directory, as in Kaldi.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comflp.artifacts import atomic_directory
from comflp.data.audio import audio_seconds
from comflp.data.tables import DataError, Fault, id_fault, read_table, stop_at_faults
from comflp.errors import ComflpError


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of a data directory.

    ``wav`` is the path of an audio file or, where the caller allowed it, a shell command ending in ``|``. ``text`` is
    empty when the directory has no transcripts. ``duration`` is in seconds.
    """

    utt_id: str
    wav: str
    text: str
    speaker: str
    duration: float


class DataDir:
    """The utterances of one data directory, sorted by id: ``len(data)``, ``data["id"]``, iteration."""

    def __init__(self, path, utterances):
        self.path = Path(path)
        self.utterances = tuple(sorted(utterances, key=lambda utterance: utterance.utt_id))
        self._by_id = {utterance.utt_id: utterance for utterance in self.utterances}

    def __len__(self):
        return len(self.utterances)

    def __iter__(self):
        return iter(self.utterances)

    def __contains__(self, utt_id):
        return utt_id in self._by_id

    def __getitem__(self, utt_id):
        return self._by_id[utt_id]

    @property
    def seconds(self):
        """All audio of the directory, in seconds."""
        return sum(utterance.duration for utterance in self.utterances)

    def fingerprint(self):
        """SHA-256 over utterance ids, texts and durations; where the audio files lie does not enter it."""
        digest = hashlib.sha256()
        for utterance in self.utterances:
            digest.update(f"{utterance.utt_id}\t{utterance.text}\t{utterance.duration!r}\n".encode())
        return digest.hexdigest()


def read_data_dir(path, require_text=True, allow_pipes=False):
    """Read and check a data directory.

    Parameters
    ----------
    path : path of the directory.
    require_text : whether the file ``text`` must be there. When it is there it is always read.
    allow_pipes : whether wav.scp may hold shell commands. They are refused unless the user asked for them.

    Returns
    -------
    DataDir

    Raises
    ------
    DataError : lists the first 20 faults, each with file and line.
    """
    utterances, faults = _load(Path(path), require_text, allow_pipes, check_audio=False)
    stop_at_faults(f"{path} is not a usable data directory (utils/validate_data_dir.sh lists all faults)", faults)
    return DataDir(path, utterances)


def validate_data_dir(path, require_text=True, allow_pipes=False, check_audio=False, progress=None):
    """List every fault of a data directory; an empty list means that it is sound.

    ``check_audio`` also opens the header of every audio file and compares its length with utt2dur. ``progress`` wraps
    that loop as tqdm does.
    """
    return _load(Path(path), require_text, allow_pipes, check_audio, progress)[1]


def write_data_dir(path, utterances):
    """Write wav.scp, text (unless no utterance has one), utt2spk, spk2utt and utt2dur.

    The directory appears whole or not at all, and replaces one that is there.

    Raises DataError if an utterance could not be read back: an id or speaker that is empty or holds white space, a
    duplicate id, a text over several lines.
    """
    path = Path(path)
    data = DataDir(path, utterances)
    if len(data._by_id) != len(data.utterances):
        raise DataError(f"cannot write {path}: two utterances have the same id")
    with_text = any(utterance.text for utterance in data)
    speakers = {}
    for utterance in data:
        fault = id_fault(utterance.utt_id) or id_fault(utterance.speaker)
        if fault is None and any("\n" in field or "\r" in field for field in (utterance.wav, utterance.text)):
            fault = "its path or text spans several lines"
        if fault is None and with_text and not utterance.text.strip():
            fault = "its transcript is empty"
        if fault is not None:
            raise DataError(f"cannot write {path}: utterance {utterance.utt_id!r}: {fault}")
        speakers.setdefault(utterance.speaker, []).append(utterance.utt_id)

    with atomic_directory(path) as temporary:
        _write_table(temporary / "wav.scp", ((u.utt_id, u.wav) for u in data))
        if with_text:
            _write_table(temporary / "text", ((u.utt_id, u.text) for u in data))
        _write_table(temporary / "utt2spk", ((u.utt_id, u.speaker) for u in data))
        _write_table(temporary / "spk2utt", ((speaker, " ".join(ids)) for speaker, ids in sorted(speakers.items())))
        _write_table(temporary / "utt2dur", ((u.utt_id, repr(round(u.duration, 6))) for u in data))


def subset(data, n, seed):
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


def _write_table(path, rows):
    path.write_text("".join(f"{key} {value}\n" for key, value in rows), encoding="utf-8", newline="\n")


def _compare_ids(faults, wav_path, wavs, path, table):
    for key in wavs.keys() - table.keys():
        faults.append(Fault(str(wav_path), wavs[key][1], f"utterance {key!r} has no line in {path.name}"))
    for key in table.keys() - wavs.keys():
        faults.append(Fault(str(path), table[key][1], f"utterance {key!r} has no line in {wav_path.name}"))


def _load(path, require_text, allow_pipes, check_audio, progress=None):
    """Both halves of reading: the utterances, and the sorted list of faults."""
    faults = []
    if not path.is_dir():
        return [], [Fault(str(path), 0, "there is no such directory")]
    if (path / "segments").exists():
        faults.append(Fault(str(path / "segments"), 0, "segments are not supported: cut the audio into one file an utterance"))
    wav_path = path / "wav.scp"
    wavs = read_table(wav_path, faults)
    if not wavs and not faults:
        faults.append(Fault(str(wav_path), 0, "has no utterances"))

    tables = {}
    for name in ("text", "utt2spk", "utt2dur"):
        if (path / name).exists() or (name == "text" and require_text):
            tables[name] = read_table(path / name, faults)
            _compare_ids(faults, wav_path, wavs, path / name, tables[name])
            for key, (value, number) in tables[name].items():
                if not value:
                    what = {"text": "transcript", "utt2spk": "speaker", "utt2dur": "duration"}[name]
                    faults.append(Fault(str(path / name), number, f"utterance {key!r} has an empty {what}"))
    if "utt2spk" in tables:
        _check_speakers(path, tables["utt2spk"], faults)

    durations = _stated_durations(path / "utt2dur", tables.get("utt2dur", {}), faults)
    readable = _check_paths(wav_path, wavs, allow_pipes, faults)
    if check_audio or "utt2dur" not in tables:
        ids = readable if progress is None else progress(readable, desc="audio headers", total=len(readable))
        for key in ids:
            _check_header(wav_path, wavs[key], key, allow_pipes, durations, faults)
    faults.sort()
    if faults:
        return [], faults

    texts, speakers = tables.get("text", {}), tables.get("utt2spk", {})
    return [Utterance(key, wav, texts[key][0] if texts else "", speakers[key][0] if speakers else key, durations[key])
            for key, (wav, _) in wavs.items()], faults


def _stated_durations(path, table, faults):
    durations = {}
    for key, (value, number) in table.items():
        if not value:
            continue
        try:
            seconds = float(value)
        except ValueError:
            seconds = float("nan")
        if 0 < seconds < float("inf"):
            durations[key] = seconds
        else:
            faults.append(Fault(str(path), number, f"utterance {key!r}: {value!r} is not a duration in seconds"))
    return durations


def _check_speakers(path, utt2spk, faults):
    """Speaker names, and spk2utt against utt2spk."""
    for key, (speaker, number) in utt2spk.items():
        fault = id_fault(speaker) if speaker else None
        if fault is not None:
            faults.append(Fault(str(path / "utt2spk"), number, f"utterance {key!r}: {fault}"))
    if not (path / "spk2utt").exists():
        return
    listed = {}
    for speaker, (ids, number) in read_table(path / "spk2utt", faults).items():
        for key in ids.split():
            listed[key] = speaker
            if key not in utt2spk or utt2spk[key][0] != speaker:
                faults.append(Fault(str(path / "spk2utt"), number, f"utt2spk does not give {key!r} to speaker {speaker!r}"))
    for key in utt2spk.keys() - listed.keys():
        faults.append(Fault(str(path / "utt2spk"), utt2spk[key][1], f"utterance {key!r} is not in spk2utt"))


def _check_paths(wav_path, wavs, allow_pipes, faults):
    """The ids whose audio is there (or is an allowed command). Folders are listed once, not asked file by file."""
    listings = {}
    readable = []
    for key, (wav, number) in wavs.items():
        if wav.endswith("|"):
            if allow_pipes:
                readable.append(key)
            else:
                faults.append(Fault(str(wav_path), number, f"utterance {key!r} is a pipe; commands from data run only "
                                                           "with --allow-pipes"))
            continue
        if not wav:
            faults.append(Fault(str(wav_path), number, f"utterance {key!r} has no path"))
            continue
        folder, name = os.path.split(wav)
        if folder not in listings:
            try:
                listings[folder] = frozenset(os.listdir(folder or "."))
            except (OSError, ValueError):
                listings[folder] = frozenset()
        if name in listings[folder] or os.path.isfile(wav):
            readable.append(key)
        else:
            faults.append(Fault(str(wav_path), number, f"utterance {key!r}: there is no file {wav}"))
    return readable


def _check_header(wav_path, entry, key, allow_pipes, durations, faults):
    """Open one audio header; a missing duration is filled in, a stated one compared."""
    wav, number = entry
    try:
        seconds = round(audio_seconds(wav, allow_pipes), 6)
    except ComflpError as error:
        faults.append(Fault(str(wav_path), number, f"utterance {key!r}: {error}"))
        return
    stated = durations.setdefault(key, seconds)
    if abs(stated - seconds) > max(0.1, 0.05 * seconds):
        faults.append(Fault(str(wav_path), number, f"utterance {key!r}: {wav} lasts {seconds:.3f} s, utt2dur says {stated:g} s"))
