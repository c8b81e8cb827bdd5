"""What is known of the recordings of a data directory: their samples and their content, kept beside its tables.

Every recording is opened once. The next reading asks the file system only whether size and times are still the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterable, Mapping

from comflp.data.audio import AudioError, AudioFacts, audio_facts

CACHE = ".audio.json"
_VERSION = 1
_SETTLED = 2.0
"""Seconds after which a file that is written again has other times than before; a younger one is looked at again."""
_THREADS = 8

Inventory = Mapping[str, "AudioFacts | AudioError"]


def take_inventory(
    wavs: Iterable[str], cache: Path, allow_pipes: bool = False, progress: Callable | None = None
) -> Inventory:
    """``wav`` -> AudioFacts, or the AudioError that says why it cannot be used.

    cache: file that keeps what was found for files that do not change. It is an aid and no result: where it cannot be
        read or written, files are opened again.
    progress: wraps the loop over the files to be opened, as tqdm does.
    """
    wavs = dict.fromkeys(wavs)
    known, stamps = _read(cache), {wav: _stamp(wav) for wav in wavs}
    found: dict[str, AudioFacts | AudioError] = {
        wav: AudioFacts(*known[wav][1:]) for wav, stamp in stamps.items() if stamp is not None and known.get(wav, [None])[0] == stamp
    }
    missing = [wav for wav in wavs if wav not in found]
    if missing:
        with ThreadPoolExecutor(_THREADS) as pool:
            facts = pool.map(lambda wav: _facts_or_error(wav, allow_pipes), missing)
            if progress is not None:
                facts = progress(facts, desc="audio files", total=len(missing))
            found.update(zip(missing, facts))
        _write(cache, stamps, found)
    return {wav: found[wav] for wav in wavs}


def _facts_or_error(wav: str, allow_pipes: bool) -> AudioFacts | AudioError:
    try:
        return audio_facts(wav, allow_pipes)
    except AudioError as error:
        return error


def _stamp(wav: str) -> list | None:
    """Sizes and times of a file, of a pipe those of the files that its command names; None for what is not there."""
    names = [wav]
    if wav.endswith("|"):
        with contextlib.suppress(ValueError):
            names = [word for word in shlex.split(wav[:-1]) if os.path.isfile(word)]
    try:
        stats = [os.stat(name) for name in names]
    except (OSError, ValueError):
        return None
    return [number for entry in stats for number in (entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns)] or None


def _read(cache: Path) -> dict[str, list]:
    """The entries of the cache that are whole."""
    try:
        content = json.loads(cache.read_bytes()) if cache.is_file() else None
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("version") != _VERSION or not isinstance(content.get("files"), dict):
        return {}
    return {wav: entry for wav, entry in content["files"].items() if _is_whole(entry)}


def _is_whole(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and [type(value) for value in entry] == [list, int, int, str]
        and entry[1] > 0
        and entry[2] > 0
    )


def _write(cache: Path, stamps: Mapping[str, list | None], found: Inventory) -> None:
    settled = (time.time() - _SETTLED) * 1e9
    files = {
        wav: [stamp, facts.num_samples, facts.sample_rate, facts.content]
        for wav, facts in found.items()
        if isinstance(facts, AudioFacts) and (stamp := stamps[wav]) is not None and max(stamp[1::3] + stamp[2::3]) < settled
    }
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")  # processes that share the work write it at once
    try:
        temporary.write_text(json.dumps({"version": _VERSION, "files": files}), encoding="utf-8")
        os.replace(temporary, cache)
    except OSError:  # a full disk, or a directory that may only be read: next time files are opened again
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
