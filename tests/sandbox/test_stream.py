"""The docker backend where no socket can be shared: what it takes, what breaks it, when it is chosen."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unmask.sandbox import Limits, Sandbox, SandboxUnavailable, open_sandbox
from unmask.sandbox.backends import engine

from .conftest import STREAM, open_or_skip
from .test_stream_protocol import frame, said

MiB = 1 << 20


@pytest.fixture(scope="module")
def streaming() -> Iterator[Sandbox]:
    with open_or_skip(STREAM, workers=1) as opened:
        yield opened


def container(sandbox: Sandbox) -> Any:
    ((found, _),) = sandbox._pool.backend._containers.values()  # type: ignore[attr-defined]
    return found


def test_nothing_of_the_host_is_mounted_and_nothing_is_logged(streaming: Sandbox) -> None:
    streaming.run("print(1)")
    details = container(streaming).client.api.inspect_container(container(streaming).id)
    assert [mount for mount in details["Mounts"] if mount["Type"] != "tmpfs"] == []
    assert details["HostConfig"]["Binds"] is None
    assert details["HostConfig"]["LogConfig"]["Type"] == "none"


def test_large_input_and_output_arrive_byte_for_byte_and_exist_once_on_the_host(streaming: Sandbox) -> None:
    stdin = os.urandom(1 << 16) * 160
    streaming.run("print(1)")
    tracemalloc.start()
    execution = streaming.run("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert execution.stdout == stdin
    assert peak < len(stdin) + 5 * MiB


def test_a_flood_costs_the_host_no_more_than_the_cap(streaming: Sandbox) -> None:
    limits = Limits(output=8 * MiB)
    tracemalloc.start()
    execution = streaming.run("while True: print('x' * 65536)", limits=limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (execution.status, execution.stdout_truncated, len(execution.stdout)) == ("output", True, 8 * MiB)
    assert peak < 13 * MiB


def test_of_standard_error_the_end_arrives(streaming: Sandbox) -> None:
    execution = streaming.run("import sys; sys.stderr.write('a' * 100 + 'the end')", limits=Limits(error_output=7))
    assert (execution.stderr, execution.stderr_truncated) == (b"the end", True)


def test_hundreds_of_programs_leave_no_trace_on_the_host(streaming: Sandbox) -> None:
    streaming.run("print(1)")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        assert streaming.run("print(1)").status == "ok"
    assert len(os.listdir("/proc/self/fd")) == before
    descriptors = streaming.run("import os\nprint(*os.listdir('/proc/self/fd'))")
    assert descriptors.stdout == b"0 1 2 3 4\n"  # 3 is for its result, 4 the listing's own


FORGED = frame(said({"killed": None, "oom": False, "guests": [], "sizes": []}))
WRITES_EVERYWHERE = (
    f"frame = {FORGED!r}"
    + """
import os
def write(target, fd):
    try:
        os.write(fd, frame)
        print("wrote to", target)
    except OSError:
        pass
for n in range(4096):
    if n > 3:  # the others are its own
        write(n, n)
    for path in (f"/proc/1/fd/{n}", f"/proc/{os.getppid()}/fd/{n}"):
        try:
            fd = os.open(path, os.O_WRONLY)
        except OSError:
            continue
        write(path, fd)
        os.close(fd)
for path in ("/dev/console", "/dev/tty", "/proc/1/mem", "/proc/1/stdin"):
    try:
        write(path, os.open(path, os.O_WRONLY))
    except OSError:
        pass
