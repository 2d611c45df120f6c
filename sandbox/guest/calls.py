"""The roles that call functions of a candidate: `call` (a list of argument lists) and `serve` (requests from a peer).

Both run in the candidate's own process, which may do anything to them. That is why they decide nothing: what they write is a
claim, as plain data, that somebody who has never met the candidate's code compares.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from . import child, plain, program

_MOST = 64 << 20


def find(namespace: dict[str, Any], entry: str) -> Callable[..., Any]:
    """Return the function `entry`, or the method of a new `Solution` with that name."""
    if "Solution" in namespace and hasattr(namespace["Solution"], entry):
        bound: Callable[..., Any] = getattr(namespace["Solution"](), entry)
        return bound
    if not callable(namespace.get(entry)):
        raise NameError(f"the program defines no function {entry!r}")
    function: Callable[..., Any] = namespace[entry]
    return function


def run_calls(header: dict[str, Any], source: bytes) -> None:
    """The role `call`: load the program, then answer each argument list in order, one line per answer."""
    namespace = program.fresh_main({**header, "prelude": header.get("prelude", True)}, source)
    program.rename_main("candidate")
    child.announce_start()
    code = program.execute(source, namespace)
    if code == 0:
        _write_all(child.RESULT, b'{"loaded":true}\n')
        for index, arguments in enumerate(header["calls"]):
            _write_all(child.RESULT, _answer(namespace, header["entry"], index, arguments))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    os._exit(code)


def _answer(namespace: dict[str, Any], entry: str, index: int, arguments: Any) -> bytes:
    try:
        value = find(namespace, entry)(*plain.decode(arguments))
        answer = {"i": index, "ok": plain.encode(value)}
    except BaseException as error:
        program.report(error)
        answer = {"i": index, "error": program.last_line(error)}
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def send(fd: int, message: Any) -> None:
    """Write one message to a peer: length, JSON."""
    data = json.dumps(message, separators=(",", ":")).encode()
    _write_all(fd, len(data).to_bytes(4, "big") + data)


def receive(fd: int) -> Any:
    """Read one message of a peer, None at the end of the stream. Raises NotPlain for what is no message."""
    head = _read_exactly(fd, 4)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > _MOST:
        raise plain.NotPlain(f"a message of {length} bytes; at most {_MOST} are read")
    body = _read_exactly(fd, length)
    if body is None:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise plain.NotPlain(f"not a message: {error}") from None


def _read_exactly(fd: int, count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def serve(header: dict[str, Any], source: bytes) -> None:
    """The role `serve`: load the candidate, say which names it defines, answer its peer until the pipe closes."""
    namespace = program.fresh_main({**header, "prelude": header.get("prelude", True)}, source)
    program.rename_main("candidate")
    before = dict(namespace)
    child.announce_start()
    code = program.execute(source, namespace)
    if code == 0:
        own = [name for name, value in namespace.items() if callable(value) and before.get(name) is not value]
        _Server(namespace, own).loop()
    os._exit(code or 0)


class _Server:
    """Objects of the candidate's own classes stay here; the peer gets their numbers."""

    def __init__(self, namespace: dict[str, Any], names: list[str]) -> None:
        self._namespace, self._names = namespace, names
        self._objects: list[Any] = []
        plain.hooks["encode"] = self._keep
        plain.hooks["decode"] = lambda number: self._objects[number]

    def loop(self) -> None:
        send(child.PEER_OUT, {"names": self._names})
        while True:
            request = receive(child.PEER_IN)
            if request is None:
                return
            send(child.PEER_OUT, self._respond(request))

    def _keep(self, value: Any) -> Any:
        if isinstance(value, type) or type(value).__module__ != "candidate":
            return None
        self._objects.append(value)
        return {"t": "handle", "v": len(self._objects) - 1}

    def _respond(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            target = self._target(request)
            if "args" not in request:
                return {"callable": True} if callable(target) else {"ok": plain.encode(target)}
            keywords = {name: plain.decode(value) for name, value in request["keywords"].items()}
            return {"ok": plain.encode(target(*plain.decode(request["args"]), **keywords))}
        except BaseException as error:
            return {"error": [type(error).__name__, program.last_line(error)]}

    def _target(self, request: dict[str, Any]) -> Any:
        if "object" in request:
            return getattr(self._objects[request["object"]], request["name"])
        return find(self._namespace, request["name"])
