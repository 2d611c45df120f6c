"""Measures the sandbox against its targets, beside a bare interpreter and a runner that spawns one per test, in one run.

    python -P tests/perf/sandbox.py [--backends docker,namespace] [--seconds 5] [--large-share] [--json FILE]

-P, since a file of this folder has the name of a module of Python. `docker-stream` is the docker backend as it works where no
socket can be shared with the engine.

Everything goes through the public API. CPU time is that of all processes: from the cpuacct control group where there is one,
else of this process and its children, as each row says. Not a test: prints figures and whether they reach the target.
"""

import argparse
import contextlib
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unmask.sandbox import CallTests, Limits, Sandbox, SandboxUnavailable, judge, open_sandbox

ADD = "a, b = map(int, input().split())\nprint(a + b)"
ADD_NUMPY = "import numpy\na, b = map(int, input().split())\nprint(numpy.int64(a) + b)"
ADD_CALL = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b"
# Attacks that end by themselves: what they cost is what cleaning up after them costs.
HOSTILE = (
    "import os\nos.kill(-1, 9)",
    "import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)",
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)",
    "import os\nfor i in range(20): open(f'f{i}', 'w').write('x')\nos.mkdir('d')",
    "import socket\nsocket.create_connection(('127.0.0.1', 80))",
    "open('/etc/shadow').read()",
    "import os, signal\nfor n in range(1, 30): os.kill(os.getppid(), n)",
    "x = bytearray(64 << 30)",
)
# Attacks that go on until a limit ends them: their limits, not ours, decide what they cost.
BOMBS = (
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "while True: print('x' * 65536)",
    "while True: pass",
)
SHORT = Limits(cpu_seconds=0.1, wall_seconds=0.25, memory=96 << 20, output=1 << 20, processes=32)


class Row:
    """One line of the table."""

    def __init__(self, name: str, value: float, unit: str, target: float | None = None, at_least: bool = False) -> None:
        self.name, self.value, self.unit, self.target, self.at_least = name, value, unit, target, at_least

    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def show(self) -> str:
        mark = {None: "", True: "reached", False: "MISSED"}[self.reached()]
        bound = "" if self.target is None else f"{'>=' if self.at_least else '<='} {self.target:g}"
        return f"  {self.name:<52}{self.value:>10.2f} {self.unit:<9}{bound:>9}  {mark}"


class CpuClock:
    """CPU seconds of everything that a backend causes."""

    def __init__(self) -> None:
        root = Path("/sys/fs/cgroup/cpuacct")
        self._files = [root / "docker" / "cpuacct.usage"]
        own = root / f"unmask-perf-{os.getpid()}"
        self.grouped = False
        with contextlib.suppress(OSError):
            own.mkdir()
            (own / "cgroup.procs").write_text(str(os.getpid()))
            self._files.append(own / "cpuacct.usage")
            self.grouped = True

    def seconds(self) -> float:
        if not self.grouped:
            usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            return sum(u.ru_utime + u.ru_stime for u in usage)
        total = 0
        for file in self._files:
            with contextlib.suppress(OSError):
                total += int(file.read_text())
        return total / 1e9


@contextlib.contextmanager
def large_share() -> Iterator[None]:
    """On a machine that others use as well: let the measured processes have most of it, where control groups allow that."""
    root = Path("/sys/fs/cgroup/cpu")
    own, docker = root / f"unmask-perf-{os.getpid()}", root / "docker" / "cpu.shares"
    own.mkdir()
    (own / "cpu.shares").write_text("20000")
    (own / "cgroup.procs").write_text(str(os.getpid()))
    before = docker.read_text() if docker.exists() else ""
    if before:
        docker.write_text("20000")
    try:
        yield
    finally:
        if before:
            docker.write_text(before)
        (root / "cgroup.procs").write_text(str(os.getpid()))
        with contextlib.suppress(OSError):
            own.rmdir()


def opened(backend: str, workers: int | None = None) -> Sandbox:
    if backend == "docker-stream":
        return open_sandbox("docker", transport="stream", workers=workers)
    return open_sandbox(backend, workers=workers)


