"""A process of a run lives no longer than what started it, and holds the run's lock for as long as it lives.

run.sh locks its experiment and names the lock in COMFLP_LOCK (utils/lock.sh). What it starts holds ``<lock>.stages`` beside
it, shared with the other processes of the run: a launcher closes the descriptors that it inherits, and on another node there
are none. A stage that is started by hand has no such lock, and may outlive its shell as any program with nohup.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import threading
import time

LOCK = "COMFLP_LOCK"
LAUNCHER = "COMFLP_LAUNCHER"
"""Process id of the launch.py that started a process of several."""
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def tie_to_parent() -> None:
    """End with the parent from here on, and hold the run's lock; nothing where neither run.sh nor launch.py started this."""
    if LOCK in os.environ:
        _hold(os.environ[LOCK] + ".stages")
    if LOCK in os.environ or LAUNCHER in os.environ:
        _end_with(os.getppid())


def _hold(path: str) -> None:
    """A shared lock, until this process ends."""
    try:
        fcntl.flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), fcntl.LOCK_SH)
    except OSError:
        pass  # a file system without locks; run.sh has warned of it


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    # The parent may have ended before this process asked to be told.
    if os.getppid() != parent or os.environ.get(LAUNCHER, str(parent)) != str(parent):
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
