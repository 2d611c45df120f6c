"""Messages between the pool, the warm parent and the workers: length-prefixed JSON over a stream socket, nothing else.

What a worker sends is parsed as JSON and validated as a record; it is never unpickled.
"""

import json
import socket
import struct
from typing import Any

_HEADER = struct.Struct("!I")
MAX_FRAME = (1 << 32) - 1


class WireError(Exception):
    """What arrived is not a message."""


def frame(message: Any) -> bytes:
    """Encode one message. ASCII JSON, so that text with lone surrogates survives. Raises TypeError or ValueError."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is too long")
    return _HEADER.pack(len(body)) + body


class Inbox:
    """Collects bytes and gives back whole messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Add `data`; return the messages that are now complete. Raises WireError."""
        self._bytes += data
        messages = []
        while (end := self._end()) is not None:
            body = bytes(self._bytes[_HEADER.size : end])
            del self._bytes[:end]
            messages.append(_parse(body))
        return messages

    def _end(self) -> int | None:
        if len(self._bytes) < _HEADER.size:
            return None
        end: int = _HEADER.size + _HEADER.unpack_from(self._bytes)[0]
        return end if len(self._bytes) >= end else None


def receive(sock: socket.socket) -> Any:
    """Block until one whole message is there and return it. Raises EOFError when the other side is gone."""
    (length,) = _HEADER.unpack(_read(sock, _HEADER.size))
    return _parse(_read(sock, length))


def _read(sock: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
