"""The supervisor's end of the warm parent (`_zygote`): starts it, sends it orders, hears its reports, ends it."""

import contextlib
import os
import socket
import subprocess
import sys
from typing import Any

from . import _wire

GRACE = 5.0  # seconds the warm parent has to carry out an order before it is killed itself


class WarmParent:
    """A freshly started interpreter that loads the verifier and forks workers. Belongs to one thread, which has to outlive it."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.sock, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _boot(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=_stderr(),
                stderr=_stderr(),
                start_new_session=True,
                # A fixed hash seed: the order of sets must not decide what sympy does.
                env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONHASHSEED": "0"},
            )
        self._inbox = _wire.Inbox()
        self.sock.sendall(_wire.frame(setup))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def reports(self) -> list[Any] | None:
        """Return what it has to say (call when its socket is readable), None when it is dead."""
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b""
        return self._inbox.feed(data) if data else None

    def fork(self, key: int) -> socket.socket:
        """Order a worker that will be reported under `key`; return our end of its socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.sock, [_wire.frame({"fork": key})], [theirs.fileno()])
        ours.setblocking(False)
        return ours

    def kill_worker(self, pid: int) -> None:
        """Order the death of a worker and its process group."""
        with contextlib.suppress(OSError):  # it is dead itself, and its workers with it
            self.sock.sendall(_wire.frame({"kill": pid}))

    def kill(self) -> None:
        """Kill the warm parent itself; the kernel kills its workers."""
        self._process.kill()

    def end(self) -> int:
        """Ask it to end all workers and itself; return its exit code when it is gone."""
        with contextlib.suppress(OSError):
            self.sock.sendall(_wire.frame({"stop": True}))
        self.sock.close()
        try:
            return self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()


def _boot(fd: int) -> str:
    # -P and an explicit path: the modules must be those of this process, whatever the directory or the environment.
    call = f"from {__package__}._zygote import main; main({fd}, {os.getpid()})"
    return f"import sys; sys.path[:] = {sys.path!r}; {call}"


def _stderr() -> int:
    """Workers print to standard error, so that the host's standard output stays its own."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2
