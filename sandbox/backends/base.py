"""What a backend is, and the part that is common to those that start a process on this machine."""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .. import runtime
from ..channel import SocketChannel
from ..errors import SandboxUnavailable
from ..records import Limits
from ..worker import Worker
from .scratch import Directory

START_SECONDS = 30.0
_FAREWELL_SECONDS = 3.0


class Backend(Protocol):
    """Starts workers of one kind."""

    name: str
    isolated: bool

    def prepare(self) -> None:
        """Check what can be checked without starting a worker. Raises SandboxUnavailable."""

    def start(self, *, heavy: bool, limits: Limits) -> Worker:
        """Start a worker and wait until it is ready. Raises SandboxUnavailable or WorkerBroken."""

    def fit(self, worker: Worker, limits: Limits) -> None:
        """Make room in the worker for a program with `limits`, where the backend had to fix a ceiling at the start."""

    def close(self) -> None:
        """Undo `prepare`."""


def require_linux(name: str) -> None:
    """The calls that every backend on this machine needs."""
    if not hasattr(os, "memfd_create") or not hasattr(os, "pidfd_open"):
        raise SandboxUnavailable(f"{name}: needs Linux 5.3 or newer; elsewhere use docker")


def modules(packages: tuple[str, ...], heavy: bool) -> tuple[str, ...]:
    """Which of `packages` a worker imports before the first program: the heavy ones only in workers for heavy programs."""
    return tuple(name for name in packages if heavy or name not in runtime.HEAVY)


class Scratch:
    """The directory of a worker without namespaces: `work` for programs, `site` with links to the packages they may import."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._directory = Directory()
        self.root = self._directory.path
        self.work, self.site = os.path.join(self.root, "work"), os.path.join(self.root, "site")
        os.mkdir(self.work)
        os.mkdir(self.site)
        for name, place in runtime.package_directories(packages).items():
            os.symlink(place, os.path.join(self.site, name))
        os.chmod(self.root, 0o755)

    def remove(self) -> None:
        self._directory.remove()


def launch(config: dict[str, Any], *, heavy: bool, cleanup: Callable[[], None] | None = None) -> Worker:
    """Start `guest/launch.py` with `config` and a control connection, in an empty environment."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = Path(__file__).parent.parent / "guest" / "launch.py"
    log = tempfile.TemporaryFile()  # noqa: SIM115 - the worker's stderr, read only if it fails, closed with the worker
    command = [runtime.interpreter(), "-s", "-S", "-P", "-X", "utf8", str(script), json.dumps(config)]
    with theirs:
        command.append(str(theirs.fileno()))
        process = _spawn(command, theirs.fileno(), log.fileno())

    def close() -> None:
        try:
            process.wait(_FAREWELL_SECONDS)  # its connection has closed: it kills what it runs, cleans up and ends
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        if cleanup is not None:
            cleanup()

    def words() -> str:
        if log.closed:
            return ""
        log.seek(0)
        lines = log.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    worker = Worker(SocketChannel(ours), close, heavy=heavy, words=words)
    try:
        worker.wait_ready(START_SECONDS)
    except BaseException:
        worker.close()
        raise
    return worker


def _spawn(command: list[str], control: int, log: int) -> subprocess.Popen[bytes]:
    """Start the worker in a session of its own, so that Ctrl-C reaches the host alone."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        pass_fds=(control,),
        start_new_session=True,
        env=runtime.ENVIRONMENT,
        cwd="/",
    )
