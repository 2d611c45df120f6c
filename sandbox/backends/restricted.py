"""The `restricted` backend: for pods and jobs where neither containers nor namespaces can be made.

Landlock (no file but a read-only runtime and an empty work directory, no TCP, no signals to others), seccomp (no sockets, no
new processes, only threads, no changes of file attributes) and limits. As root each worker gets a user of its own where that
user can read the Python installation; else programs share your user, without capabilities. What is lost against `namespace`:
everything hangs on filters that the program cannot lift, not on there being nothing to reach; attributes of files (that a
path exists, its size) can be seen; the work directory is watched, not limited by a file system.
"""

import os
import sysconfig
from dataclasses import dataclass
from itertools import count

from .. import runtime
from ..channel import WorkerBroken
from ..errors import SandboxUnavailable
from ..guest import landlock, seccomp
from ..records import Limits
from ..worker import Worker
from . import base

_FIRST_UID, _UIDS = 65_000, 500
_DEVICES = ("null", "zero", "full", "random", "urandom")
_workers = count()


@dataclass
class RestrictedBackend:
    """Starts workers that confine their guests with filters alone."""

    packages: tuple[str, ...]
    name: str = "restricted"
    isolated: bool = True

    def prepare(self) -> None:
        base.require_linux(self.name)
        if not seccomp.available():
            raise SandboxUnavailable(f"restricted: no system call filter for {os.uname().machine} (x86_64 and aarch64 only)")
        if landlock.version() < 3:
            raise SandboxUnavailable("restricted: needs Landlock (Linux 6.2 or newer, with landlock in /sys/kernel/security/lsm)")

    def start(self, *, heavy: bool, limits: Limits) -> Worker:
        scratch = base.Scratch(self.packages)
        os.chmod(scratch.work, 0o1777)
        uids = _own_users() if os.geteuid() == 0 and _readable_for_all() else []
        config = {
            "uids": uids,
            "only_threads": True,
            "shared_pids": True,
            "limit_processes": bool(uids),  # counted per user: only where the user is the worker's own
            "preload": base.modules(self.packages, heavy),
            "site": scratch.site,
            "stack": limits.stack,
            "work": scratch.work,
            "wipe": [scratch.work],
            "scratch": scratch.root,
            "landlock": [
                *_runtime(self.packages),
                (scratch.site, "read"),
                (scratch.work, "write"),
                *((f"/dev/{name}", "device") for name in _DEVICES),
            ],
        }
        try:
            return base.launch(config, heavy=heavy, cleanup=scratch.remove)
        except WorkerBroken as error:
            raise SandboxUnavailable(f"restricted: {error}") from None

    def fit(self, worker: Worker, limits: Limits) -> None:
        pass

    def close(self) -> None:
        pass


def _own_users() -> list[int]:
    """Two users for a worker. Other programs of this machine hardly have them; a clash would only share a count of threads."""
    first = _FIRST_UID + (os.getpid() * 7 + next(_workers)) % (_UIDS // 2) * 2
    return [first, first + 1]


def _readable_for_all() -> bool:
    """Whether another user can reach the standard library."""
    path = sysconfig.get_path("stdlib")
    while path != os.path.dirname(path):
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


def _runtime(packages: tuple[str, ...]) -> list[tuple[str, str]]:
    """The runtime without the site-packages that lie inside the standard library's folder: there only names can be listed."""
    library = sysconfig.get_path("stdlib")
    shown = [(source, "read") for source, _ in runtime.describe(packages).binds if source != library]
    inside = [name for name in sorted(os.listdir(library)) if name not in ("site-packages", "dist-packages")]
    return [*shown, (library, "list"), *((os.path.join(library, name), "read") for name in inside)]
