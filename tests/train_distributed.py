"""Run by test_finetune.py, alone or under torch's launcher: trains a small model and writes its losses on dev and in training as <utterances>.<processes>.csv.

Usage: train_distributed.py DIRECTORY NUMBER_OF_UTTERANCES..., which is a training for each number
"""

import functools
import os
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import speechbrain as sb
import torch
from fixtures.training import train as fit_small

from comflp.train import brain
from comflp.data.data_dir import Utterance
from comflp.models.own.tokenizer import SentencePieceTokenizer
from comflp.models.own.transformer_ctc import Architecture, TransformerCTC

RATE = 8000


def utterances(directory, count):
    """Utterances of one length, so that every batch holds as many frames and weighs as much."""
    rng, made = np.random.default_rng(0), []
    for number in range(count):
        wav, samples = directory / f"{number:02d}.wav", rng.standard_normal(RATE) * 0.1
        if not wav.exists():
            mine = wav.with_suffix(f".{os.getpid()}.wav")  # two processes make the files, each of them whole
            soundfile.write(mine, samples, RATE)
            mine.rename(wav)
        made.append(Utterance(f"u{number:02d}", str(wav), "abcd"[number % 4 :], "s", 1.0))
    return made


def late(function, rank, seconds):
    """``function``, for which the process of this rank comes after the others."""

    @functools.wraps(function)
    def called(*arguments, **options):
        if os.environ.get("RANK") == rank:
            time.sleep(seconds)
        return function(*arguments, **options)

    return called


def main():
    # One process late, so that a race between the two shows
    brain._save_state = late(brain._save_state, "1", 0.4)
    os.replace = late(os.replace, "0", 0.2)
    torch.set_num_threads(1)
    run_opts = {
        "ckpt_interval_steps": 1,
        "distributed_launch": "RANK" in os.environ, "distributed_backend": "gloo",
    }
    sb.utils.distributed.ddp_init_group(run_opts)
    for count in sys.argv[2:]:
        train(Path(sys.argv[1]), int(count), run_opts)


def train(directory, count, run_opts):
    processes = torch.distributed.get_world_size() if run_opts["distributed_launch"] else 1
    torch.manual_seed(0)
    architecture = Architecture(sample_rate=RATE, n_mels=20, d_model=16, nhead=2, d_ffn=32, num_layers=2, dropout=0.0)
    model = TransformerCTC(SentencePieceTokenizer.train(["abcd"]), architecture)
    data = utterances(directory, count)
    result = fit_small(
        model, data, directory / f"run{count}.{processes}", run_opts, seed=1, number_of_epochs=4, layerdrop=0.0,
        max_batch_seconds=100.0 * processes, max_batch_utterances=4 * processes, grad_accumulation_factor=2 // processes,
        scheduler=functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=10),
    )
    if sb.utils.distributed.if_main_process():
        np.savetxt(directory / f"{count}.{processes}.csv", [(row["valid_loss"], row["train_loss"]) for row in result.log], delimiter=",")


if __name__ == "__main__":
    main()
