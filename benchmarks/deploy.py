#!/usr/bin/env python3
"""What the models of an experiment cost on this machine: size, memory, multiply-adds, speed.

    cd recipes/fsdd
    python ../../benchmarks/deploy.py --exp exp/transformer12 --data data/test

The deep model, the fine-tuned ones and whatever local/export.py made of them
recognise the same utterances one at a time, in one process and in turns
(A B C, A B C, ...), so that a change of the machine's pace meets all of them;
the median of the rounds counts. Peak memory is taken in a process for each.
Each model's speed-up over the deep one in the same format stands beside its
ceiling, the speed-up that its multiply-adds alone would give, and in PyTorch
the share of the time that its layers take: what stands before and after them
stays when layers go.
Writes EXP/deploy/deploy.json, which stage 7 shows, with all speeds beside the
deep model's in PyTorch.
"""

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from measuring import processor

from comflp.cli.numbers import positive
from comflp.deploy import recognition
from comflp.deploy.export import megabytes
from comflp.deploy.measuring import baseline_megabytes, measure as measure_alone, recognise
from comflp.artifacts import require, write_json
from comflp.data.audio import read_audio
from comflp.data.data_dir import read_data_dir, subset
from comflp.errors import ComflpError
from comflp.experiment import Layout, exports
from comflp.result_names import FineTuned
from comflp.inference.measure_costs import multiply_adds


def parse_options():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--exp", required=True, help="experiment directory of the deep model")
    arguments.add_argument("--data", required=True, help="Kaldi data directory to recognise")
    arguments.add_argument("--models", default="", help="model directories inside EXP, separated by spaces; "
                           "the deep model and every fine-tuned one if left out")
    arguments.add_argument("--num-utterances", type=positive, default=40, help="how many of its utterances, drawn at random")
    arguments.add_argument("--runs", type=positive, default=5, help="rounds; the median of their times counts")
    arguments.add_argument("--threads", default="1 2", help="numbers of threads to time")
    arguments.add_argument("--seed", type=int, default=0, help="seed for the random draw of utterances")
    return arguments.parse_args()


def main():
    options = parse_options()
    data = read_data_dir(require(options.data, "stage 0 (data preparation)"))
    data = subset(data, min(options.num_utterances, len(data)), options.seed)
    exp, threads = Path(options.exp), [int(text) for text in options.threads.split()]
    directories = find(exp, options.models.split())
    seconds = data.seconds
    times = {count: measure(directories, data, count, options.runs) for count in threads}
    torch.set_num_threads(threads[0])
    rows = []
    for directory in directories:
        recognizer = recognition.load(directory)
        rows.append({
            **directories[directory],
            "num_layers": recognizer.num_layers,
            "num_parameters": recognizer.num_parameters,
            "megabytes": megabytes(directory),
            "runtime": recognizer.runtime,
            "peak_megabytes": measure_alone(directory, speech(recognizer, data), threads[:1]).peak_megabytes,
            "multiply_adds_per_second": multiply_adds_a_second(recognizer, data, seconds),
            "layer_share": layer_share(recognizer, data),
            "rtf": {str(count): times[count][directory] / seconds for count in threads},
        })
    add_speed_ups(rows, str(threads[0]))
    write_json(Layout(exp).deployment, {
        "device": f"{processor()}, {platform.system()}",
        "threads": threads,
        "num_utterances": len(data),
        "audio_seconds": seconds,
        "runs": options.runs,
        "baseline_megabytes": baseline_megabytes(),
        "rows": rows,
    })
    print(table(rows, threads))
    print(f"wrote {Layout(exp).deployment}")


