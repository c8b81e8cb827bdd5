#!/usr/bin/env python3
"""Copy a Kaldi data directory with noise mixed into its audio.

    . ./path.sh && python utils/add_noise.py --data data/test --snr 10 --out data/test_10dB

The noise is white (SpeechBrain's AddNoise), its level below or above the speech is drawn for each utterance between
--snr and --snr-to, and it follows from --seed and the utterance's id alone. Audio is written to OUT_audio/ at --sample-rate.
"""

import zlib
from dataclasses import replace
from pathlib import Path

import option_types
import soundfile
import torch
from cli import parser, progress, run
from corpus import AUDIO, check_new, describe, recipe_path
from speechbrain.augment.time_domain import AddNoise

from comflp.artifacts import atomic_directory, check_apart
from comflp.data.audio import read_audio
from comflp.data.data_dir import DATA_DIRECTORY, DataDir, read_data_dir, write_data_dir
from comflp.errors import ComflpError
from comflp.replacing import check_replaceable

DECIBELS = option_types.real(-100, 100)


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=option_types.folder, required=True, help="data directory to copy")
    options.add_argument("--out", type=option_types.new_named_path, required=True,
                         help="data directory to write, and OUT_audio beside it; others that are there are replaced with --force")
    options.add_argument("--snr", type=DECIBELS, required=True, help="signal-to-noise ratio in dB, or the lowest of a range")
    options.add_argument("--snr-to", type=DECIBELS, help="the highest ratio of the range; without it all have --snr")
    options.add_argument("--sample-rate", type=option_types.positive, default=16000, help="sampling rate of the audio that is written, in Hz")
    options.add_argument("--seed", type=option_types.seed, default=1, help="seed for the noise and its level")
    options.add_argument("--allow-pipes", action="store_true", help="accept shell commands in wav.scp; they are run")
    args = options.parse_args()
    highest = args.snr if args.snr_to is None else args.snr_to
    if highest < args.snr:
        raise ComflpError(f"--snr-to {highest:g} is below --snr {args.snr:g}")

    audio = args.out.with_name(f"{args.out.name}_audio")
    check_new(args.out, DATA_DIRECTORY, args.data, args.force)
    check_apart(audio, args.data)
    check_replaceable(audio, AUDIO, args.force)  # audio alone is what a killed run leaves
    data = read_data_dir(args.data, require_text=False, allow_pipes=args.allow_pipes, progress=progress)
    if inside := [utterance.utt_id for utterance in data if Path(utterance.wav).resolve().is_relative_to(audio.resolve())]:
        raise ComflpError(f"{audio} holds audio of {args.data} ({inside[0]}), which would be replaced while it is read; give another --out")
    add_noise = AddNoise(snr_low=args.snr, snr_high=highest)
    with atomic_directory(audio, AUDIO, args.force) as folder:
        for number, utterance in enumerate(progress(data, desc="noise", total=len(data))):
            torch.manual_seed(zlib.crc32(utterance.utt_id.encode()) ^ args.seed)
            clean = torch.from_numpy(read_audio(utterance, args.sample_rate, args.allow_pipes))[None]
            noisy = add_noise(clean, torch.ones(1))[0].clamp(-1, 1)
            soundfile.write(folder / f"{number:07d}.wav", noisy.numpy(), args.sample_rate, subtype="PCM_16")
    place = recipe_path(audio)
    copies = [replace(utterance, wav=f"{place}/{number:07d}.wav", segment=None) for number, utterance in enumerate(data)]
    noisy_data = DataDir(args.out, copies)
    write_data_dir(args.out, noisy_data, args.force)
    print(f"wrote {describe(noisy_data)}")


if __name__ == "__main__":
    run(main)
