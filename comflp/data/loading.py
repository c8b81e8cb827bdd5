"""The tables of a Kaldi data directory brought together: its utterances, or every fault with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, Mapping

from comflp.data.audio import AudioError, AudioFacts, read_audio
from comflp.data.inventory import CACHE, take_inventory
from comflp.data.tables import Fault, Table, id_fault, read_table
from comflp.data.utterance import Segment, Utterance
from comflp.errors import ComflpError
from comflp.text import plain_text

OVERSHOOT = 0.5
"""Seconds by which a segment may end after its recording, as in Kaldi; what is not there is not read."""


def load(
    path: Path, require_text: bool, allow_pipes: bool, check_audio: bool = False, progress: Callable | None = None
) -> tuple[list[Utterance], list[Fault]]:
    """(utterances, sorted faults); no utterances where there are faults. Parameters as of ``validate_data_dir``."""
    faults: list[Fault] = []
    if not path.is_dir():
        return [], [Fault(str(path), 0, "there is no such directory")]
    wavs = read_table(path / "wav.scp", faults)
    segments = _read_segments(path / "segments", wavs, faults) if (path / "segments").exists() else None
    ids = {key: number for key, (_, number) in wavs.items()} if segments is None else {key: n for key, (_, n) in segments.items()}
    owner = path / ("wav.scp" if segments is None else "segments")
    if not ids and not faults:
        faults.append(Fault(str(owner), 0, "has no utterances"))

    tables = _tables(path, ids, owner, require_text, faults)
    if "utt2spk" in tables:
        _check_speakers(path, tables["utt2spk"], faults)
    stated = _stated_durations(path / "utt2dur", tables.get("utt2dur", {}), faults)
    facts = _check_recordings(path, wavs, segments is not None, allow_pipes, progress, faults)

    texts, speakers = tables.get("text", {}), tables.get("utt2spk", {})
    utterances, rates = [], []
    for key, number in ids.items():
        segment = segments[key][0] if segments is not None else None
        recording = key if segment is None else segment.recording
        if recording not in facts:
            continue
        wav, known = wavs[recording][0], facts[recording]
        fault = None
        if segment is None:
            duration, content = known.num_samples / known.sample_rate, known.content
        else:
            segment, duration, content, fault = _cut(segment, known)
        if fault is None and abs(stated.get(key, duration) - duration) > max(0.1, 0.05 * duration):
            fault = f"{wav} lasts {duration:.3f} s, utt2dur says {stated[key]:g} s"
        if fault is not None:
            faults.append(Fault(str(owner), number, f"utterance {key!r}: {fault}"))
        text, speaker = texts[key][0] if key in texts else "", speakers[key][0] if key in speakers else key
        utterances.append(Utterance(key, wav, text, speaker, duration, segment, content))
        rates.append(known.sample_rate)
    if check_audio:
        faults += [Fault(str(owner), ids[key], fault) for key, fault in _faults_of_audio(utterances, rates, allow_pipes, progress)]
    faults.sort()
    return ([], faults) if faults else (utterances, faults)


def _cut(segment: Segment, recording: AudioFacts) -> tuple[Segment, float, str, str | None]:
    """(the segment within its recording, its duration, a hash of its audio, a fault or None)."""
    rate, length = recording.sample_rate, recording.num_samples / recording.sample_rate
    fault = None
    if segment.end > length + OVERSHOOT and segment.end != float("inf"):
        fault = f"it ends at {segment.end:g} s, its recording at {length:.3f} s"
    within = Segment(segment.recording, min(segment.start, length), min(segment.end, length))
    first, last = round(within.start * rate), round(within.end * rate)
    if first >= last:
        fault = f"it has no samples between {segment.start:g} s and the end of its recording at {length:.3f} s"
    return within, (last - first) / rate, f"{recording.content}:{first}:{last}", fault


def _read_segments(path: Path, wavs: Table, faults: list[Fault]) -> dict[str, tuple[Segment, int]]:
    """Utterance -> (Segment, line) of ``<utt> <recording> <begin> <end>`` lines; an end of -1 is the recording's."""
    segments = {}
    for key, (value, number) in read_table(path, faults).items():
        fields = value.split()
        try:
            recording, start, end = fields[0], *map(float, fields[1:])
            if end == -1:
                end = float("inf")
            if not 0 <= start < end:
                raise ValueError
        except (ValueError, IndexError):
            faults.append(Fault(str(path), number, f"utterance {key!r}: {value!r} is not a recording, a begin and a later end in seconds"))
            continue
        if recording in wavs:
            segments[key] = (Segment(recording, start, end), number)
        else:
            faults.append(Fault(str(path), number, f"utterance {key!r}: recording {recording!r} has no line in wav.scp"))
    return segments