def find(exp, names):
    """Directory -> path of the model inside EXP and format, of the models to measure, each followed by its exports."""
    if names:
        models = [require(exp / name, "stage 0 or 5") for name in names]
    else:
        layout = Layout(exp)
        models = [require(layout.deep, "stage 0 (deep model)")]
        models += [result.model(state) for result in layout.results() for state in result.states() if isinstance(state, FineTuned)]
    found = {}
    for model in (model.resolve() for model in models):  # the name of a proposal is a link to its model
        path = str(model.relative_to(exp.resolve()))
        found[model] = {"path": path, "format": "torch"}
        found |= {about.parent: {"path": path, "format": form} for form, about in exports(model).items()}
    return found


def measure(directories, data, num_threads, runs):
    """Directory -> median seconds that its model takes for all of ``data``."""
    torch.set_num_threads(num_threads)
    recognizers = {directory: recognition.load(directory, num_threads) for directory in directories}
    waveforms = {rate: [read_audio(utterance, rate) for utterance in data]
                 for rate in {recognizer.sample_rate for recognizer in recognizers.values()}}
    times = {directory: [] for directory in directories}
    for recognizer in recognizers.values():
        recognizer.text(waveforms[recognizer.sample_rate][0])
    for _ in range(runs):
        for directory, recognizer in recognizers.items():
            times[directory].append(recognise(recognizer, waveforms[recognizer.sample_rate])[1])
    return {directory: statistics.median(values) for directory, values in times.items()}


def speech(recognizer, data):
    """Utterance -> waveform at the model's rate."""
    return {utterance.utt_id: read_audio(utterance, recognizer.sample_rate) for utterance in data}


def multiply_adds_a_second(recognizer, data, seconds):
    """Multiply-adds a second of audio in matrix products and convolutions; None where the model is no float PyTorch one."""
    if recognizer.format != "torch":
        return None
    waveforms = list(speech(recognizer, data).values())
    return multiply_adds(lambda: [recognizer.text(waveform) for waveform in waveforms])[1] / seconds


def layer_share(recognizer, data):
    """How much of the time of a recognition the layers take, 0 to 1; None where the model is no float PyTorch one."""
    if recognizer.format != "torch":
        return None
    spent, began = [], []
    layers = [layer for stack in recognizer.model.stacks.values() for layer in stack.layers]
    hooks = [layer.register_forward_pre_hook(lambda *_: began.append(time.perf_counter())) for layer in layers]
    hooks += [layer.register_forward_hook(lambda *_: spent.append(time.perf_counter() - began.pop())) for layer in layers]
    _, seconds = recognise(recognizer, list(speech(recognizer, data).values()))
    for hook in hooks:
        hook.remove()
    return sum(spent) / seconds


def add_speed_ups(rows, threads):
    """Give each row its speed-up over the first model's in the same format, and the ceiling by multiply-adds; None without one."""
    counted = {row["path"]: row["multiply_adds_per_second"] for row in rows if row["format"] == "torch"}
    first = rows[0]["path"]
    slowest = {row["format"]: row["rtf"][threads] for row in rows if row["path"] == first}
    for row in rows:
        row["ceiling"] = counted[first] / counted[row["path"]]
        row["speed_up"] = slowest[row["format"]] / row["rtf"][threads] if row["format"] in slowest else None


def table(rows, threads):
    """The rows as text for the terminal."""
    lines = []
    for row in rows:
        rtf = "  ".join(f"RTF({count}) {row['rtf'][str(count)]:.4f}" for count in threads)
        gain = "" if row["speed_up"] is None else f"  {row['speed_up']:.2f} times {rows[0]['path']}, ceiling {row['ceiling']:.2f}"
        if row["layer_share"] is not None:
            gain += f", {row['layer_share']:.0%} of the time in layers"
        lines.append(f"{row['path'] + ' ' + row['format']:50s} {row['num_layers']} layers {row['num_parameters']:12,d} parameters "
                     f"{row['megabytes']:8.2f} MB, peak {row['peak_megabytes']:6.0f} MB  {rtf}{gain}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except ComflpError as error:
        sys.exit(f"deploy.py: error: {error}")
