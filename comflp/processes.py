"""Several processes, one result: which share of the work is this process's, and how shares come together.

Work is cut into batches before it is shared out, and results are put together
in the order of the batches, so any number of processes gives the numbers that
one gives. Functions that can share their work take ``ranks``; the default is
to be alone, so nothing waits for others unless the caller said so.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, Iterator, Sequence, TypeVar

from comflp.errors import ComflpError, ErrorOfMain

Value = TypeVar("Value")

_LONGEST_WAIT = timedelta(hours=24)


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that share the work. ``rank`` is 0 to ``size`` - 1."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """True in the one process that writes the results."""
        return self.rank == 0

    def share(self, items: Sequence) -> Sequence:
        """Every ``size``-th item, this process's.

        >>> Ranks(rank=1, size=2).share(range(5))
        range(1, 5, 2)
        """
        return items[self.rank :: self.size]

    def gather(self, value: Any) -> list:
        """The values of all processes in the order of ranks, in every process."""
        if self.size == 1:
            return [value]
        import torch.distributed  # takes seconds to import, and a process that is alone may not need it

        gathered: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(gathered, value)
        return gathered

    def decide(self, function: Callable[[], Value]) -> Value:
        """What ``function()`` returns in the main process, in every process; the others do not call it.

        For whatever is looked up on disk and decided by: what one process sees there another may not see yet. The
        value has to be one that pickle can carry. An exception is raised in the main process as it is, and in the
        others as :class:`comflp.errors.ErrorOfMain`, so that all of them stop and one of them says why.

        >>> Ranks().decide(lambda: "up to date")
        'up to date'
        """
        if self.size == 1:
            return function()
        import torch.distributed

        decided: list[Any] = [None, None]
        failure = None
        if self.is_main:
            try:
                decided[0] = function()
            except Exception as error:
                failure, decided[1] = error, str(error)
        torch.distributed.broadcast_object_list(decided, src=0)
        if failure is not None:
            raise failure
        if decided[1] is not None:
            raise ErrorOfMain(decided[1])
        return decided[0]

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.barrier()


ALONE = Ranks()


@contextlib.contextmanager
def processes(backend: str = "gloo") -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, for the time of the block; ``ALONE`` without torchrun.

    backend: of torch.distributed. Where only Python objects are exchanged gloo does, on GPUs too; training
        exchanges gradients (:func:`training_backend`). Each process takes the GPU of its LOCAL_RANK.
    """
    if _from_environment("WORLD_SIZE", 1) == 1:
        yield ALONE
        return
    import torch.distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(_from_environment("LOCAL_RANK", 0) % torch.cuda.device_count())
    torch.distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
    try:
        yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def _from_environment(name: str, least: int) -> int:
    """A number that ``torchrun`` puts into the environment; ``least`` where nobody did. ComflpError for anything else."""
    text = os.environ.get(name, str(least))
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < least:
        raise ComflpError(f"the environment variable {name} is {text[:40]!r}, and has to be a whole number from {least}; unset it")
    return int(text)


def training_backend() -> str:
    """``nccl`` where there are GPUs, else ``gloo``."""
    import torch

    return "nccl" if torch.cuda.is_available() else "gloo"
