"""The `process` backend: limits only, no isolation. For programs you trust, on a machine without anything better.

A program can read what you can read, reach the network, and signal your processes. CPU time, memory, output, open files and
leftover processes are still bounded, and expected values still never enter the program. It has to be asked for by name, says
so in every record (`isolated` is False), and warns when it is opened.
"""

from dataclasses import dataclass

from ..channel import WorkerBroken
from ..errors import SandboxUnavailable
from ..records import Limits
from ..worker import Worker
from . import base


@dataclass
class ProcessBackend:
    """Starts plain processes."""

    packages: tuple[str, ...]
    name: str = "process"
    isolated: bool = False

    def prepare(self) -> None:
        base.require_linux(self.name)

    def start(self, *, heavy: bool, limits: Limits) -> Worker:
        scratch = base.Scratch(self.packages)
        config = {
            "seccomp": False,
            "shared_pids": True,
            "limit_processes": False,  # counted per user: the user's other processes would count as well
            "preload": base.modules(self.packages, heavy),
            "site": scratch.site,
            "stack": limits.stack,
            "work": scratch.work,
            "wipe": [scratch.work],
            "scratch": scratch.root,
        }
        try:
            return base.launch(config, heavy=heavy, cleanup=scratch.remove)
        except WorkerBroken as error:
            raise SandboxUnavailable(f"process: {error}") from None

    def fit(self, worker: Worker, limits: Limits) -> None:
        pass

    def close(self) -> None:
        pass