def throughput(one: Callable[[], None], callers: int, seconds: float) -> tuple[float, list[float]]:
    """Run `one` again and again in `callers` threads; returns calls per second and every call's duration."""
    durations: list[float] = []
    end = time.monotonic() + seconds

    def work() -> None:
        while (began := time.monotonic()) < end:
            one()
            durations.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(durations) / (time.monotonic() - began), durations


def check(sandbox: Sandbox, program: str) -> Callable[[], None]:
    def one() -> None:
        execution = sandbox.run(program, b"40 2\n")
        assert execution.stdout == b"42\n", execution

    return one


def spawn(*command: str) -> Callable[[], None]:
    def one() -> None:
        assert subprocess.run(command, input=b"40 2\n", capture_output=True, check=True).stdout == b"42\n"

    return one


def baselines(callers: int, seconds: float) -> Iterator[Row]:
    bare, _ = throughput(spawn(sys.executable, "-I", "-S", "-c", ADD), callers, seconds)
    yield Row("bare `python -I -S`, no isolation", bare, "tests/s")
    runner = f"import sys, subprocess\nsys.exit(subprocess.run([sys.executable, '-c', {ADD!r}]).returncode)"
    spawned, _ = throughput(
        spawn(sys.executable, "-c", f"import collections, heapq, json, re, typing, multiprocessing\n{runner}"), callers, seconds
    )
    yield Row("a runner that spawns an interpreter per test", spawned, "tests/s")


def speed(sandbox: Sandbox, seconds: float, clock: CpuClock, least: float) -> Iterator[Row]:
    one = check(sandbox, ADD)
    throughput(one, sandbox.workers, 1.0)  # all workers up
    cpu, host = clock.seconds(), time.process_time()
    plain, durations = throughput(one, sandbox.workers, seconds)
    cpu, host = clock.seconds() - cpu, time.process_time() - host
    yield Row("add two numbers", plain, "tests/s", least, at_least=True)
    yield Row("  p50 of one test", statistics.median(durations) * 1000, "ms", 15)
    if clock.grouped:
        yield Row("  CPU per test, all processes", cpu / len(durations) * 1000, "ms", 10)
    yield Row("  CPU per test in the host process", host / len(durations) * 1000, "ms", 1.5)
    numpy = share(check(sandbox, ADD_NUMPY), one, sandbox, seconds)
    yield Row("a program that imports numpy, share of the above", numpy, "", 0.8, at_least=True)
    tests = CallTests("add", (((40, 2), 42),))
    calls, _ = throughput(lambda: _passes(sandbox, tests), sandbox.workers, seconds)
    yield Row("call style, one test per problem", calls, "tests/s", 150, at_least=True)
    many = CallTests("add", tuple(((i, 2), i + 2) for i in range(20)))
    batched, _ = throughput(lambda: _passes(sandbox, many), sandbox.workers, seconds)
    yield Row("call style, twenty tests per problem", batched * 20, "tests/s", 150, at_least=True)
    attacks, bombs = _mixed(sandbox, HOSTILE), _mixed(sandbox, BOMBS)
    yield Row("a tenth attacks, share of honest throughput", share(attacks, one, sandbox, seconds), "", 0.9, at_least=True)
    yield Row("a tenth bombs (0.1 s CPU, 0.25 s wall each)", share(bombs, one, sandbox, seconds), "")


def share(other: Callable[[], None], one: Callable[[], None], sandbox: Sandbox, seconds: float) -> float:
    """How fast `other` is against `one`: by turns, the median of five, since the machine may be busy for a while."""
    ratios = []
    for _ in range(5):
        ours, _ = throughput(other, sandbox.workers, seconds / 4)
        theirs, _ = throughput(one, sandbox.workers, seconds / 4)
        ratios.append(ours / theirs)
    return statistics.median(ratios)


def _passes(sandbox: Sandbox, tests: CallTests) -> None:
    assert all(verdict.kind == "passed" for verdict in judge(sandbox, ADD_CALL, tests))


