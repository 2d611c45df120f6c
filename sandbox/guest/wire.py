"""Messages between the host and a worker that share a socket: one JSON object per packet, with descriptors beside it."""

import array
import json
import socket
from typing import Any

_LARGEST = 1 << 16
_MOST_FDS = 16


def send(connection: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one packet. Raises OSError when the other side is gone."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    connection.sendmsg([json.dumps(message, separators=(",", ":")).encode()], rights)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive one packet, None when the other side has closed."""
    room = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)
    data, ancillary, _, _ = connection.recvmsg(_LARGEST, room, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return json.loads(data), list(fds)


class Packets:
    """The control connection as the zygote uses it. Guests write into the host's own memory files: a reply carries no bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """A descriptor that hangs up when the host is gone."""
        return self._connection.fileno()

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return a request and five memory files for each guest; None when the host has closed."""
        return receive(self._connection)

    def reply(self, message: dict[str, Any], limits: dict[str, Any] | None = None, fds: list[int] | tuple[int, ...] = ()) -> None:
        """Answer; `limits` and `fds` are for connections that have to carry the output."""
        send(self._connection, message)
