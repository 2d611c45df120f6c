"""What the guests of a worker use right now, read from /proc: memory, CPU time, processes, disk.

A worker runs one request at a time, so whatever lives in its process namespace besides itself belongs to that request.
Where the process ids are shared with the host, only the named process is read (it has threads, but no children).
"""

import os
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Bytes of resident memory, seconds of CPU time, number of processes and threads."""

    memory: int
    cpu: float
    tasks: int


def of_processes(pids: list[int]) -> Usage:
    """Sum over `pids`, skipping those that have ended."""
    memory, cpu, tasks = 0, 0.0, 0
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            cpu += sum(map(int, fields[11:15])) / _TICK  # own and waited-for children, user and system
            tasks += int(fields[17])
            memory += int(fields[21]) * _PAGE
    return Usage(memory, cpu, tasks)


def descendants(root: int) -> list[int]:
    """`root` and every process below it, for workers that share their process ids with the host."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is not None:
            parents.setdefault(int(fields[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def shared_fairly(pids: list[int]) -> int | None:
    """Memory of `pids` with shared pages divided among those who share them; None where the kernel does not tell."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:")) << 10
        except (PermissionError, StopIteration):
            return None
        except OSError:
            continue  # it has ended
    return total


def namespace_pids() -> list[int]:
    """All process ids that /proc shows but this one."""
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def group_memory() -> int | None:
    """Memory that the control group of this container counts; None where it is not shown."""
    for path in ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"):
        try:
            with open(path) as file:
                return int(file.read())
        except (OSError, ValueError):
            continue
    return None


def out_of_memory_kills() -> int:
    """How often the kernel has killed something in this control group for memory."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(path) as file:
                return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        except (OSError, StopIteration):
            continue
    return 0


def directory_size(path: str) -> tuple[int, int]:
    """Bytes on disk and number of the entries of a flat directory."""
    size = count = 0
    with os.scandir(path) as entries:
        for entry in entries:
            count += 1
            try:
                size += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue  # removed meanwhile
    return size, count


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, so that index 0 is field 3 of proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None
