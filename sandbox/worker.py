"""The host's side of one warm worker: hands it programs, takes back what happened.

Bytes of a guest are read with a cap and never interpreted here. Any answer that does not come in time, or is not one, is a
`WorkerBroken`: the pool replaces the worker and retries.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from .channel import Channel, Input, WorkerBroken, WorkerGone, Written
from .records import Limits, Program

_GRACE = 8.0  # seconds past the wall limit: the guest may take 5 s to be set up or killed on a crowded machine


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

    def __init__(self, channel: Channel, close: Callable[[], None], *, heavy: bool, words: Callable[[], str]) -> None:
        self._channel, self._close, self._words = channel, close, words
        self.heavy = heavy
        self.runs = 0
        self.retired = False
        self.python = ""
        self.pid = 0

    def wait_ready(self, seconds: float) -> None:
        """Wait for the worker's first message. Raises WorkerBroken with the worker's last words."""
        try:
            message = self._channel.receive(seconds)
        except WorkerGone as gone:
            raise WorkerBroken(f"{gone}{self._words()}") from None
        if not message.get("ready"):
            raise WorkerBroken(f"the worker did not start: {message}")
        self.python, self.pid = str(message["python"]), int(message["pid"])

    def run(self, guests: Sequence[GuestSpec], limits: Limits) -> list[GuestOutcome]:
        """Run one request (one guest, or a server and its tester) and return the outcomes in order."""
        request = {"roles": [guest.role for guest in guests], "limits": {**asdict(limits), "wall_seconds": limits.wall}}
        inputs = [Input(_payload(guest), guest.stdin) for guest in guests]
        try:
            reply, written = self._channel.exchange(request, inputs, limits, limits.wall + _GRACE)
        except WorkerGone as gone:
            raise WorkerBroken(f"{gone}{self._words()}") from None
        self.runs += 1
        self.retired = self.retired or bool(reply.get("retire"))
        if "fault" in reply:
            raise WorkerBroken(str(reply["fault"]))
        return [_outcome(reply, i, own) for i, own in enumerate(written)]

    def close(self) -> None:
        """End the worker and everything in it. May be called while another thread waits for its answer."""
        self._channel.close()
        self._close()


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


def _outcome(reply: Mapping[str, Any], index: int, written: Written) -> GuestOutcome:
    said = reply["guests"][index]
    return GuestOutcome(
        exit=said["exit"],
        signal=said["signal"],
        alive=said["alive"],
        cpu=said["cpu"],
        wall=said["wall"],
        peak=said["peak"],
        **written._asdict(),
        killed=reply["killed"],
        oom=reply["oom"],
    )