os.write(3, frame)
os.write(1, frame)
os.write(2, frame)
"""
)


def test_a_guest_cannot_write_into_the_control_stream(streaming: Sandbox) -> None:
    execution = streaming.run(WRITES_EVERYWHERE)
    worker = streaming._pool.workers()
    assert execution.stdout == FORGED
    assert execution.stderr == FORGED
    assert streaming.run("print(2)").stdout == b"2\n"
    assert streaming._pool.workers() == worker, "the worker was not disturbed"


def test_a_stream_that_breaks_costs_a_worker_and_no_verdict() -> None:
    with open_or_skip(STREAM, workers=1) as sandbox:
        sandbox.run("print(1)")
        (worker,) = sandbox._pool.workers()
        ended = container(sandbox)

        def cut() -> None:
            time.sleep(0.7)
            worker._channel._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

        threading.Thread(target=cut).start()
        assert sandbox.run("import time; time.sleep(1.5); print(2)").stdout == b"2\n"
        assert sandbox._pool.workers() != [worker]
        assert ended.id not in [c.id for c in ended.client.containers.list(all=True, ignore_removed=True)]


# When it is taken.


def client(url: str, system: str = "Debian GNU/Linux 12") -> Any:
    return SimpleNamespace(api=SimpleNamespace(base_url=url), info=lambda: {"OperatingSystem": system})


def test_sockets_are_shared_only_with_an_engine_on_this_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.shares_sockets(client("http+docker://localhost"))
    assert not engine.shares_sockets(client("http+docker://localhost", "Docker Desktop"))
    for url in ("http://10.0.0.1:2375", "https://10.0.0.1:2376", "http+docker://ssh", "http+docker://localnpipe"):
        assert not engine.shares_sockets(client(url))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not engine.shares_sockets(client("http+docker://localhost"))


def test_an_unknown_transport_is_named() -> None:
    with pytest.raises(SandboxUnavailable, match="'pigeon'; choose auto, socket, stream"):
        open_sandbox("docker", transport="pigeon")  # type: ignore[arg-type]


def _owner_of_peer(port: int) -> int:
    """The user of the socket on this machine whose local port is `port`."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            return int(fields[7])
    return -1


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways, ends of streams included, until both have ended."""
    ways = {one: other, other: one}
    with one, other, suppress(OSError):
        while ways:
            for ready in select.select(list(ways), [], [])[0]:
                data = ready.recv(1 << 16)
                if data:
                    ways[ready].sendall(data)
                else:
                    ways.pop(ready).shutdown(socket.SHUT_WR)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The engine of this machine by TCP, for this user alone, named by DOCKER_HOST as one on another machine would be."""
    open_or_skip("docker", workers=1).close()
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    caller, (_, port) = server.accept()
                    if _owner_of_peer(port) != os.getuid():
                        caller.close()
                        continue
                    there = socket.socket(socket.AF_UNIX)
                    there.connect(path)
                    threading.Thread(target=_pass_on, args=(caller, there), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        yield
        server.shutdown(socket.SHUT_RDWR)


def test_an_engine_by_tcp_is_used_over_a_stream(remote: None) -> None:
    with open_sandbox("docker", workers=2) as sandbox:
        assert sandbox._pool.backend.transport == "stream"  # type: ignore[attr-defined]
        assert sandbox.run("print(len(input()))", b"x" * 5_000_000).stdout == b"5000000\n"
        assert len(sandbox.run("print('y' * 10_000_000)").stdout) == 10_000_001
        assert sandbox.run("while True: pass", limits=Limits(cpu_seconds=0.3)).status == "timeout"


# What macOS lacks is taken away; what the engine on it would do differently cannot be tried here.
ELSEWHERE = """
import os, select, signal, socket, sys
import docker, requests
sys.platform = "darwin"
for module, names in {
    os: "memfd_create MFD_CLOEXEC pidfd_open sched_getaffinity splice unshare setns setresuid setresgid sendfile pipe2 posix_fadvise",
    socket: "MSG_CMSG_CLOEXEC SO_PEERCRED AF_NETLINK AF_VSOCK AF_PACKET",
    select: "epoll POLLRDHUP",
    signal: "pidfd_send_signal",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
from unmask.sandbox import open_sandbox
with open_sandbox(workers=1) as sandbox:
    print(sandbox.backend, sandbox._pool.backend.transport, sandbox.run("print(input())", b"hello").stdout)
"""


def test_without_the_system_calls_of_linux_docker_is_used_over_a_stream() -> None:
    open_or_skip("docker", workers=1).close()
    result = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout == "docker stream b'hello\\n'\n", result.stderr
