#!/usr/bin/env python3
"""What the models of an experiment cost on this machine: size, memory, multiply-adds, speed.

    cd recipes/fsdd
    python ../../benchmarks/deploy.py --exp exp/transformer12 --data data/test

The deep model, the fine-tuned ones and whatever local/export.py made of them
recognise the same utterances one at a time, in one process and in turns
(A B C, A B C, ...), so that a change of the machine's pace meets all of them;
the median of the rounds counts. Peak memory is taken in a process for each.
Writes EXP/deploy/deploy.json, which stage 7 shows.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from comflp.deploy import recognition
from comflp.artifacts import read_json, require, write_json
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
    arguments.add_argument("--num-utterances", type=int, default=40, help="how many of its utterances, drawn at random")
    arguments.add_argument("--runs", type=int, default=5, help="rounds; the median of their times counts")
    arguments.add_argument("--threads", default="1 2", help="numbers of threads to time")
    arguments.add_argument("--seed", type=int, default=0, help="of the draw of utterances")
    arguments.add_argument("--peak-of", help=argparse.SUPPRESS)
    return arguments.parse_args()


def main():
    options = parse_options()
    data = read_data_dir(require(options.data, "stage 0 (data preparation)"))
    data = subset(data, min(options.num_utterances, len(data)), options.seed)
    if options.peak_of is not None:
        print(peak(options.peak_of, data))
        return
    exp, threads = Path(options.exp), [int(text) for text in options.threads.split()]
    directories = find(exp, options.models.split())
    seconds = sum(utterance.duration for utterance in data)
    times = {count: measure(directories, data, count, options.runs) for count in threads}
    rows = []
    for directory in directories:
        recognizer = recognition.load(directory)
        rows.append({
            **directories[directory],
            "num_layers": recognizer.num_layers,
            "num_parameters": recognizer.num_parameters,
            "megabytes": megabytes(directory),
            "peak_megabytes": peak_in_process(directory, options),
            "multiply_adds_per_second": multiply_adds_a_second(recognizer, data, seconds),
            "rtf": {str(count): times[count][directory] / seconds for count in threads},
        })
    write_json(Layout(exp).deployment, {
        "device": f"{processor()}, {platform.system()}",
        "threads": threads,
        "num_utterances": len(data),
        "audio_seconds": seconds,
        "runs": options.runs,
        "baseline_megabytes": peak_in_process("", options),
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
            start = time.perf_counter()
            for waveform in waveforms[recognizer.sample_rate]:
                recognizer.text(waveform)
            times[directory].append(time.perf_counter() - start)
    return {directory: statistics.median(values) for directory, values in times.items()}


def multiply_adds_a_second(recognizer, data, seconds):
    """Multiply-adds a second of audio in matrix products and convolutions; None where the model is no float PyTorch one."""
    if recognizer.format != "torch":
        return None
    waveforms = [read_audio(utterance, recognizer.sample_rate) for utterance in data]
    return multiply_adds(lambda: [recognizer.logits(waveform) for waveform in waveforms])[1] / seconds


def peak_in_process(directory, options):
    """Peak memory, in 10^6 bytes, of a process of its own that recognises the data with the model of ``directory``."""
    command = [sys.executable, __file__, "--exp", options.exp, "--data", options.data, "--num-utterances",
               str(options.num_utterances), "--seed", str(options.seed), "--peak-of", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ComflpError(f"memory of {directory} could not be measured: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def peak(directory, data):
    """Peak resident memory of this process after recognising ``data``; without a directory, of the imports alone."""
    if directory:
        torch.set_num_threads(1)
        recognizer = recognition.load(directory, 1)
        for utterance in data:
            recognizer.text(read_audio(utterance, recognizer.sample_rate))
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the process that started this one
        peak_line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak_line.split()[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def megabytes(directory):
    """Size of a model's own files in 10^6 bytes, as the report counts it."""
    if (directory / "export.json").exists():
        return read_json(directory / "export.json")["megabytes"]
    skipped = ("README.md", "record.json")
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file() and path.name not in skipped) / 1e6


def processor():
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(rows, threads):
    """The rows as text for the terminal."""
    lines = []
    for row in rows:
        rtf = "  ".join(f"RTF({count}) {row['rtf'][str(count)]:.4f}" for count in threads)
        lines.append(f"{row['path'] + ' ' + row['format']:50s} {row['num_layers']:3d} layers {row['num_parameters']:12,d} parameters "
                     f"{row['megabytes']:8.2f} MB, peak {row['peak_megabytes']:6.0f} MB  {rtf}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except ComflpError as error:
        sys.exit(f"deploy.py: error: {error}")
