"""How several processes share one run without a word between them: who they are, and who works on what.

The jobs of a task are cut into chunks. A chunk belongs to the process that holds the lock on its byte of the file `.claims`; it
is given back when all of its completions are recorded and judged, and by the kernel when its owner dies. Of `size` processes
the one of rank r takes chunks r, r + size, r + 2 size, ... and, when these are done, what the others have not begun. So nobody
waits for a slow or a dead one, and the number of processes may change from one launch to the next or while a run goes on.
Nothing is collective. The run directory has to be on a file system with POSIX locks, as local disks and NFS have.
"""

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..rewards.errors import InputError
from ..rewards.pool import usable_cores

CHUNK = 4
"""Completions that are claimed together: few, so that the last ones of a run are spread over all processes."""

LAUNCHERS: Mapping[str, tuple[str, str, str, str]] = {
    "torchrun, accelerate": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
    "mpirun (Open MPI)": (
        *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ),
}
"""What each launcher calls a process's rank, the number of processes, and both within a machine.

srun gives each process cores of its own, so the number within a machine does not matter there. SLURM_NTASKS is not used: a
batch script has it too, where one process runs alone.
"""


@dataclass(frozen=True, slots=True)
class Shard:
    """This process among those of a launch: `rank` of `size`, `local_rank` of `local_size` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise InputError(f"rank {self.rank} of {self.size}: ranks count from 0 to one less than their number")

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    def device(self, asked: str) -> str:
        """The device for "auto" where a machine has several processes: an accelerator each."""
        if asked != "auto" or self.size == 1:
            return asked
        import torch

        count = torch.cuda.device_count()
        return f"cuda:{self.local_rank % count}" if count else asked

    def workers(self, asked: int | None) -> int | None:
        """How many processes verify beside this one, where the processes of a machine share its cores."""
        if asked is not None or self.local_size == 1:
            return asked
        return max(usable_cores() // self.local_size, 1)


def shard_from_environment(environment: Mapping[str, str] = os.environ) -> Shard:
    """Who this process is, from what its launcher says; alone where there is none. Raises InputError for nonsense."""
    for rank, size, local_rank, local_size in LAUNCHERS.values():
        if rank in environment and size in environment:
            return Shard(*(_number(environment, name, default) for name, default in (
                (rank, 0), (size, 1), (local_rank, 0), (local_size, 1),
            )))  # fmt: skip
    return Shard()


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise InputError(f"environment variable {name} is {text!r}; expected a number")
    return int(text)


class Claims:
    """Locks on chunks, one byte of `.claims` each. One object per process and directory."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        self._shard = shard
        # POSIX locks go when any descriptor of the file is closed: nothing else in this process may open it.
        self._file = os.open(folder / ".claims", os.O_RDWR | os.O_CREAT, 0o644)

    def own(self, count: int) -> Iterator[int]:
        """The chunks of 0 to `count` - 1 that this process is to look at first."""
        return iter(range(self._shard.rank, count, self._shard.size))

    def others(self, count: int) -> Iterator[int]:
        """The rest, for when its own are done; from the end, away from where their owners are."""
        return (chunk for chunk in reversed(range(count)) if chunk % self._shard.size != self._shard.rank)

    def take(self, place: int) -> bool:
        """Claim a byte; False when another process has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def give_back(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        os.close(self._file)
