"""Signs of life between the processes of a run: one that stops is named by the others, which end."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

import torch.distributed

_BEATS = 12  # signs of life in the time that a process may be silent
_LEFT = b"left"
_WORD_SECONDS = 5.0  # in which the first of those that are left says its word, and the others see what it saw, before they end


class Heartbeat:
    """A context in which this process shows the others that it lives, and looks whether they do.

    store: one that all processes reach. rank, size: this process's number, and how many there are.
    silent_seconds: after so long without a sign of life from one, this process ends with exit status 1, wherever it is:
        it may be waiting inside a library that no exception reaches. The first of those that live names it on stderr.
    """

    def __init__(self, store: torch.distributed.Store, rank: int, size: int, silent_seconds: float):
        self._store = store.clone()  # a connection of its own, since the main thread may wait on the other
        self._rank, self._size, self._silent = rank, size, silent_seconds
        self._over = threading.Event()
        self._reached = time.monotonic()

    def __enter__(self) -> Heartbeat:
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()
        threading.Thread(target=self._watch_store, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._beating.join(_WORD_SECONDS)

    def _beat(self) -> None:
        """Give a sign of life and look for those of the others, until this process leaves or one is silent."""
        others = [rank for rank in range(self._size) if rank != self._rank]
        name = f"process {{}} of {self._size} (0 to {self._size - 1})"
        seen: dict[int, tuple[bytes, float]] = {}
        beats = 0
        while not self._over.wait(self._silent / _BEATS if beats else 0):
            beats += 1
            try:
                self._store.set(f"alive/{self._rank}", f"{beats} {os.getpid()} {socket.gethostname()}")
                here = [rank for rank in others if self._store.check([f"alive/{rank}"])]
                words = dict(zip(here, self._store.multi_get([f"alive/{rank}" for rank in here]) if here else []))
            except RuntimeError:
                continue  # the store may be late; how late is seen by _watch_store
            self._reached = now = time.monotonic()
            for rank in others:
                word = words.get(rank, b"")
                if rank not in seen or seen[rank][0] != word:
                    seen[rank] = word, now
            silent = [rank for rank in others if seen[rank][0] != _LEFT and now - seen[rank][1] > self._silent]
            if silent:
                first = all(rank > self._rank or rank in silent or seen[rank][0] == _LEFT for rank in others)
                who = " and ".join(name.format(rank) + _where(seen[rank][0]) for rank in silent)
                self._end(f"{who} did not answer for {self._silent:.0f} seconds", first)
        try:
            self._store.set(f"alive/{self._rank}", _LEFT)
        except RuntimeError:
            pass  # the store went with the others

    def _watch_store(self) -> None:
        """End where the store does not answer, in which the others would be seen."""
        while not self._over.wait(self._silent / _BEATS):
            if time.monotonic() - self._reached > 1.5 * self._silent:
                self._end(f"the place where the processes meet, beside process 0, did not answer for {self._silent:.0f} seconds", True)

    def _end(self, what: str, says_so: bool) -> None:
        if says_so:
            script = Path(sys.argv[0]).name
            print(f"{script}: error: {what}; what was done is kept, run the same command again to go on", file=sys.stderr, flush=True)
        if self._over.wait(_WORD_SECONDS) and not says_so:
            return
        os._exit(1)


def _where(word: bytes) -> str:
    """The place of a process, from its sign of life."""
    _, _, place = word.decode().partition(" ")
    return f", process id {place.replace(' ', ' on ')}," if place else ""
