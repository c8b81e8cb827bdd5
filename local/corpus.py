"""What the corpus preparation scripts share: finding files, paths as wav.scp keeps them, durations, writing all or nothing."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cli import progress

from comflp.artifacts import check_apart, fingerprint_file
from comflp.data.audio import AudioError, audio_seconds
from comflp.data.data_dir import Utterance, read_data_dir, validate_data_dir
from comflp.data.saved_datasets import find_files
from comflp.data.tables import DataError, Fault, stop_at_faults
from comflp.errors import ComflpError
from comflp.record import read_record
from comflp.replacing import Kind, check_replaceable

AUDIO = Kind("folder of a data directory's audio")
ELSEWHERE = "folder for data, as a copy of the recipe has it"
"""Where data that were made otherwise may lie: all experiments of a recipe share its data/."""
__all__ = ["AUDIO", "DATA_FILES", "ELSEWHERE", "check_new", "data_files", "describe", "find_files", "holds", "recipe_path", "refuse_corrected",
           "sources", "up_to_date", "with_durations"]
DATA_FILES = ("wav.scp", "text", "utt2spk", "spk2utt", "utt2dur")


def recipe_path(path):
    """``path`` as wav.scp keeps it: relative inside the working directory (so the recipe can move), else absolute."""
    path, here = Path(os.path.abspath(path)), Path.cwd()
    named = Path(os.environ.get("PWD", here))  # a recipe that is used through a symbolic link has another name in a shell
    for folder in (here, named) if named.is_dir() and named.samefile(here) else (here,):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return str(path)


def with_durations(entries, what):
    """Utterances of ``entries``, (utt_id, path, text, speaker) each, with durations from the audio.

    An entry may have a fifth value, its place as errors name it: "table.csv:3". Raises DataError listing the files that
    cannot be read. ``what`` names the progress bar.
    """
    entries = [(*entry, None)[:5] for entry in entries]
    with ThreadPoolExecutor(8) as pool:
        seconds = list(progress(pool.map(_seconds_or_error, (entry[1] for entry in entries)), desc=what, total=len(entries)))
    stop_at_faults(f"{what} has unusable audio files", [
        error if place is None else Fault(place, 0, str(error))
        for (*_, place), error in zip(entries, seconds) if isinstance(error, AudioError)
    ])
    return [Utterance(utt_id, recipe_path(path), text, speaker, duration)
            for (utt_id, path, text, speaker, _), duration in zip(entries, seconds)]


def _seconds_or_error(path):
    try:
        return audio_seconds(path)
    except AudioError as error:
        return error


def check_new(path, kind, source, force):
    """ComflpError where ``path`` cannot be written: it is ``source`` or holds it, is there already without ``force``, or is no ``kind``."""
    check_apart(path, source)
    if path.exists() and not force:
        raise DataError(f"{path} is there already; add --force to replace it")
    check_replaceable(path, kind, force)


def data_files(*directories):
    """The files of data directories, for a stage record; ``segments`` and ``text`` where they are there."""
    files = [Path(directory) / name for directory in directories for name in (*DATA_FILES, "segments")]
    return [file for file in files if file.name not in ("text", "segments") or file.exists()]


def sources(entries):
    """Utterance -> (audio path, speaker) as a data directory of ``entries``, (utt_id, path, text, speaker, ...) each, has them."""
    return {utt_id: (recipe_path(path), speaker) for utt_id, path, _, speaker, *_ in entries}


def up_to_date(stage, sets, allow_pipes=False):
    """Whether the stage's record says so, and the audio still lies where the data directories' wav.scp says.

    sets: data directory -> the utterances that it would be made of (:func:`sources`), None where it is made of nothing that
    lies elsewhere. One that was made of audio in another place, or says that others speak, is not up to date. allow_pipes:
    whether wav.scp may hold commands. Raises ComflpError where somebody has corrected a directory by hand.
    """
    refuse_corrected(stage, allow_pipes)
    return stage.up_to_date() and all(_is_made_of(directory, wanted, allow_pipes) for directory, wanted in sets.items())


def refuse_corrected(stage, allow_pipes=False):
    """ComflpError where a text or utt2spk is not as the stage wrote it, and whole, so that a correction is not lost."""
    if stage.force or not stage.record.exists():
        return
    for name, entry in read_record(stage.record)["outputs"].items():
        path = stage.record.parent / name
        if path.name not in ("text", "utt2spk") or not path.is_file() or fingerprint_file(path) == entry["sha256"]:
            continue
        if not validate_data_dir(path.parent, require_text=False, allow_pipes=allow_pipes):
            raise DataError(f"{path} was changed after {stage.name} wrote it; make the change in the corpus, "
                            "or begin behind stage 0 to work with it as it is; --force makes it anew")


def _is_made_of(directory, wanted, allow_pipes):
    """Whether a data directory is sound, and its utterances have the audio and speakers that are wanted."""
    try:
        data = read_data_dir(directory, require_text=(Path(directory) / "text").exists(), allow_pipes=allow_pipes)
    except ComflpError:
        return False
    return wanted is None or all(wanted.get(utterance.utt_id) == (utterance.wav, utterance.speaker) for utterance in data)


def holds(data, allow_pipes=False):
    """Whether the data directory ``data.path`` has just these utterances, of these speakers, their audio where these have it."""
    try:
        return list(read_data_dir(data.path, require_text=False, allow_pipes=allow_pipes)) == list(data)
    except ComflpError:
        return False


def describe(data):
    """A line about a data directory: its name, utterances, speakers and hours."""
    speakers = len({utterance.speaker for utterance in data})
    return f"{data.path}: {len(data):,} utterances of {speakers} speakers, {data.seconds / 3600:.2f} h"
