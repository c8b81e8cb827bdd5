"""Locks of results, so that several runs can work on one experiment: the kernel gives one up when its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator

from comflp.errors import ComflpError


def this_process() -> str:
    """What tells this process and moment from all others, as a user reads it."""
    return f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(timezone.utc).isoformat()}"


@contextlib.contextmanager
def locked(result: Path, wait: bool = False, folder: Path | None = None) -> Iterator[None]:
    """Hold the lock of a result for the time of the block: the file ``.lock-<name>`` beside it, which names its holder.

    folder: where that file lies instead. wait: whether to wait for whoever holds it; without it a lock that is held is a ComflpError that
    names the holder. Where the file system has no locks, the block runs without one.
    """
    folder = folder or result.parent
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".lock-{result.name}", "a+", encoding="utf-8") as file:
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


@contextlib.contextmanager
def working(result: Path) -> Iterator[Path]:
    """The directory ``.NAME.work`` beside a result, locked, for what is not finished; it is removed at the end of the block.

    What a block that fails has put there stays, and is gone on with. Raises ComflpError as :func:`locked` does.
    """
    work = result.with_name(f".{result.name}.work")
    with locked(result, folder=work):
        try:
            yield work
        except BaseException:
            if all(path.name.startswith(".lock-") for path in work.iterdir()):
                shutil.rmtree(work)
            raise
        shutil.rmtree(work)
