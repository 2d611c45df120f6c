"""The warm parent of the verification pool: imports the verifier once, then forks workers from itself in milliseconds.

A process of its own, started afresh (never forked from the host, which has threads and perhaps a GPU), with one thread. It
owns the workers: it forks, kills (the whole process group, and whatever escaped from it) and reaps them, and tells the pool
how each one ended. When the host goes away, however that happens, it takes the workers with it.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from . import _wire, _worker
from ._parcel import unpack

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(control_fd: int, host: int) -> None:
    """Serve the pool over the socket `control_fd` until the host process `host` is gone or says stop."""
    _die_with_parent(signal.SIGTERM, host)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    control = socket.socket(fileno=control_fd)
    with contextlib.suppress(ConnectionError):  # the host hung up: interrupted while this was warming up, or in a message
        _serve(control)


def _serve(control: socket.socket) -> None:
    setup = _wire.receive(control)
    try:
        verifier = _load(setup)
    except Exception as error:  # a verifier that cannot be loaded is reported to whoever made the pool
        control.sendall(_wire.frame({"failed": f"{type(error).__name__}: {error}"}))
        return
    gc.collect()
    gc.freeze()  # keeps the pages of the imported modules shared with the workers
    control.sendall(_wire.frame({"warm": True}))
    _Nursery(control, verifier, setup["cpu"], setup["memory"]).serve()


def _load(setup: dict[str, Any]) -> Callable[..., Any]:
    verifier: Callable[..., Any] = unpack(setup)
    warm = getattr(verifier, "warm", None)
    if warm is not None:
        warm()
    return verifier


class _Nursery:
    """Forks, kills and reaps workers as the pool asks."""

    def __init__(self, control: socket.socket, verifier: Callable[..., Any], cpu: float | None, memory: int | None) -> None:
        self._control = control
        self._verifier = verifier
        self._limits = (cpu, memory)
        self._workers: set[int] = set()
        self._sockets: list[socket.socket] = []
        self._inbox = _wire.Inbox()
        # A signal handler and a wakeup descriptor: select() below returns when a child ends.
        self._wakeup, waker = socket.socketpair()
        self._wakeup.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        try:
            while self._listen():
                self._reap()
        finally:
            signal.set_wakeup_fd(-1)
            self._end_all()

    def _listen(self) -> bool:
        ready, _, _ = select.select([self._control, self._wakeup], [], [])
        if self._wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                self._wakeup.recv(4096)
        return self._obey() if self._control in ready else True

    def _obey(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, 65536, 64)
        self._sockets += [socket.socket(fileno=fd) for fd in fds]
        if not data:
            return False
        for message in self._inbox.feed(data):
            if "fork" in message:
                self._fork(message["fork"], self._sockets.pop(0))
            elif "kill" in message and message["kill"] in self._workers:
                _kill_group(message["kill"])
            elif "stop" in message:
                return False
        return True

    def _fork(self, key: int, sock: socket.socket) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"unborn": key, "why": f"cannot fork a worker: {error.strerror}"})
            return
        if pid == 0:
            try:
                self._become_worker(sock, parent)
            finally:
                os._exit(1)
        sock.close()
        self._workers.add(pid)
        self._tell({"born": key, "pid": pid})

    def _become_worker(self, sock: socket.socket, parent: int) -> NoReturn:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        _die_with_parent(signal.SIGKILL, parent)
        for other in (self._control, self._wakeup, self._waker, *self._sockets):
            other.close()
        _worker.run(sock, self._verifier, *self._limits)

    def _reap(self) -> None:
        while (pid := _ended_child()) is not None:
            if pid in self._workers:
                _kill_group(pid)  # its group may outlive it; the number cannot be reused before the wait below
                self._workers.remove(pid)
                self._tell({"dead": pid, "why": _reason(os.waitpid(pid, 0)[1])})
                self._kill_strays()
            else:
                os.waitpid(pid, 0)

    def _end_all(self) -> None:
        for pid in self._workers:
            _kill_group(pid)
        for pid in self._workers:
            os.waitpid(pid, 0)
        self._workers.clear()
        self._kill_strays()

    def _kill_strays(self) -> None:
        """Kill what a dead worker left behind: this process inherits it."""
        for pid in _children():
            if pid not in self._workers:
                _kill_group(pid)

    def _tell(self, message: dict[str, Any]) -> None:
        self._control.sendall(_wire.frame(message))


def _ended_child() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _kill_group(pid: int) -> None:
    """Kill a child and, where it leads one, its process group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _reason(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "cpu" if number in (signal.SIGPROF, signal.SIGXCPU) else f"killed by {signal.Signals(number).name}"
    return f"exited with code {os.WEXITSTATUS(status)}"


def _die_with_parent(number: signal.Signals, parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
