"""The control connection of a worker that shares no socket with the host: two pipes that the engine carries to it.

A request is a length, a JSON object with the sizes of what follows, and for each guest its payload and its standard input. The
memory files that guests read and write are made here. A reply is a length, a JSON object with the sizes of what was written,
and the part of each output that the host accepts.

The pipes are descriptors of the zygote alone: guests close everything but their own, and cannot open those of process 1.
"""

import json
import os
from typing import Any

_CHUNK = 1 << 20
_NAMES = ("payload", "stdin", "stdout", "stderr", "result")


class HostClosed(Exception):  # noqa: N818 - an event, not an error
    """The stream ended, possibly in the middle of a request."""


class Pipes:
    """The control connection, as `wire.Packets` is where host and worker share a socket."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write

    def fileno(self) -> int:
        """A descriptor that hangs up when the host is gone."""
        return self._read

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return a request and five memory files for each guest; None when the host has closed."""
        try:
            size = int.from_bytes(take(self._read, 4), "big")
            request = json.loads(take(self._read, size))
            fds: list[int] = []
            for sizes in request["sizes"]:
                fds += self._memory_files(sizes)
        except HostClosed:
            return None
        return request, fds

    def _memory_files(self, sizes: list[int]) -> list[int]:
        fds = [os.memfd_create(name, os.MFD_CLOEXEC) for name in _NAMES]
        for fd, size in zip(fds, sizes, strict=False):
            self._fill(fd, size)
        os.lseek(fds[1], 0, os.SEEK_SET)
        return fds

    def _fill(self, fd: int, size: int) -> None:
        while size:
            data = os.read(self._read, min(size, _CHUNK))
            if not data:
                raise HostClosed
            write_all(fd, data)
            size -= len(data)

    def reply(self, message: dict[str, Any], limits: dict[str, Any] | None = None, fds: list[int] | tuple[int, ...] = ()) -> None:
        """Answer, with what the guests wrote. They are dead by now, so that the sizes do not change any more."""
        parts: list[tuple[int, int, int]] = []
        sizes: list[list[int]] = []
        for i in range(0, len(fds) if limits else 0, len(_NAMES)):
            own = [os.fstat(fd).st_size for fd in fds[i + 2 : i + 5]]
            sizes.append(own)
            parts += [(fd, *span) for fd, span in zip(fds[i + 2 : i + 5], accepted(own, limits or {}), strict=True)]
        text = json.dumps({**message, "sizes": sizes}, separators=(",", ":")).encode()
        write_all(self._write, len(text).to_bytes(4, "big") + text)
        for fd, start, count in parts:
            self._send(fd, start, count)

    def _send(self, fd: int, start: int, count: int) -> None:
        while count:
            sent = os.sendfile(self._write, fd, start, count)
            if not sent:
                raise OSError("an output became shorter than it was")
            start, count = start + sent, count - sent


def accepted(sizes: list[int], limits: dict[str, Any]) -> list[tuple[int, int]]:
    """Start and length of what the host takes of stdout (its beginning), stderr (its end) and result (its beginning)."""
    out, error, result = sizes
    kept = min(error, limits["error_output"])
    return [(0, min(out, limits["output"])), (error - kept, kept), (0, min(result, limits["output"]))]


def take(fd: int, size: int) -> bytes:
    """Read exactly `size` bytes. Raises HostClosed at the end of the stream."""
    parts = []
    while size:
        data = os.read(fd, min(size, _CHUNK))
        if not data:
            raise HostClosed
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
