"""A guest in namespaces of its own (inside those of the worker): process ids, mounts, and so everything it can leave behind.

The first process of the new namespace is ours: it mounts a fresh work directory, forks the guest, waits, and reports. When
it ends, the kernel kills whatever else runs there and drops the mounts, so that cleaning up needs no code. The guest cannot
signal it (it is process 1) nor look into it (it is not dumpable).
"""

import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from . import linux

ENDED = struct.Struct("=ciddq")  # b"E", wait status, user and system CPU seconds, peak resident KiB
_HIDDEN = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC


class Nest:
    """Makes the nested namespaces, one set per guest."""

    def __init__(self) -> None:
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self, limits: "dict[str, Any]", report: int, stderr: int, guest: "Callable[[], None]") -> int:
        """Run `guest` in new namespaces and return the process id of their first process."""
        linux.setns(self._own, linux.CLONE_NEWPID)  # forget the namespace of the guest before
        linux.unshare(linux.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            run_only(lambda: _first_process(limits, report, guest), stderr)
        return pid


def run_only(work: "Callable[[], None]", stderr: int) -> None:
    """Run `work` in a fresh fork, its errors on `stderr`, and never return to the code of the zygote."""
    try:
        os.dup2(stderr, 2)
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(70)


def _first_process(limits: "dict[str, Any]", report: int, guest: "Callable[[], None]") -> None:
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    linux.unshare(linux.CLONE_NEWNS)
    space = f"size={limits['disk']},nr_inodes={limits['files']},mode=0700"
    linux.mount("tmpfs", "/tmp", "tmpfs", _HIDDEN, space)
    linux.mount("tmpfs", "/dev/shm", "tmpfs", _HIDDEN, space)
    linux.mount("proc", "/proc", "proc", _HIDDEN | linux.MS_RDONLY)
    pid = os.fork()
    if pid == 0:
        run_only(guest, 2)
    while True:
        ended, status, usage = os.wait4(-1, 0)
        if ended == pid:
            break
    os.write(report, ENDED.pack(b"E", status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))
    os._exit(0)
