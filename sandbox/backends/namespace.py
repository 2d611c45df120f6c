"""The `namespace` backend: Linux namespaces, seccomp and limits, without a daemon; as root or as a plain user.

Each worker has its own root, network (none), processes, users, ipc and host name; each guest has a mount namespace
of its own inside it. As root, workers run as an unprivileged user of the machine. Memory is limited by watching (every 10 to
40 ms) and by address space, not by a control group.
"""

import os
from dataclasses import dataclass

from .. import runtime
from ..channel import WorkerBroken
from ..errors import SandboxUnavailable
from ..guest import seccomp
from ..records import Limits
from ..worker import Worker
from . import base

_FIRST_UID, _UIDS = 61_000, 4_000  # unassigned in most distributions; only resource counters would be shared in a clash


@dataclass
class NamespaceBackend:
    """Starts workers in namespaces."""

    packages: tuple[str, ...]
    name: str = "namespace"
    isolated: bool = True

    def prepare(self) -> None:
        base.require_linux(self.name)
        if not seccomp.available():
            raise SandboxUnavailable(f"namespace: no system call filter for {os.uname().machine} (x86_64 and aarch64 only)")

    def start(self, *, heavy: bool, limits: Limits) -> Worker:
        shown = runtime.describe(self.packages)
        config = {
            "private_mounts": True,
            "stack": limits.stack,
            "preload": base.modules(self.packages, heavy),
            "python_path": shown.python_path,
            "prefix": runtime.HOME,
            "executable": f"{runtime.HOME}/bin/{runtime.version_name()}",
            "jail": {"binds": shown.binds, "masked": shown.masked, "uid": _FIRST_UID + os.getpid() % _UIDS},
        }
        try:
            return base.launch(config, heavy=heavy)
        except WorkerBroken as error:
            raise SandboxUnavailable(f"namespace: {_advice(str(error))}") from None

    def fit(self, worker: Worker, limits: Limits) -> None:
        pass

    def close(self) -> None:
        pass


def _advice(problem: str) -> str:
    if "unshare" in problem or "uid_map" in problem or "Operation not permitted" in problem:
        return (
            f"this machine does not let us make namespaces ({problem}); allow it with "
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0 or kernel.unprivileged_userns_clone=1, or use docker"
        )
    return problem
