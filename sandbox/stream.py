"""A channel to a worker that shares no socket with the host: over the streams of its container, to which the engine attaches us.

For engines in a virtual machine (Docker Desktop) or on another machine. What we send is the standard input of process 1 of the
container; what comes back are frames of its standard output, which are our messages (see `guest/stream.py`), and of its
standard error, of which the end is kept for messages about failures. The engine and process 1 are trusted to frame; still, no
length of theirs makes this side take more memory than the limits of the request allow.
"""

import io
import json
import math
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .channel import Input, WorkerBroken, WorkerGone, Written
from .guest.stream import accepted
from .records import Limits

_STDOUT, _STDERR = 1, 2
_FRAME = struct.Struct(">BxxxL")
_LONGEST_MESSAGE = 1 << 16
_BUFFER = 1 << 16
_WORDS = 4096
_LEAST_BYTES_PER_SECOND = 1 << 20  # what the way to the engine must carry: slower counts as broken


class StreamChannel:
    """Over the socket of an attached container: a socket, or the channel of an SSH connection."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached  # the SDK ties the life of the HTTP response to this object
        self._socket = getattr(attached, "_sock", attached)
        self._raw = _Raw(self._socket)
        self._reader = io.BufferedReader(self._raw, _BUFFER)
        self._left = 0  # bytes of the current frame of standard output that have not been read
        self._words = b""

    def send_first(self, data: bytes, seconds: float) -> None:
        """Send what the boot program of the worker waits for."""
        with _failures():
            self._send([len(data).to_bytes(4, "big"), data], seconds)

    def receive(self, seconds: float) -> dict[str, Any]:
        with _failures():
            self._raw.deadline = time.monotonic() + seconds
            return self._message()

    def exchange(
        self, request: dict[str, Any], inputs: Sequence[Input], limits: Limits, seconds: float
    ) -> tuple[dict[str, Any], list[Written]]:
        sizes = [[len(data) for data in given] for given in inputs]
        text = json.dumps({**request, "sizes": sizes}, separators=(",", ":")).encode()
        parts = [len(text).to_bytes(4, "big"), text, *(data for given in inputs for data in given)]
        with _failures():
            self._send(parts, seconds)
            self._raw.deadline = time.monotonic() + seconds
            reply = self._message()
            if "fault" in reply:
                return reply, []
            return reply, [self._written(reply["sizes"][i], limits) for i in range(len(inputs))]

    def _send(self, parts: list[bytes], seconds: float) -> None:
        size = sum(map(len, parts))
        self._socket.settimeout(seconds + size / _LEAST_BYTES_PER_SECOND)
        for part in [b"".join(parts)] if size < _BUFFER else parts:
            self._socket.sendall(part)

    def _written(self, sizes: list[int], limits: Limits) -> Written:
        own = {"output": limits.output, "error_output": limits.error_output}
        counts = [count for _, count in accepted(sizes, own)]
        self._raw.deadline += sum(counts) / _LEAST_BYTES_PER_SECOND
        stdout, stderr, result = (self._take(count) for count in counts)
        return Written(stdout, sizes[0], stderr, sizes[1], result)

    def _message(self) -> dict[str, Any]:
        size = int.from_bytes(self._take(4), "big")
        if size > _LONGEST_MESSAGE:
            raise WorkerBroken(f"the worker announced a message of {size} bytes")
        message = json.loads(self._take(size))
        if not isinstance(message, dict):
            raise WorkerBroken("the worker's answer is no object")
        return message

    def _take(self, size: int) -> bytes:
        """Read exactly `size` bytes of standard output into the memory of the result: a large output exists once."""
        memory = io.BytesIO()
        if size:
            memory.seek(size - 1)
            memory.write(b"\0")
            view = memory.getbuffer()
            self._fill(view)
            view.release()
        return memory.getvalue()

    def _fill(self, view: memoryview) -> None:
        filled = 0
        while filled < len(view):
            while not self._left:
                self._next_frame()
            count = self._reader.readinto(view[filled : filled + self._left])
            if not count:
                raise WorkerGone("the worker ended")
            self._left -= count
            filled += count

    def _next_frame(self) -> None:
        header = self._reader.read(_FRAME.size)
        if len(header) < _FRAME.size:
            raise WorkerGone("the worker ended")
        kind, size = _FRAME.unpack(header)
        if kind == _STDOUT:
            self._left = size
        elif kind == _STDERR:
            self._listen(size)
        else:
            raise WorkerBroken(f"the engine sent a frame of kind {kind}")

    def _listen(self, size: int) -> None:
        while size:
            data = self._reader.read(min(size, _BUFFER))
            if not data:
                raise WorkerGone("the worker ended")
            self._words = (self._words + data)[-_WORDS:]
            size -= len(data)

    def words(self) -> str:
        """The last line that the worker wrote to its standard error, for messages; empty when there is none."""
        lines = self._words.decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][:300]}" if lines else ""

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # unlike close, this wakes a thread that waits on it
        with suppress(OSError):
            self._attached.close()
        with suppress(OSError):
            self._socket.close()


class _Raw(io.RawIOBase):
    """Reads from a socket-like object until a deadline."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.deadline = math.inf

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._source.settimeout(min(left, 1e6))
        if hasattr(self._source, "recv_into"):
            return int(self._source.recv_into(buffer))
        data = self._source.recv(len(buffer))  # the channel of an SSH connection
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def _failures() -> Iterator[None]:
    """Everything that can go wrong with the stream means that the worker is of no more use."""
    try:
        yield
    except TimeoutError:
        raise WorkerBroken("the worker did not answer in time") from None
    except OSError as error:
        raise WorkerGone(f"the worker is gone ({error.strerror or error})") from None
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise WorkerBroken(f"the worker's answer cannot be read: {error}") from None
