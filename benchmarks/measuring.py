"""What the benchmarks share: time and peak memory of a call, the machine, and a table."""

import multiprocessing
import os
import platform
import resource
import time
from datetime import datetime, timezone

import numpy as np

from comflp.inference.prefix_tree import PrefixTree


def measured(function, *arguments):
    """{"peak_gb", **what it returned}, of ``function(*arguments)`` alone in a fresh process; the function returns a dict.

    The peak is the resident memory of the process, with Python, libraries and the input.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{function.__name__}{arguments} ended with status {process.exitcode}") from None
    finally:
        process.join()


def _call(sender, function, arguments):
    result = function(*arguments)
    sender.send({"peak_gb": round(peak_gigabytes(), 2), **result})


def peak_gigabytes():
    """Largest resident size of this process so far, mapped files included, in GB (10^9 bytes)."""
    unit = 1 if platform.system() == "Darwin" else 1024  # ru_maxrss is in KiB on Linux, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Stopwatch:
    """Seconds of the clock and of the processors (all threads), as {"seconds", "cpu_seconds"}, since it was made.

    On a machine that others use, the second figure is the one to compare; on a quiet one with n threads at work
    the first is at least the second divided by n.
    """

    def __init__(self):
        self._clock, self._processors = time.perf_counter(), time.process_time()

    def read(self):
        return {"seconds": time.perf_counter() - self._clock, "cpu_seconds": time.process_time() - self._processors}


def least(repeats, function, *arguments):
    """The least times of ``repeats`` calls, as Stopwatch has them."""
    readings = []
    for _ in range(repeats):
        watch = Stopwatch()
        function(*arguments)
        readings.append(watch.read())
    return {key: min(reading[key] for reading in readings) for key in readings[0]}


def machine():
    """What the figures depend on."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def processor():
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def mean_and_deviation(values, form="{:.2f}"):
    """The mean and, of several values, their standard deviation (n - 1), as text."""
    return form.format(np.mean(values)) + (f" +- {form.format(np.std(values, ddof=1))}" if len(values) > 1 else "")


def layer_runs(proposals):
    """Layers that a walk over ``proposals`` of a model of one stack runs, for each batch."""
    return PrefixTree(proposals, lambda proposal: proposal.kept).num_prefixes


def table(rows):
    """A Markdown table of dicts with the same keys."""
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(row[key]) for key in header) + " |" for row in rows]
    return "\n".join(lines)
