"""Locks of results, so that several runs can work on one experiment: the kernel gives one up when its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator

from comflp.errors import ComflpError


def this_process() -> str:
    """What tells this process and moment from all others, as a user reads it."""
    return f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(timezone.utc).isoformat()}"


@contextlib.contextmanager
def locked(result: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a result for the time of the block: the file ``.lock-<name>`` beside it, which names its holder.

    wait: for whoever holds it. Without it a lock that is held is a ComflpError that names the holder. Where the file system
    has no locks, the block runs without one.
    """
    result.parent.mkdir(parents=True, exist_ok=True)
    with open(result.with_name(f".lock-{result.name}"), "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise ComflpError(f"{result} is in use by {file.read().strip() or 'another process'}; wait for it, or end it") from None
        except OSError:
            pass  # a file system without locks; run.sh warns of it
        file.truncate(0)
        file.write(f"{this_process()}\n")
        file.flush()
        yield