def _mixed(sandbox: Sandbox, hostile: tuple[str, ...]) -> Callable[[], None]:
    """Honest and hostile programs by turns, nine to one; all of them count, as each takes a place in the queue."""
    number = itertools.count(1)  # its next() is atomic

    def one() -> None:
        turn = next(number)
        if turn % 10 == 0:
            sandbox.run(hostile[turn // 10 % len(hostile)], limits=SHORT)
        else:
            assert sandbox.run(ADD, b"40 2\n").stdout == b"42\n"

    return one


def moments(backend: str, sandbox: Sandbox) -> Iterator[Row]:
    starts = []
    for _ in range(3):
        with opened(backend, workers=1) as fresh:
            began = time.monotonic()
            fresh._pool.backend.start(heavy=False, limits=fresh.limits).close()
            starts.append(time.monotonic() - began)
    yield Row("worker ready", min(starts), "s", 2)
    yield Row("idle worker, resident", _worker_memory(sandbox) / (1 << 20), "MiB", 64)
    late = []
    for _ in range(3):
        began = time.monotonic()
        sandbox.run("while True: pass", limits=Limits(cpu_seconds=0.5, wall_seconds=0.5))
        late.append(time.monotonic() - began - 0.5)
    yield Row("timeout verdict after the limit", min(late), "s", 0.3)
    began = time.monotonic()
    sandbox.run(BOMBS[0], limits=Limits(cpu_seconds=0.5, wall_seconds=0.5))
    check(sandbox, ADD)()
    yield Row("fork bomb, cost to its worker past the limit", time.monotonic() - began - 0.5, "s", 2)


def _worker_memory(sandbox: Sandbox) -> float:
    """Proportional size of the processes of one idle worker, as the host sees them."""
    sizes = []
    for comm in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, StopIteration):
            line = comm.read_bytes()
            if any(sign in line for sign in (b"guest/launch.py", b"/run/unmask/control", b"stream.Pipes")):
                rollup = (comm.parent / "smaps_rollup").read_text().splitlines()
                sizes.append(next(int(text.split()[1]) << 10 for text in rollup if text.startswith("Rss:")))
    return max(sizes, default=0)


def large(sandbox: Sandbox) -> Iterator[Row]:
    program = "import sys\nn = len(sys.stdin.buffer.read())\nsys.stdout.write('x' * 10_000_000)"
    stdin = b"y" * (4 << 20)
    sandbox.run("print(1)")
    began = time.monotonic()
    tracemalloc.start()
    execution = sandbox.run(program, stdin)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    took = time.monotonic() - began
    assert (execution.status, len(execution.stdout)) == ("ok", 10_000_000), execution
    yield Row("4 MiB in, 10 MB out", took * 1000, "ms")
    yield Row("host memory for that result, beyond its size", (peak - len(execution.stdout)) / 1e6, "MB", 5)


def measure(backend: str, seconds: float, clock: CpuClock) -> list[Row]:
    least = {"docker": 170.0, "docker-stream": 165.0, "namespace": 150.0}.get(backend, 140.0)
    with opened(backend) as sandbox:
        return [*speed(sandbox, seconds, clock, least), *moments(backend, sandbox), *large(sandbox)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="docker,docker-stream,namespace,restricted")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--large-share", action="store_true", help="take most of a busy machine (needs root and control groups v1)"
    )
    arguments = parser.parse_args()
    with large_share() if arguments.large_share else contextlib.nullcontext():
        report(arguments)


def report(arguments: argparse.Namespace) -> None:
    clock, callers = CpuClock(), len(os.sched_getaffinity(0))
    print(f"{callers} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    results: dict[str, Any] = {}
    for backend in ("without a sandbox", *arguments.backends.split(",")):
        print(backend)
        try:
            rows = (
                list(baselines(callers, arguments.seconds))
                if backend == "without a sandbox"
                else measure(backend, arguments.seconds, clock)
            )
        except SandboxUnavailable as error:
            print(f"  not measured: {error}")
            continue
        for row in rows:
            print(row.show())
        results[backend] = [
            {"name": r.name, "value": r.value, "unit": r.unit, "target": r.target, "reached": r.reached()} for r in rows
        ]
    if arguments.json:
        arguments.json.write_text(json.dumps({"load": os.getloadavg(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
