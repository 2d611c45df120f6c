"""How a request reaches a worker and how what its guests wrote comes back, where host and worker share a socket.

Programs and outputs are memory files whose descriptors travel over the socket, so that no byte of them is copied through it.
`stream` holds the other way, for workers that share nothing with the host but the streams of their container.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from .guest import wire
from .records import Limits


class WorkerBroken(Exception):  # noqa: N818 - the state of the worker
    """The worker is of no more use; says why. Nothing is known about the program it ran."""


class WorkerGone(WorkerBroken):
    """Its side of the connection has closed: its last words may say why."""


class Input(NamedTuple):
    """What one guest of a request is given."""

    payload: bytes
    stdin: bytes


class Written(NamedTuple):
    """What one guest wrote: the sizes of it, and the bytes within the limits (the beginning; of stderr the end)."""

    stdout: bytes
    stdout_size: int
    stderr: bytes
    stderr_size: int
    result: bytes


class Channel(Protocol):
    """The host's side of the connection to one worker. Every method may raise WorkerBroken."""

    def receive(self, seconds: float) -> dict[str, Any]:
        """Return a message that comes unasked: that the worker is ready."""

    def exchange(
        self, request: dict[str, Any], inputs: Sequence[Input], limits: Limits, seconds: float
    ) -> tuple[dict[str, Any], list[Written]]:
        """Send a request; return the reply to it and, unless that is a fault, what each guest wrote."""

    def close(self) -> None:
        """Close, and wake a thread that waits in `exchange`."""


class SocketChannel:
    """Over a SEQPACKET unix socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self, seconds: float) -> dict[str, Any]:
        poller = select.poll()
        poller.register(self._connection, select.POLLIN)
        if not poller.poll(max(seconds, 0) * 1000):
            raise WorkerBroken("the worker did not answer in time")
        try:
            received = wire.receive(self._connection)
        except (OSError, ValueError) as error:
            raise WorkerBroken(f"the worker's answer cannot be read: {error}") from None
        if received is None:
            raise WorkerGone("the worker ended")
        return received[0]

    def exchange(
        self, request: dict[str, Any], inputs: Sequence[Input], limits: Limits, seconds: float
    ) -> tuple[dict[str, Any], list[Written]]:
        fds: list[int] = []
        try:
            for given in inputs:
                fds += _memory_files(given)
            deadline = time.monotonic() + seconds
            self._send(request, fds)
            reply = self.receive(deadline - time.monotonic())
            count = 0 if "fault" in reply else len(inputs)
            return reply, [_written(fds[5 * i : 5 * i + 5], limits) for i in range(count)]
        finally:
            for fd in fds:
                os.close(fd)

    def _send(self, request: dict[str, Any], fds: list[int]) -> None:
        try:
            wire.send(self._connection, request, tuple(fds))
        except OSError as error:
            raise WorkerGone(f"the worker is gone ({error.strerror})") from None

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # unlike close, this wakes a thread that waits on it
        self._connection.close()


def _memory_files(given: Input) -> list[int]:
    """Payload, stdin, stdout, stderr, result."""
    return [_memory_file("payload", given.payload), _memory_file("stdin", given.stdin)] + [
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


def _written(fds: Sequence[int], limits: Limits) -> Written:
    sizes = [os.fstat(fd).st_size for fd in fds]
    return Written(
        stdout=_read(fds[2], 0, min(sizes[2], limits.output)),
        stdout_size=sizes[2],
        stderr=_read(fds[3], max(sizes[3] - limits.error_output, 0), limits.error_output),
        stderr_size=sizes[3],
        result=_read(fds[4], 0, min(sizes[4], limits.output)),
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
