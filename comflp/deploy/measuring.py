"""What a recogniser costs: texts, seconds and peak memory of a process that does nothing else.

``python -m comflp.deploy.measuring DIRECTORY SPEECH.npz OUT.json THREADS ...`` is that process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
import torch

from comflp.artifacts import read_json, write_json
from comflp.deploy import recognition
from comflp.errors import ComflpError


@dataclass(frozen=True)
class Measured:
    """What a model did in a process of its own.

    texts: utterance -> text. seconds: threads -> seconds for all utterances, read and resampled before.
    peak_megabytes: memory of the process, in 10^6 bytes, with the first number of threads. runtime: package and version.
    """

    texts: Mapping[str, str]
    seconds: Mapping[str, float]
    peak_megabytes: float
    runtime: str


def measure(directory: Path, speech: Mapping[str, np.ndarray], threads: Sequence[int] = (1, 2)) -> Measured:
    """Recognise ``speech`` (utterance -> waveform at the model's rate) with a model directory, in a process of its own.

    Raises ComflpError with the last line of what the process said where it fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        given, out = Path(temporary) / "speech.npz", Path(temporary) / "measured.json"
        np.savez(given, **{f"{number:06d}": waveform for number, waveform in enumerate(speech.values())})
        done = subprocess.run(
            [sys.executable, "-m", "comflp.deploy.measuring", str(directory), str(given), str(out), *map(str, threads)],
            capture_output=True, text=True,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise ComflpError(f"{directory} could not be measured: {reason}")
        found = read_json(out)
    return Measured(dict(zip(speech, found["texts"])), found["seconds"], found["peak_megabytes"], found["runtime"])


def baseline_megabytes() -> float:
    """Peak memory of a process that imports this library and does nothing, in 10^6 bytes."""
    command = "from comflp.deploy.measuring import peak_megabytes; print(peak_megabytes())"
    return float(subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout)


def recognise(recognizer: recognition.Recognizer, waveforms: Sequence[np.ndarray]) -> tuple[list[str], float]:
    """The texts of waveforms, one at a time, and the seconds that they took."""
    start = time.perf_counter()
    return [recognizer.text(waveform) for waveform in waveforms], time.perf_counter() - start


def peak_megabytes() -> float:
    """Peak resident memory of this process so far, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def _process(directory: str, given: str, out: str, threads: Sequence[str]) -> None:
    with np.load(given) as arrays:
        waveforms = [arrays[name] for name in sorted(arrays.files)]
    texts, seconds, peak, runtime = [], {}, 0.0, ""
    for number, count in enumerate(threads):
        torch.set_num_threads(int(count))
        recognizer = recognition.load(directory, int(count))
        recognizer.text(waveforms[0])
        found, seconds[count] = recognise(recognizer, waveforms)
        if not number:
            texts, peak, runtime = found, peak_megabytes(), recognizer.runtime
    write_json(Path(out), {"texts": texts, "seconds": seconds, "peak_megabytes": peak, "runtime": runtime})


if __name__ == "__main__":
    _process(*sys.argv[1:4], sys.argv[4:])
