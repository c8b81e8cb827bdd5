#!/usr/bin/env python3
"""Synthesise the mini corpus: Mandarin sentences by espeak-ng, laid out as AISHELL-1 is.

    TARGET/data_aishell/wav/{train,dev,test}/S0001/SYN009S0001W0001.wav      16 kHz, 16 bit, mono
    TARGET/data_aishell/transcript/aishell_transcript_v0.8.txt               words separated by spaces

No sentence is in two of the sets and no speaker either. A speaker is a voice variant with a pitch, a rate, a level and a
signal-to-noise ratio. The same options give the same bytes, whatever the number of processes.
"""

import multiprocessing
import multiprocessing.connection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import soundfile
import soxr
import option_types
from cli import parser, progress, run
from espeak import Espeak
from grammar import MOST_SENTENCES, draw_sentences

from comflp.artifacts import atomic_directory
from comflp.errors import ComflpError
from comflp.record import Stage
from comflp.replacing import Kind

CORPUS = Kind("synthetic corpus")
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


def utterance_ids(speaker):
    """The ids of a speaker's utterances, in the order of the sentences."""
    return [f"SYN009{speaker.name}W{index:04d}" for index in range(1, len(speaker.sentences) + 1)]


def synthesise(speaker, directory, seed):
    """Write one speaker's wav files under ``directory``. Runs in a process of its own."""
    number = int(speaker.name[1:])
    rng = np.random.default_rng([seed, number])
    espeak = Espeak(seed=number)
    espeak.set_voice(speaker.voice, speaker.words_per_minute, speaker.pitch, speaker.pitch_range)
    folder = directory / "wav" / speaker.split / speaker.name
    folder.mkdir(parents=True)
    for utt_id, sentence in zip(utterance_ids(speaker), speaker.sentences):
        speech = soxr.resample(espeak.say(sentence), espeak.sample_rate, SAMPLE_RATE)
        speech *= speaker.level / np.abs(speech).max()
        before, after = rng.integers(SAMPLE_RATE // 20, SAMPLE_RATE // 5, size=2)
        waveform = np.pad(speech, (before, after))
        loudness = np.sqrt(np.mean(speech ** 2)) * 10 ** (-speaker.snr / 20)
        waveform += rng.standard_normal(len(waveform), dtype=np.float32) * loudness
        soundfile.write(folder / f"{utt_id}.wav", np.clip(waveform, -1, 1), SAMPLE_RATE, subtype="PCM_16")


def make_corpus(target, sizes, per_speaker, seed, processes, force):
    """Write the whole corpus to ``target``/data_aishell, all of it or nothing."""
    speakers = draw_speakers(sizes, per_speaker, seed)
    with atomic_directory(target / "data_aishell", CORPUS, force) as directory:
        # One process a speaker: espeak-ng's samples depend on what the process has said before.
        run_each(partial(synthesise, directory=directory, seed=seed), speakers, processes)
        (directory / "transcript").mkdir()
        lines = [f"{utt_id} {sentence}\n" for speaker in speakers for utt_id, sentence in zip(utterance_ids(speaker), speaker.sentences)]
        transcript = directory / "transcript" / "aishell_transcript_v0.8.txt"
        transcript.write_text("".join(lines), encoding="utf-8")
    return speakers


def run_each(work, speakers, processes):
    """``work(speaker)`` for each speaker in a new process, ``processes`` at a time. Raises ComflpError where one ends badly."""
    with ThreadPoolExecutor(processes) as pool:
        started = [pool.submit(_run_one, work, speaker) for speaker in speakers]
        try:
            for one in progress(started, desc="synthesis", total=len(started), unit="speaker"):
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_one(work, speaker):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_report, args=(work, speaker, sender), daemon=True)
    process.start()
    multiprocessing.connection.wait([receiver, process.sentinel])  # its word, or its death
    said = receiver.recv() if receiver.poll() else "its process was killed"
    process.join()
    if said is not None:
        raise ComflpError(f"speaker {speaker.name} cannot be synthesised: {said}")


def _report(work, speaker, sender):
    """Run ``work`` and send what went wrong, or None."""
    try:
        work(speaker)
        sender.send(None)
    except Exception as error:  # whatever it is, the main process says it
        sender.send(f"{type(error).__name__}: {error}")


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--target", type=option_types.new_path, required=True, help="folder that gets data_aishell/")
    options.add_argument("--num-train", type=option_types.whole(1, MOST_SENTENCES), default=2000, help="utterances for training")
    options.add_argument("--num-dev", type=option_types.whole(1, MOST_SENTENCES), default=400, help="utterances of the dev set; 320 of them are data/valid")
    options.add_argument("--num-test", type=option_types.whole(1, MOST_SENTENCES), default=400, help="utterances of the test set")
    options.add_argument("--per-speaker", type=option_types.positive, default=20, help="utterances of one speaker")
    options.add_argument("--seed", type=option_types.seed, default=1, help="seed for sentences, speakers and noise")
    options.add_argument("--processes", type=option_types.whole(1, 1024), default=2, help="speakers synthesised at once; the result is the same")
    args = options.parse_args()
    used = {key: value for key, value in vars(args).items() if key not in ("target", "processes", "force")}
    stage = Stage(args.target / "corpus.record.json", "mini corpus", used, {}, force=args.force, elsewhere="copy of the recipe")
    if stage.up_to_date():
        print(f"{args.target / 'data_aishell'} is up to date")
        return
    speakers = make_corpus(args.target, (args.num_train, args.num_dev, args.num_test), args.per_speaker, args.seed, args.processes, args.force)
    described = [{**asdict(speaker), "sentences": len(speaker.sentences)} for speaker in speakers]
    stage.finish([args.target / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"], speakers=described)
    print(f"{args.target / 'data_aishell'}: {args.num_train} + {args.num_dev} + {args.num_test} synthetic utterances")


if __name__ == "__main__":
    run(main)
