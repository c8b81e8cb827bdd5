#!/usr/bin/env python3
"""Stage 0: strings of 3 to 7 spoken digits from the Free Spoken Digit Dataset become data/train, data/dev and data/test.

Reads CORPUS/recordings/{digit}_{speaker}_{take}.wav. Takes 5 to 49 (the official training takes) make train, takes 0
and 1 make dev, takes 2 to 4 make test: no recording is in two of the sets. With --unseen-speakers dev and test are of
these speakers alone, and train of the others. A string is recordings of one speaker with
random gaps, a random level and low noise, written as DATA/strings/<set>/<speaker>/<utterance>.wav (8 kHz, 16 bit). Its
text is the English words; a digit that was said too fast to be spelled in frames of 40 ms is followed by silence. The
train set also has short strings of 1 to 3 digits: a CTC model that meets those first aligns minutes earlier.
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
import option_types
from cli import parser, progress, run
from corpus import ELSEWHERE, data_files, describe, find_files, recipe_path, up_to_date

from comflp.artifacts import atomic_directory, check_apart, fingerprint_value
from comflp.data.audio import audio_facts, read_audio
from comflp.data.data_dir import DataDir, Utterance, write_data_dir
from comflp.data.tables import DataError
from comflp.record import Stage
from comflp.replacing import Kind

STRINGS = Kind("folder of digit strings")
MOST = 99_999
"""Strings of a set at most: their numbers have five digits."""
SAMPLE_RATE = 8000
FRAME = 0.04
WORDS = "zero one two three four five six seven eight nine".split()
DIGITS_OF_STRING, DIGITS_OF_SHORT = (3, 7), (1, 3)
TAKES = {"train": range(5, 50), "dev": range(0, 2), "test": range(2, 5)}
SEED_OF_SET = {"train": 1, "dev": 2, "test": 3}


def find_recordings(corpus):
    """{(speaker, digit, take): path}. Raises DataError if the folder is not the whole corpus, or a name is not as it should be."""
    folder = corpus / "recordings"
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; --corpus is a copy of the Free Spoken Digit Dataset "
                        "(recipes/fsdd/local/download.sh fetches one)")
    recordings = {}
    for path in find_files(folder, "*.wav"):
        match = re.fullmatch(r"([0-9])_([A-Za-z]+)_([0-9]+)", path.stem)
        if match is None:
            raise DataError(f"{path}: the name is not {{digit}}_{{speaker}}_{{take}}.wav")
        recordings[match[2], int(match[1]), int(match[3])] = path
    speakers = sorted({speaker for speaker, _, _ in recordings})
    missing = [f"takes of set {name} for digit {digit} of {speaker}" for speaker in speakers for digit in range(10)
               for name, takes in TAKES.items() if not any((speaker, digit, take) in recordings for take in takes)]
    if missing or not recordings:
        found = f"{len(recordings)} of the corpus' 3,000 recordings"
        raise DataError(f"{folder} is incomplete: {found}; no {'; no '.join(missing[:5]) if missing else 'wav files at all'}")
    return recordings


def slot_seconds(word):
    """The least time a word needs at 40 ms a frame: one frame a letter, a blank between equal letters, and two frames.

    >>> round(slot_seconds("three"), 2)
    0.32
    """
    repeats = sum(first == second for first, second in zip(word, word[1:]))
    return (len(word) + repeats + 2) * FRAME


def join_digits(waveforms, words, rng):
    """One string: float32 (num_samples,) in [-1, 1], of one speaker's recordings with silence, level and noise drawn by ``rng``."""
    pieces = [np.zeros(int(rng.uniform(0.05, 0.15) * SAMPLE_RATE), dtype=np.float32)]
    for waveform, word in zip(waveforms, words):
        gap = rng.uniform(0.02, 0.2) * SAMPLE_RATE
        slot = max(len(waveform), slot_seconds(word) * SAMPLE_RATE) + gap
        pieces.append(np.pad(waveform, (0, int(slot) - len(waveform))))
    string = np.concatenate(pieces)
    string *= rng.uniform(0.3, 0.9) / max(np.abs(string).max(), 1e-3)
    loudness = np.sqrt(np.mean(string ** 2)) * 10 ** (-rng.uniform(25, 45) / 20)
    return np.clip(string + rng.standard_normal(len(string), dtype=np.float32) * loudness, -1, 1)


