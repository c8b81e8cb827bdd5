#!/usr/bin/env python3
"""Load: a data directory of 200,000 utterances, and SVCCA on a dump of 100,000 utterances x 25 layers x 1,024 values.

    python benchmarks/load.py data --folder DIR        writes, validates and lists the directory
    python benchmarks/load.py dump --folder DIR        makes the dump (10 GB) and reads parts of it back
    python benchmarks/load.py svcca --folder DIR       SVCCA on the dump

Each part prints its seconds and the peak of its memory. Files go below --folder, and stay for the next part.
"""

import argparse
import time
from pathlib import Path

import kaldiio
import numpy as np
import soundfile
from measuring import peak_gigabytes

from comflp.inference import hidden_states
from comflp.data.data_dir import Utterance, read_data_dir, validate_data_dir, write_data_dir
from comflp.measures import correlation_matrix


def report(what, began):
    print(f"{what}: {time.monotonic() - began:.1f} s, peak {peak_gigabytes():.2f} GB", flush=True)


def load_data(folder, options):
    """Little audio: every utterance has a file of its own with a tenth of a second of noise."""
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 1600)
    audio = folder / "wav"
    audio.mkdir(exist_ok=True)
    utterances = []
    for number in range(options.utterances or 200_000):
        path = audio / f"u{number:06d}.wav"
        soundfile.write(path, waveform, 16_000)
        utterances.append(Utterance(path.stem, str(path), "a short text of six words", f"s{number % 400:03d}", 0.1))
    began = time.monotonic()
    write_data_dir(folder / "data", utterances)
    report(f"write {len(utterances):,} utterances", began)
    del utterances
    for what in ("validate, every file opened", "validate again"):
        began = time.monotonic()
        assert validate_data_dir(folder / "data") == []
        report(what, began)
    began = time.monotonic()
    data = read_data_dir(folder / "data")
    report(f"read and list {len(data):,}", began)


def load_dump(folder, options):
    """Layers are mixtures of one random signal and their own, so that neighbours correlate."""
    count, layers, width = options.utterances or 100_000, options.layers, options.width
    rng = np.random.default_rng(1)
    began = time.monotonic()
    with open(folder / "hidden.ark", "wb") as ark, open(folder / "hidden.scp", "w", encoding="utf-8") as scp:
        for number in range(count):
            own = rng.standard_normal((layers, width), dtype=np.float32)
            utt_id = f"u{number:06d}"
            scp.write(f"{utt_id} hidden.ark:{ark.tell() + len(utt_id) + 1}\n")
            kaldiio.save_ark(ark, {utt_id: np.cumsum(own, axis=0)})
    report(f"write {count:,} x {layers} x {width}", began)
    began = time.monotonic()
    utt_ids, hidden = hidden_states.read(folder)
    rows = np.sort(rng.choice(len(utt_ids), size=min(320, count), replace=False))
    part = hidden[rows]
    report(f"read the scp and {part.shape} of {hidden.shape}", began)


def load_svcca(folder, options):
    utt_ids, hidden = hidden_states.read(folder)
    began = time.monotonic()
    matrix = correlation_matrix(hidden, "svcca", utt_ids=utt_ids)
    report(f"SVCCA of {hidden.shape}, values {matrix.min():.3f} to {matrix.max():.3f}", began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("data", "dump", "svcca"))
    parser.add_argument("--folder", type=Path, required=True, help="where its files go")
    parser.add_argument("--utterances", type=int, help="fewer or more of them")
    parser.add_argument("--layers", type=int, default=25, help="L+1 of the dump")
    parser.add_argument("--width", type=int, default=1024, help="D of the dump")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    {"data": load_data, "dump": load_dump, "svcca": load_svcca}[options.part](options.folder, options)


if __name__ == "__main__":
    main()
