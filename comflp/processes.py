"""Several processes, one result: which share of the work is this process's, and how shares come together.

Work is cut into batches before it is shared out, and results are put together
in the order of the batches, so any number of processes gives the numbers that
one gives. Functions that can share their work take ``ranks``; the default is
to be alone, so nothing waits for others unless the caller said so.

torch is imported where processes meet: it takes seconds, and a process that is alone may not need it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, Iterator, Mapping, Sequence, TypeVar

from comflp.errors import ComflpError, ErrorOfMain, shown

Value = TypeVar("Value")

JOIN_SECONDS = 300.0
"""How long processes wait for one another at the start."""
SILENT_SECONDS = 60.0
"""How long a process may give no sign of life before the others end and name it."""
_LONGEST_WAIT = timedelta(hours=24)  # of a living process that has more to do than the others
_LAUNCHER_SECONDS = 10.0  # in which a launcher ends the processes of a run that has lost one, and says which


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
        import torch.distributed

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


@dataclass(frozen=True)
class Place:
    """Where this process stands as its launcher says: torchrun by RANK, WORLD_SIZE, ..., or Slurm's srun.

    address, port: where process 0 is. has_store: whether the launcher keeps the store where processes meet, as torchrun does.
    """

    ranks: Ranks
    local_rank: int
    address: str
    port: int
    has_store: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place | None:
        """The place of the process with these environment variables; None where it is alone.

        >>> Place.of({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "123",
        ...           "SLURM_STEP_ID": "4", "SLURM_STEP_NODELIST": "gpu[07-08]"})
        Place(ranks=Ranks(rank=1, size=2), local_rank=0, address='gpu07', port=21234, has_store=False)
        """
        size = _whole(environment, "WORLD_SIZE", 1)
        if "WORLD_SIZE" not in environment:
            size, task, (address, port) = slurm_step(environment)
            place = cls(Ranks(task, size), _whole(environment, "SLURM_LOCALID"), address, port, has_store=False)
        elif size > 1:
            place = cls(
                Ranks(_whole(environment, "RANK"), size), _whole(environment, "LOCAL_RANK"),
                environment.get("MASTER_ADDR", "localhost"), _whole(environment, "MASTER_PORT", 1),
                has_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            )
        return place if size > 1 else None


def slurm_step(environment: Mapping[str, str]) -> tuple[int, int, tuple[str, int]]:
    """(number of tasks, number of this one, (host of the first, a port)) of a job step of Slurm; (1, 0, ("", 0)) outside one.

    >>> slurm_step({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "gpu[07-08,12]-a,login",
    ...             "SLURM_JOB_ID": "123", "SLURM_STEP_ID": "4"})
    (2, 1, ('gpu07-a', 21234))
    """
    tasks = _whole(environment, "SLURM_STEP_NUM_TASKS", 1)
    if tasks == 1:
        return 1, 0, ("", 0)
    try:
        first = re.match(r"(?:[^,\[]|\[[^]]*\])+", environment["SLURM_STEP_NODELIST"])[0]
        port = 20000 + int(environment["SLURM_JOB_ID"] + environment["SLURM_STEP_ID"]) % 12000
    except (KeyError, ValueError, TypeError) as error:
        raise ComflpError(f"Slurm's variables (SLURM_STEP_NODELIST, ...) are not whole: {error}; give --nnodes and its kin") from None
    return tasks, _whole(environment, "SLURM_PROCID"), (re.sub(r"\[(\w+)[^]]*\]", r"\1", first), port)


@contextlib.contextmanager
def processes(
    training: bool = False, join_seconds: float = JOIN_SECONDS, silent_seconds: float = SILENT_SECONDS
) -> Iterator[Ranks]:
    """Join the processes that torchrun or srun started, for the time of the block; ``ALONE`` where there are no others.

    training: whether gradients are exchanged, by the fastest way that there is (:func:`training_backend`). Where only Python
        objects are, gloo does, on GPUs too. Each process takes the GPU of its place on its machine.
    join_seconds, silent_seconds: how long to wait for processes that have not come, and for one that no longer answers.

    Raises ComflpError that names the processes that do not come, and where the connection to another is lost. Where one
    stops without a word, the others end with exit status 1, and the first of them names it on stderr.
    """
    place = Place.of(os.environ)
    if place is None:
        yield ALONE
        return
    import torch.distributed

    from comflp.heartbeat import Heartbeat

    ranks = place.ranks
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
    store = _meet(place, join_seconds)
    with Heartbeat(store, ranks.rank, ranks.size, silent_seconds):
        try:
            torch.distributed.init_process_group(
                training_backend() if training else "gloo", store=torch.distributed.PrefixStore("group", store),
                rank=ranks.rank, world_size=ranks.size, timeout=_LONGEST_WAIT,
            )
            yield ranks
            ranks.barrier()
        except RuntimeError as error:
            if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
                raise
            time.sleep(_LAUNCHER_SECONDS)
            raise ComflpError(
                "another process of this run ended, or cannot be reached any more; what was done is kept, "
                f"run the same command again to go on ({str(error).splitlines()[0]})"
            ) from None
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


def _meet(place: Place, seconds: float) -> Any:
    """The store through which the processes find one another, when all of them are there."""
    import torch.distributed

    ranks, at = place.ranks, f"{place.address}:{place.port}"
    try:
        store = torch.distributed.TCPStore(
            place.address, place.port, is_master=ranks.is_main and not place.has_store,
            timeout=timedelta(seconds=seconds), wait_for_workers=False,
        )
        store = torch.distributed.PrefixStore("comflp", store)
        store.set(f"here/{ranks.rank}", socket.gethostname())
    except torch.distributed.DistError as error:
        raise ComflpError(
            f"process {ranks.rank} of {ranks.size} cannot reach process 0 at {at} within {seconds:.0f} seconds; start "
            f"all of them, and let them connect to this port ({str(error).splitlines()[0]})"
        ) from None
    deadline = time.monotonic() + seconds
    while True:
        try:
            missing = [rank for rank in range(ranks.size) if not store.check([f"here/{rank}"])]
        except torch.distributed.DistError:
            raise ErrorOfMain(f"process 0 at {at} waited no longer") from None
        if not missing:
            return store
        if time.monotonic() > deadline:
            raise ComflpError(
                f"of {ranks.size} processes (0 to {ranks.size - 1}), {', '.join(map(str, missing))} did not come to {at} "
                f"within {seconds:.0f} seconds; start all of them, and let them connect to this port"
            )
        time.sleep(0.1)


def _whole(environment: Mapping[str, str], name: str, least: int = 0) -> int:
    """A number that a launcher puts into the environment; ``least`` where nobody did. ComflpError for anything else."""
    text = environment.get(name, str(least))
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < least:
        raise ComflpError(f"the environment variable {name} is {shown(text)}, and has to be a whole number from {least}; unset it")
    return int(text)


def training_backend() -> str:
    """``nccl`` where there are GPUs, else ``gloo``."""
    import torch

    return "nccl" if torch.cuda.is_available() else "gloo"