def speakers_of_sets(recordings, unseen):
    """{set: sorted speakers}: all of them in each, or those of ``unseen`` in dev and test and the others in train."""
    speakers = {speaker for speaker, _, _ in recordings}
    if unknown := sorted(set(unseen) - speakers):
        raise DataError(f"--unseen-speakers: there is no speaker {unknown[0]} among {', '.join(sorted(speakers))}")
    if speakers == set(unseen):
        raise DataError(f"--unseen-speakers names all {len(speakers)} speakers; who is left is for training")
    return {name: sorted(speakers - set(unseen)) if name == "train" else sorted(set(unseen) or speakers) for name in TAKES}


def make_set(name, speakers, count, num_short, recordings, target, seed, force):
    """Write ``count`` strings of one set and ``num_short`` short ones under ``target`` (whole or not at all); returns the utterances."""
    rng = np.random.default_rng([seed, SEED_OF_SET[name]])
    takes = defaultdict(list)
    for (speaker, digit, take), path in recordings.items():
        if take in TAKES[name]:
            takes[speaker, digit].append(read_audio(path, SAMPLE_RATE))
    utterances = []
    with atomic_directory(target, STRINGS, force) as temporary:
        for number in progress(range(count + num_short), desc=f"strings of {name}", total=count + num_short):
            speaker = speakers[number % len(speakers)]
            fewest, most = DIGITS_OF_STRING if number < count else DIGITS_OF_SHORT
            digits = rng.integers(10, size=rng.integers(fewest, most + 1))
            chosen = [takes[speaker, digit][rng.integers(len(takes[speaker, digit]))] for digit in digits]
            words = [WORDS[digit] for digit in digits]
            waveform = join_digits(chosen, words, rng)
            file = Path(speaker) / f"{speaker}-{name}-{number:05d}.wav"
            (temporary / speaker).mkdir(exist_ok=True)
            soundfile.write(temporary / file, waveform, SAMPLE_RATE, subtype="PCM_16")
            utterances.append(Utterance(file.stem, recipe_path(target / file), " ".join(words), speaker,
                                        len(waveform) / SAMPLE_RATE))
    return utterances


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--corpus", type=option_types.path, required=True, help="copy of the dataset, the folder that holds recordings/")
    options.add_argument("--data", type=option_types.new_path, default=Path("data"), help="gets train/, dev/, test/ and the wav files in strings/")
    options.add_argument("--num-train", type=option_types.whole(1, MOST), default=5000, help="strings for training")
    options.add_argument("--num-short", type=option_types.whole(0, MOST), default=2000, help="short strings for training, besides")
    options.add_argument("--num-dev", type=option_types.whole(1, MOST), default=400, help="strings of the dev set; 320 of them are data/valid")
    options.add_argument("--num-test", type=option_types.whole(1, MOST), default=600, help="strings of the test set")
    options.add_argument("--unseen-speakers", type=option_types.names, default="", help="dev and test are of these alone, train of the others")
    options.add_argument("--seed", type=option_types.seed, default=1, help="seed for drawing the strings")
    args = options.parse_args()

    check_apart(args.data / "strings", args.corpus)
    recordings = find_recordings(args.corpus)
    unseen = args.unseen_speakers.split()
    speakers = speakers_of_sets(recordings, unseen)
    sizes = {"train": args.num_train, "dev": args.num_dev, "test": args.num_test}
    directories = [args.data / name for name in sizes]
    settings = {**sizes, "short": args.num_short, "seed": args.seed, **({"unseen speakers": sorted(unseen)} if unseen else {})}
    stage = Stage(args.data / "prepare.record.json", "stage 0, make_strings", settings,
                  {"recordings": fingerprint_value([[path.name, audio_facts(path).content] for path in recordings.values()])},
                  force=args.force, elsewhere=ELSEWHERE)
    if up_to_date(stage, dict.fromkeys(directories)):
        print(f"{args.data}/{{train,dev,test}} are up to date")
        return
    print(f"{args.corpus}: {len(recordings):,} recordings of {len({speaker for speaker, _, _ in recordings})} speakers")
    for name, directory in zip(sizes, directories):
        num_short = args.num_short if name == "train" else 0
        utterances = make_set(name, speakers[name], sizes[name], num_short, recordings, args.data / "strings" / name, args.seed, args.force)
        data = DataDir(directory, utterances)
        write_data_dir(directory, data, args.force)
        print(describe(data))
    stage.finish(data_files(*directories), num_recordings=len(recordings))
    print(f"wrote {args.data}/{{train,dev,test}}")


if __name__ == "__main__":
    run(main)
