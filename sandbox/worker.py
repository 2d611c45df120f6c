"""The host's side of one warm worker: hands it programs as memory files, takes back what happened.

Bytes of a guest are read with a cap and never interpreted here. Any answer that does not come in time, or is not one, is a
`WorkerBroken`: the pool replaces the worker and retries.
"""

import json
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from .guest import wire
from .records import Limits, Program

_GRACE = 8.0  # seconds past the wall limit: the guest may take 5 s to be set up or killed on a crowded machine


class WorkerBroken(Exception):  # noqa: N818 - the state of the worker
    """The worker is of no more use; says why. Nothing is known about the program it ran."""


class GuestSpec(NamedTuple):
    """One process of a request: what it does (`program`, `call`, `serve`, `test`), with which program, on which stdin."""

    role: str
    program: Program
    stdin: bytes = b""
    header: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class GuestOutcome:
    """What one process did, before it is given a name. Sizes are what it wrote; the bytes are capped."""

    exit: int | None
    signal: int | None
    alive: bool
    cpu: float
    wall: float
    peak: int
    stdout: bytes
    stdout_size: int
    stderr: bytes
    stderr_size: int
    result: bytes
    killed: str | None
    oom: bool


class Worker:
    """A started worker. Not thread-safe: the pool lends it to one caller at a time."""

    def __init__(self, connection: socket.socket, close: Callable[[], None], *, heavy: bool, words: Callable[[], str]) -> None:
        self._connection, self._close, self._words = connection, close, words
        self.heavy = heavy
        self.runs = 0
        self.retired = False
        self.python = ""
        self.pid = 0

    def wait_ready(self, seconds: float) -> None:
        """Wait for the worker's first message. Raises WorkerBroken with the worker's last words."""
        message = self._receive(time.monotonic() + seconds)
        if not message.get("ready"):
            raise WorkerBroken(f"the worker did not start: {message}")
        self.python, self.pid = str(message["python"]), int(message["pid"])

    def run(self, guests: Sequence[GuestSpec], limits: Limits) -> list[GuestOutcome]:
        """Run one request (one guest, or a server and its tester) and return the outcomes in order."""
        fds: list[int] = []
        try:
            for guest in guests:
                fds += _memory_files(guest)
            request = {"roles": [guest.role for guest in guests], "limits": {**asdict(limits), "wall_seconds": limits.wall}}
            deadline = time.monotonic() + limits.wall + _GRACE
            try:
                wire.send(self._connection, request, tuple(fds))
            except OSError as error:
                raise WorkerBroken(f"the worker is gone ({error.strerror}){self._words()}") from None
            reply = self._receive(deadline)
            self.runs += 1
            self.retired = self.retired or bool(reply.get("retire"))
            if "fault" in reply:
                raise WorkerBroken(str(reply["fault"]))
            return [_outcome(reply, i, fds[5 * i : 5 * i + 5], limits) for i in range(len(guests))]
        finally:
            for fd in fds:
                os.close(fd)

    def _receive(self, deadline: float) -> dict[str, Any]:
        poller = select.poll()
        poller.register(self._connection, select.POLLIN)
        if not poller.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise WorkerBroken("the worker did not answer in time")
        try:
            received = wire.receive(self._connection)
        except (OSError, ValueError) as error:
            raise WorkerBroken(f"the worker's answer cannot be read: {error}") from None
        if received is None:
            raise WorkerBroken(f"the worker ended{self._words()}")
        return received[0]

    def close(self) -> None:
        """End the worker and everything in it. May be called while another thread waits for its answer."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # unlike close, this wakes a thread that waits on it
        self._connection.close()
        self._close()


def _memory_files(guest: GuestSpec) -> list[int]:
    """Payload, stdin, stdout, stderr, result."""
    return [_memory_file("payload", _payload(guest)), _memory_file("stdin", guest.stdin)] + [
        _memory_file(name, b"") for name in ("stdout", "stderr", "result")
    ]


def _memory_file(name: str, data: bytes) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    if name == "stdin":
        os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _payload(guest: GuestSpec) -> bytes:
    program = guest.program
    source = program.source.encode("utf-8", "surrogatepass") if isinstance(program.source, str) else program.source
    header = {
        "source": len(source),
        "files": [[name, len(data)] for name, data in program.files.items()],
        "args": list(program.args),
        "prelude": program.prelude,
        **guest.header,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((len(text).to_bytes(4, "big"), text, source, *program.files.values()))


def _outcome(reply: Mapping[str, Any], index: int, fds: Sequence[int], limits: Limits) -> GuestOutcome:
    said = reply["guests"][index]
    sizes = [os.fstat(fd).st_size for fd in fds]
    return GuestOutcome(
        exit=said["exit"],
        signal=said["signal"],
        alive=said["alive"],
        cpu=said["cpu"],
        wall=said["wall"],
        peak=said["peak"],
        stdout=_read(fds[2], 0, min(sizes[2], limits.output)),
        stdout_size=sizes[2],
        stderr=_read(fds[3], max(sizes[3] - limits.error_output, 0), limits.error_output),
        stderr_size=sizes[3],
        result=_read(fds[4], 0, min(sizes[4], limits.output)),
        killed=reply["killed"],
        oom=reply["oom"],
    )


def _read(fd: int, start: int, count: int) -> bytes:
    """Read at most `count` bytes; the size was measured after the last guest died, so it does not grow meanwhile."""
    data = os.pread(fd, count, start)
    if len(data) == count or not data:
        return data
    parts = [data]
    while data and sum(map(len, parts)) < count:
        data = os.pread(fd, count - sum(map(len, parts)), start + sum(map(len, parts)))
        parts.append(data)
    return b"".join(parts)
