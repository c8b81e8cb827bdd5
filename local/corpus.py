"""What the corpus preparation scripts share: finding files, paths as wav.scp keeps them, durations, writing all or nothing."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cli import progress

from comflp.data.audio import AudioError, audio_seconds
from comflp.data.data_dir import Utterance, read_data_dir, validate_data_dir
from comflp.data.saved_datasets import find_files
from comflp.data.tables import Fault, stop_at_faults
from comflp.errors import ComflpError
from comflp.replacing import Kind

AUDIO = Kind("folder of a data directory's audio")
ELSEWHERE = "folder for data, as a copy of the recipe has it"
"""Where data that were made otherwise may lie: all experiments of a recipe share its data/."""
__all__ = ["AUDIO", "DATA_FILES", "ELSEWHERE", "data_files", "describe", "find_files", "holds", "recipe_path", "up_to_date", "with_durations"]
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


def data_files(*directories):
    """The files of data directories, for a stage record; ``segments`` and ``text`` where they are there."""
    files = [Path(directory) / name for directory in directories for name in (*DATA_FILES, "segments")]
    return [file for file in files if file.name not in ("text", "segments") or file.exists()]


def up_to_date(stage, *directories):
    """Whether the stage's record says so and the audio still lies where the directories' wav.scp says."""
    return stage.up_to_date() and not any(
        validate_data_dir(directory, (Path(directory) / "text").exists()) for directory in directories)


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
