#!/usr/bin/env python3
"""How fast the stages that run the model go: utterances a second, time spent waiting for audio, padding, reads by the host.

    python benchmarks/throughput.py mini                                       the recipes' 12-layer model
    python benchmarks/throughput.py wav2vec2 --precision fp32 bf16             wav2vec2-base's sizes
    python local/launch.py --nproc-per-node 2 benchmarks/throughput.py wav2vec2 --passes skip_kl fine     in two processes
    python benchmarks/throughput.py wav2vec2 --passes fine --candidates 10 50 100 500                     as candidates grow

Weights are random and the audio is noise, of lengths as AISHELL-1 has them. The passes are stage 1 (dump), stage 2 with
skip_kl over blocks of up to two layers (skip_kl), stage 4 over candidates of all N (fine) and stage 6 (decode). Each runs
once on a few utterances before it is timed. Seconds are of the clock: with several processes, from when all are ready until
all are done; "of a processor" are those that the busiest process computed, which other work on the machine changes little.
"Waiting" is the share of them that the main process waited for audio. The figures that a GPU alone has are
empty on a CPU: reads by the host are those that PyTorch's own check finds, copies of results included.
"""

import argparse
import contextlib
import tempfile
import time
import warnings

import numpy as np
import torch
from fine_search import NUM_LAYERS, make_data, mini_model, wav2vec2_model
from measuring import machine, table

from comflp.data.data_dir import DataDir
from comflp.inference import hidden_states, loop
from comflp.inference.decode import decode
from comflp.inference.speech import PRECISIONS, Speech
from comflp.measures import skip_matrix
from comflp.processes import processes
from comflp.search import coarse_search
from comflp.search.fine.evaluate import evaluate

PASSES = ("dump", "skip_kl", "fine", "decode")


class Waiting:
    """Batches as loop.load_batches gives them, and the seconds that were waited for them."""

    def __init__(self):
        self.seconds, self._load = 0.0, loop.load_batches

    def __call__(self, *arguments):
        batches = self._load(*arguments)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch


def proposals_of_all_n(count, rng):
    """``count`` proposals, as many of each N as there are, best first by a matrix that falls with distance."""
    distance = np.abs(np.subtract.outer(np.arange(NUM_LAYERS + 1), np.arange(NUM_LAYERS + 1)))
    noise = rng.uniform(0, 0.02, distance.shape)
    matrix = np.exp(-0.03 * distance) - (noise + noise.T) * (distance > 0)
    ranked = [[candidate.proposal for candidate in coarse_search(matrix, n, count)] for n in range(1, NUM_LAYERS)]
    in_turn = [found[place] for place in range(count) for found in ranked if place < len(found)]
    return in_turn[:count]


def run(name, model, data, how, candidates):
    """One pass; returns what more there is to say of it."""
    if name == "dump":
        hidden_states.dump(model, data, f"{data.path}/dump", **how)
    elif name == "skip_kl":
        skip_matrix(Speech(model, data, **how), num_utterances=len(data), max_block=2)
    elif name == "fine":
        found = evaluate(model, candidates, data, **how)
        return {"layer runs a batch": round(found.layer_runs / found.num_batches), "one by one": sum(len(p.kept) for p in candidates)}
    else:
        decode(model, data, **how)
    return {}


def measure(name, model, data, how, candidates):
    """A row of the table: the pass over ``data``."""
    ranks, device = how["ranks"], next(model.parameters()).device
    run(name, model, DataDir(data.path, data.utterances[: 2 * ranks.size]), how, candidates[:2])
    loop.load_batches = waiting = Waiting()
    ranks.barrier()
    began, busy = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        more = run(name, model, data, how, candidates)
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.synchronize()
    busiest = max(ranks.gather(time.process_time() - busy))
    seconds = time.perf_counter() - began
    loop.load_batches = waiting._load
    batches = loop.plan_batches(model, data, how["max_seconds"])
    padded = sum(len(batch) * max(utterance.duration for utterance in batch) for batch in batches)
    reads = sum("synchronizing" in str(warning.message) for warning in said) / len(ranks.share(batches))
    return {
        "pass": name, "candidates": len(candidates) if name == "fine" else "", "precision": how["precision"], "processes": ranks.size,
        "seconds": f"{seconds:.1f}", "of a processor": f"{busiest:.1f}", "utterances a second": f"{len(data) / seconds:.2f}",
        "waiting": f"{waiting.seconds / seconds:.3f}", "padding": f"{1 - data.seconds / padded:.3f}",
        "reads a batch": f"{reads:.1f}" if device.type == "cuda" else "",
        "layer runs a batch": more.get("layer runs a batch", ""), "one by one": more.get("one by one", ""),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", choices=("mini", "wav2vec2"))
    arguments.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    arguments.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32"])
    arguments.add_argument("--candidates", nargs="+", type=int, default=[10], help="numbers of candidates of fine search, each in turn")
    arguments.add_argument("--num-utterances", type=int, default=64)
    arguments.add_argument("--mean-seconds", type=float, default=4.5, help="length of the utterances, AISHELL-1's if left out")
    arguments.add_argument("--max-seconds", type=float, default=20.0, help="padded seconds of a batch")
    options = arguments.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with contextlib.ExitStack() as held:
        ranks = held.enter_context(processes())
        folder = ranks.decide(lambda: held.enter_context(tempfile.TemporaryDirectory()))
        torch.manual_seed(0)
        model = (mini_model() if options.model == "mini" else wav2vec2_model()).eval().to(device)
        data = ranks.decide(lambda: make_data(folder, options.num_utterances, options.mean_seconds, np.random.default_rng(0)))
        rows = []
        for precision in options.precision:
            how = {"max_seconds": options.max_seconds, "ranks": ranks, "precision": precision}
            for name in options.passes:
                for count in options.candidates if name == "fine" else [0]:
                    candidates = proposals_of_all_n(count, np.random.default_rng(1)) if count else []
                    rows.append(measure(name, model, data, how, candidates))
        if ranks.is_main:
            where = torch.cuda.get_device_name() if device == "cuda" else device
            print(f"{options.model} on {where}, {len(data)} utterances of {data.seconds / len(data):.1f} s; {machine()}\n{table(rows)}")


if __name__ == "__main__":
    main()
