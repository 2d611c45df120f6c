"""The host is left as it was: after success, failure, Ctrl-C and SIGKILL; broken workers are replaced; forks get their own."""

import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
from unmask.sandbox import Limits, Sandbox, SandboxFault, SandboxUnavailable, open_sandbox
from unmask.sandbox.backends.scratch import Directory, sweep
from unmask.sandbox.choose import NAMES

from .conftest import ISOLATING, open_another, open_or_skip, options

HOST = """
import json, sys, threading, time
from unmask.sandbox import Limits, open_sandbox
sandbox = open_sandbox(**json.loads(sys.argv[1]), workers=2)
program = "import os, time, ctypes\\nctypes.CDLL(None).prctl(15, b'unmask-left', 0, 0, 0)\\nopen('x', 'w').write('x')\\ntime.sleep(60)"
threading.Thread(target=sandbox.run, args=(program,), kwargs={"limits": Limits(cpu_seconds=60)}, daemon=True).start()
time.sleep(float(sys.argv[2]))
print("running", flush=True)
if sys.argv[3] == "fail": raise ValueError("failed on purpose")
if sys.argv[3] == "wait": time.sleep(60)
"""


def traces(owner: int) -> list[str]:
    """Processes, files, mounts and containers that a sandbox of the process `owner` may have left."""
    found = [str(path) for path in Path(tempfile.gettempdir()).glob(f"unmask-*{owner}-*")]
    for stat in Path("/proc").glob("[0-9]*/comm"):
        try:
            if stat.read_text().startswith("unmask-left"):
                found.append(str(stat.parent))
        except OSError:
            continue
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if "/opt/unmask" in line]
    return found + containers(owner)


def containers(owner: int) -> list[str]:
    try:
        import docker
        from docker.errors import DockerException

        client = docker.from_env()
    except (ImportError, DockerException):
        return []
    from unmask.sandbox.backends.engine import LABEL

    found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return [c.name for c in found if c.labels[LABEL].split(":")[1] == str(owner)]


def wait_for_nothing(owner: int) -> list[str]:
    deadline = time.monotonic() + 15
    while (left := traces(owner)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


@pytest.mark.parametrize("backend", ISOLATING)
@pytest.mark.parametrize("ending", ["success", "fail", "interrupt", "kill"])
def test_the_host_is_left_as_it_was(backend: str, ending: str) -> None:
    open_or_skip(backend, workers=1).close()
    how = ending if ending == "fail" else "wait" if ending in ("interrupt", "kill") else "end"
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, json.dumps(options(backend)), "2.5" if "docker" in backend else "1.5", how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A shell that runs the suite in the background has it ignore Ctrl-C, which its children inherit.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"running\n"
    if ending == "interrupt":
        host.send_signal(signal.SIGINT)
    if ending == "kill":
        assert traces(host.pid), "the test should see something before"
        host.kill()
    host.wait(timeout=30)
    assert wait_for_nothing(host.pid) == []


def test_closing_ends_the_workers(sandbox: Sandbox) -> None:
    with open_another(sandbox, workers=1) as opened:
        opened.run("print(1)")
        assert opened._pool.workers()
    assert opened._pool.workers() == []
    with pytest.raises(SandboxFault, match="closed"):
        opened.run("print(1)")


def test_a_worker_that_is_killed_is_replaced_and_its_program_run_again(sandbox: Sandbox) -> None:
    with open_another(sandbox, workers=1) as opened:
        opened.run("print(1)")
        (worker,) = opened._pool.workers()
        worker._close()
        assert opened.run("print(2)").stdout == b"2\n"
        assert opened._pool.workers() != [worker]


@pytest.mark.slow
def test_a_program_whose_worker_dies_twice_is_a_fault_and_no_verdict(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_another(sandbox, workers=1) as opened:
        start = opened._pool.backend.start

        def doomed(**options: object) -> object:
            worker = start(**options)  # type: ignore[arg-type]
            worker._close()
            return worker

        opened.run("print(1)")
        opened._pool.workers()[0]._close()
        monkeypatch.setattr(opened._pool.backend, "start", doomed, raising=False)
        with pytest.raises(SandboxFault, match="worker"):
            opened.run("print(2)")
        monkeypatch.setattr(opened._pool.backend, "start", start, raising=False)
        assert opened.run("print(3)").stdout == b"3\n"


def test_an_old_worker_is_retired(any_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.sandbox.pool._RUNS_PER_WORKER", 3)
    with open_another(any_sandbox, workers=1) as opened:
        first = opened._pool.workers()
        for _ in range(13):
            assert opened.run("print(1)").status == "ok"
        assert opened._pool.workers() != first
        assert len(opened._pool.workers()) <= 1


def _in_child(sandbox: Sandbox, queue: "multiprocessing.SimpleQueue[bytes]") -> None:
    queue.put(sandbox.run("print('child')").stdout)
    sandbox.close()


def test_a_fork_of_the_host_gets_workers_of_its_own(any_sandbox: Sandbox) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    before = any_sandbox.run("print('parent')").stdout
    child = context.Process(target=_in_child, args=(any_sandbox, queue))
    child.start()
    assert queue.get() == b"child\n"
    child.join()
    assert any_sandbox.run("print('parent')").stdout == before == b"parent\n"


def test_heavy_packages_are_loaded_in_workers_of_their_own(any_sandbox: Sandbox) -> None:
    with open_another(any_sandbox, workers=1) as opened:
        assert opened.run("import sys; print('sympy' in sys.modules)").stdout == b"False\n"
        assert not opened._pool.workers()[0].heavy
        assert opened.run("import sys\nbefore = 'sympy' in sys.modules\nimport sympy\nprint(before)").stdout == b"True\n"
        assert sorted(worker.heavy for worker in opened._pool.workers()) == [False, True]


@pytest.mark.parametrize("backend", NAMES)
def test_the_record_says_what_ran_it(backend: str) -> None:
    with open_or_skip(backend, workers=1) as opened:
        execution = opened.run("print(1)", limits=Limits(cpu_seconds=2))
    assert (execution.backend, execution.isolated) == (backend, backend != "process")


def test_limits_travel_by_pickle() -> None:
    assert pickle.loads(pickle.dumps(Limits(memory=5))) == Limits(memory=5)


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(SandboxUnavailable, match="'dokcer'"):
        open_sandbox("dokcer")


def test_a_directory_whose_owner_was_killed_is_swept_and_a_living_owners_is_not() -> None:
    mine = Directory()
    code = "import os, signal\nfrom unmask.sandbox.backends.scratch import Directory\nprint(Directory().path, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    orphan = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    assert Path(orphan).is_dir()
    sweep()
    assert not Path(orphan).exists()
    assert Path(mine.path).is_dir()
    mine.remove()
    assert not Path(mine.path).exists()