def _tables(path: Path, ids: Mapping[str, int], owner: Path, require_text: bool, faults: list[Fault]) -> dict[str, Table]:
    """text, utt2spk and utt2dur, those that there are, compared with the ids."""
    tables = {}
    for name, what in (("text", "transcript"), ("utt2spk", "speaker"), ("utt2dur", "duration")):
        if not (path / name).exists() and not (name == "text" and require_text):
            continue
        table = tables[name] = read_table(path / name, faults)
        faults += [Fault(str(owner), ids[key], f"utterance {key!r} has no line in {name}") for key in ids.keys() - table.keys()]
        for key, (value, number) in table.items():
            if key not in ids:
                faults.append(Fault(str(path / name), number, f"utterance {key!r} has no line in {owner.name}"))
            if not plain_text(value):
                faults.append(Fault(str(path / name), number, f"utterance {key!r} has an empty {what}"))
    return tables


def _stated_durations(path: Path, table: Table, faults: list[Fault]) -> dict[str, float]:
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


def _check_speakers(path: Path, utt2spk: Table, faults: list[Fault]) -> None:
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


def _check_recordings(
    path: Path, wavs: Table, in_segments: bool, allow_pipes: bool, progress: Callable | None, faults: list[Fault]
) -> dict[str, AudioFacts]:
    """Key of wav.scp -> its AudioFacts, of those that can be used."""
    what = "recording" if in_segments else "utterance"
    usable = {}
    pipes = []
    for key, (wav, number) in wavs.items():
        if not wav:
            faults.append(Fault(str(path / "wav.scp"), number, f"{what} {key!r} has no path"))
        elif wav.endswith("|") and not allow_pipes:
            pipes.append((number, key))
        else:
            usable[key] = wav
    if pipes:
        more = f" (and {len(pipes) - 1:,} more)" if len(pipes) > 1 else ""
        faults.append(Fault(str(path / "wav.scp"), pipes[0][0], f"{what} {pipes[0][1]!r} is a pipe{more}; commands from data run only with --allow-pipes"))
    inventory = take_inventory(usable.values(), path / CACHE, allow_pipes, progress)
    facts = {}
    for key, wav in usable.items():
        found = inventory[wav]
        if isinstance(found, AudioError):
            faults.append(Fault(str(path / "wav.scp"), wavs[key][1], f"{what} {key!r}: {found}"))
        else:
            facts[key] = found
    return facts


def _faults_of_audio(
    utterances: list[Utterance], rates: list[int], allow_pipes: bool, progress: Callable | None
) -> Iterator[tuple[str, str]]:
    """(utterance id, fault) where its audio, read to the end, cannot be used."""
    pairs = zip(utterances, rates)
    for utterance, rate in pairs if progress is None else progress(pairs, desc="audio", total=len(rates)):
        try:
            found, promised = len(read_audio(utterance, rate, allow_pipes)), round(utterance.duration * rate)
        except ComflpError as error:
            yield utterance.utt_id, str(error)
            continue
        if found != promised:
            yield utterance.utt_id, f"utterance {utterance.utt_id!r}: its header promises {promised:,} samples and {found:,} are read"
