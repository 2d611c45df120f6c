"""The host's side of the stream against workers and engines that do not keep to the protocol. No container is needed."""

import json
import os
import socket
import struct
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from unmask.sandbox import Limits
from unmask.sandbox.channel import Input, WorkerBroken
from unmask.sandbox.guest import stream as guest_stream
from unmask.sandbox.stream import StreamChannel

MiB = 1 << 20
LIMITS = Limits(output=1 << 20, error_output=10)


def frame(data: bytes, kind: int = 1) -> bytes:
    return struct.pack(">BxxxL", kind, len(data)) + data


def said(message: object) -> bytes:
    text = json.dumps(message).encode()
    return len(text).to_bytes(4, "big") + text


@contextmanager
def channel(answer: bytes, end: bool = True) -> Iterator[StreamChannel]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        if end:
            theirs.shutdown(socket.SHUT_WR)
        yield StreamChannel(ours)


REPLY = {"guests": [], "sizes": [[5, 12, 2]]}


def exchange(answer: bytes, end: bool = True, seconds: float = 5) -> Any:
    with channel(answer, end) as ours:
        return ours.exchange({}, [Input(b"payload", b"stdin")], LIMITS, seconds)


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_frames_may_be_cut_anywhere_and_mixed_with_standard_error(cut: int) -> None:
    whole = said(REPLY) + b"hello" + b"3456789012" + b"{}"
    pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
    reply, (written,) = exchange(b"".join(frame(b"warning", 2) + frame(piece) for piece in pieces))
    assert reply == REPLY
    assert written == (b"hello", 5, b"3456789012", 12, b"{}")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "ended"),
        (b"\x01\0\0", "ended"),
        (frame(said(REPLY) + b"hel"), "ended"),
        (frame(b"\xff\xff\xff\xff"), "announced a message of 4294967295 bytes"),
        (b"HTTP/1.1 500 Internal Server Error\r\n", "a frame of kind 72"),
        (frame(b"\0\0\0\x02[]"), "no object"),
        (frame(b"\0\0\0\x02{x"), "cannot be read"),
        (frame(said({})), "cannot be read"),
        (frame(said({"sizes": [[1, 2]]})), "cannot be read"),
        (frame(said({"sizes": [[-1, 0, 0]]})), "cannot be read"),
        (frame(said({"sizes": [["x", 0, 0]]})), "cannot be read"),
    ],
)
def test_an_answer_that_is_none_breaks_the_worker(answer: bytes, problem: str) -> None:
    with pytest.raises(WorkerBroken, match=problem):
        exchange(answer)


def test_sizes_that_a_worker_claims_take_no_memory_beyond_the_limits() -> None:
    tracemalloc.start()
    with pytest.raises(WorkerBroken, match="ended"):
        exchange(frame(said({"sizes": [[1 << 50, 0, 1 << 50]]})))
    assert tracemalloc.get_traced_memory()[1] < LIMITS.output + 5 * MiB
    tracemalloc.stop()


def test_a_worker_that_says_nothing_or_goes_on_talking_is_given_up_in_time() -> None:
    for answer in (b"", frame(b"\0\0\0\x50{"), frame(b"complaint", 2) * 1000):
        began = time.monotonic()
        with pytest.raises(WorkerBroken, match="in time"):
            exchange(answer, end=False, seconds=0.3)
        assert time.monotonic() - began < 2


class Ssh:
    """What an SSH connection offers of a socket."""

    def __init__(self, inner: socket.socket) -> None:
        self.recv, self.sendall, self.settimeout = inner.recv, inner.sendall, inner.settimeout
        self.shutdown, self.close = inner.shutdown, inner.close


def test_a_connection_with_less_than_a_socket_does_as_well() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frame(said(REPLY) + b"hello" + b"3456789012" + b"{}"))
        channel = StreamChannel(Ssh(ours))
        assert channel.exchange({}, [Input(b"p", b"s")], LIMITS, 5)[1] == [(b"hello", 5, b"3456789012", 12, b"{}")]
        channel.close()


def test_last_words_are_bounded() -> None:
    with channel(frame(b"x" * 100_000, 2) + frame(b"\nMemoryError\n", 2)) as ours:
        with pytest.raises(WorkerBroken):
            ours.receive(5)
        assert ours.words() == ": MemoryError"
        assert len(ours._words) < 5000


def test_a_request_that_ends_in_the_middle_is_the_end_of_the_host() -> None:
    for cut in (0, 2, 20, 45):
        there, here = os.pipe()
        os.write(here, (said({"sizes": [[3, 20]]}) + b"abc" + b"x" * 20)[:cut])
        os.close(here)
        assert guest_stream.Pipes(there, -1).receive() is None
        os.close(there)
