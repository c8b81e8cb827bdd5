#!/usr/bin/env python3
"""Synthesise the mini corpus: Mandarin sentences by espeak-ng, laid out as AISHELL-1 is.

    TARGET/data_aishell/wav/{train,dev,test}/S0001/SYN009S0001W0001.wav      16 kHz, 16 bit, mono
    TARGET/data_aishell/transcript/aishell_transcript_v0.8.txt               words separated by spaces

No sentence is in two of the sets and no speaker either. A speaker is a voice variant with a pitch, a rate, a level and a
signal-to-noise ratio. The same options give the same bytes, whatever the number of processes.
"""

import multiprocessing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
from cli import parser, progress, run
from espeak import Espeak
from grammar import draw_sentences

from comflp.artifacts import atomic_directory
from comflp.record import Stage

SAMPLE_RATE = 16000
VOICES = "m1 m2 m3 m4 m6 m7 m8 f1 f2 f3 f4 f5 steph linda Annie".split()
SETS = ("train", "dev", "test")


@dataclass(frozen=True)
class Speaker:
    """How one speaker sounds, and which of the corpus' sentences are theirs. ``snr`` is in dB, ``level`` the peak."""

    name: str
    split: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    level: float
    snr: float
    sentences: tuple


def draw_speakers(sizes, per_speaker, seed):
    """All speakers of the corpus with their sentences; ``sizes`` are the utterances of train, dev and test."""
    rng = np.random.default_rng(seed)
    sentences = iter(draw_sentences(sum(sizes), rng))
    speakers = []
    for split, size in zip(SETS, sizes):
        for first in range(0, size, per_speaker):
            number = len(speakers) + 1
            speakers.append(Speaker(
                name=f"S{number:04d}", split=split, voice=f"cmn+{VOICES[number % len(VOICES)]}",
                words_per_minute=int(rng.integers(200, 241)), pitch=int(rng.integers(35, 66)),
                pitch_range=int(rng.integers(40, 66)), level=float(rng.uniform(0.15, 0.8)), snr=float(rng.uniform(20, 40)),
                sentences=tuple(next(sentences) for _ in range(min(per_speaker, size - first)))))
    return speakers


def synthesise(speaker, directory, seed):
    """Write one speaker's wav files under ``directory`` and return [(utterance id, sentence)]. Runs in a process of its own."""
    number = int(speaker.name[1:])
    rng = np.random.default_rng([seed, number])
    espeak = Espeak(seed=number)
    espeak.set_voice(speaker.voice, speaker.words_per_minute, speaker.pitch, speaker.pitch_range)
    folder = directory / "wav" / speaker.split / speaker.name
    folder.mkdir(parents=True)
    transcript = []
    for index, sentence in enumerate(speaker.sentences, start=1):
        speech = soxr.resample(espeak.say(sentence), espeak.sample_rate, SAMPLE_RATE)
        speech *= speaker.level / np.abs(speech).max()
        before, after = rng.integers(SAMPLE_RATE // 20, SAMPLE_RATE // 5, size=2)
        waveform = np.pad(speech, (before, after))
        loudness = np.sqrt(np.mean(speech ** 2)) * 10 ** (-speaker.snr / 20)
        waveform += rng.standard_normal(len(waveform), dtype=np.float32) * loudness
        utt_id = f"SYN009{speaker.name}W{index:04d}"
        soundfile.write(folder / f"{utt_id}.wav", np.clip(waveform, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        transcript.append((utt_id, sentence))
    return transcript


def make_corpus(target, sizes, per_speaker, seed, processes):
    """Write the whole corpus to ``target``/data_aishell, all of it or nothing."""
    speakers = draw_speakers(sizes, per_speaker, seed)
    with atomic_directory(target / "data_aishell") as directory:
        # One process a speaker: espeak-ng's samples depend on what the process has said before.
        with multiprocessing.Pool(processes, maxtasksperchild=1) as pool:
            parts = pool.imap(partial(synthesise, directory=directory, seed=seed), speakers, chunksize=1)
            lines = [f"{utt_id} {sentence}\n" for part in progress(parts, desc="synthesis", total=len(speakers), unit="speaker")
                     for utt_id, sentence in part]
        (directory / "transcript").mkdir()
        transcript = directory / "transcript" / "aishell_transcript_v0.8.txt"
        transcript.write_text("".join(lines), encoding="utf-8")
    return speakers


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--target", type=Path, required=True, help="folder that gets data_aishell/")
    options.add_argument("--num-train", type=int, default=2000, help="utterances for training")
    options.add_argument("--num-dev", type=int, default=400, help="utterances of the dev set; 320 of them are data/valid")
    options.add_argument("--num-test", type=int, default=400, help="utterances of the test set")
    options.add_argument("--per-speaker", type=int, default=20, help="utterances of one speaker")
    options.add_argument("--seed", type=int, default=1, help="seed of sentences, speakers and noise")
    options.add_argument("--processes", type=int, default=2, help="speakers synthesised at once; the result is the same")
    args = options.parse_args()
    used = {key: value for key, value in vars(args).items() if key not in ("target", "processes", "force")}
    stage = Stage(args.target / "corpus.record.json", "mini corpus", used, {}, force=args.force)
    if stage.up_to_date():
        print(f"{args.target / 'data_aishell'} is up to date")
        return
    speakers = make_corpus(args.target, (args.num_train, args.num_dev, args.num_test), args.per_speaker, args.seed, args.processes)
    described = [{**asdict(speaker), "sentences": len(speaker.sentences)} for speaker in speakers]
    stage.finish([args.target / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"], speakers=described)
    print(f"{args.target / 'data_aishell'}: {args.num_train} + {args.num_dev} + {args.num_test} synthetic utterances")


if __name__ == "__main__":
    run(main)
