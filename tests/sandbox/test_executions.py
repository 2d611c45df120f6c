"""What `Sandbox.run` says: one status for every way to end, limits one by one, and records that can be trusted."""

import pickle
import threading
import time

import pytest
from unmask.sandbox import Job, Limits, Sandbox, SandboxFault, open_sandbox

from .conftest import QUICK, open_or_skip


def test_exit_codes_are_reported_as_python_gives_them(sandbox: Sandbox) -> None:
    for program, code in (
        ("", 0),
        ("exit(3)", 3),
        ("exit('why')", 1),
        ("1/0", 1),
        ("exit(256)", 0),
        ("import os; os._exit(9)", 9),
    ):
        execution = sandbox.run(program)
        assert (execution.exit_code, execution.status) == (code, "ok" if code == 0 else "error"), program


def test_the_detail_of_an_error_is_the_last_line_of_its_traceback(sandbox: Sandbox) -> None:
    execution = sandbox.run("def f(x):\n    return 1 // x\nf(0)")
    assert execution.detail == "ZeroDivisionError: integer division or modulo by zero"
    assert b'File "main.py", line 2, in f\n    return 1 // x' in execution.stderr
    assert b"guest" not in execution.stderr


def test_a_program_that_does_not_compile_is_an_error(sandbox: Sandbox) -> None:
    assert "SyntaxError" in sandbox.run("def f(:").detail
    assert "null bytes" in sandbox.run("x\0").detail
    assert sandbox.run(b"\xff\xfe").status == "error"


def test_signals_are_reported_by_number(sandbox: Sandbox) -> None:
    for number in (9, 15, 11):
        execution = sandbox.run(f"import os; os.kill(os.getpid(), {number})")
        assert (execution.status, execution.signal, execution.exit_code) == ("signal", number, None)
    assert sandbox.run("import os; os.abort()").signal == 6


def test_a_forbidden_system_call_is_denied(sandbox: Sandbox) -> None:
    execution = sandbox.run("import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)")
    assert execution.status == "denied"


def test_cpu_and_wall_time_are_limited_apart(sandbox: Sandbox) -> None:
    busy = sandbox.run("while True: pass", limits=Limits(cpu_seconds=0.4, wall_seconds=20))
    assert (busy.status, "CPU" in busy.detail) == ("timeout", True)
    assert 0.4 <= busy.cpu_seconds < 0.7
    asleep = sandbox.run("import time; time.sleep(20)", limits=Limits(cpu_seconds=5, wall_seconds=0.4))
    assert (asleep.status, "wall" in asleep.detail) == ("timeout", True)
    assert asleep.cpu_seconds < 0.2
    assert sandbox.run("import time; time.sleep(0.6)", limits=Limits(cpu_seconds=0.3, wall_seconds=9)).status == "ok"


def test_a_timeout_comes_soon_after_the_limit(sandbox: Sandbox) -> None:
    late = []
    for _ in range(3):
        began = time.monotonic()
        sandbox.run("import time; time.sleep(20)", limits=Limits(cpu_seconds=5, wall_seconds=0.5))
        late.append(time.monotonic() - began - 0.5)
    assert min(late) < 0.3  # the best of three: the machine may be busy


def test_the_memory_limit_holds_and_the_worker_goes_on(sandbox: Sandbox) -> None:
    pid = {worker.pid for worker in sandbox._pool.workers()}
    execution = sandbox.run("x = bytearray(200 << 20)", limits=QUICK)
    assert execution.status == "memory"
    assert sandbox.run("x = bytearray(60 << 20); print('ok')", limits=QUICK).status == "ok"
    assert pid <= {worker.pid for worker in sandbox._pool.workers()}


def test_a_program_may_be_given_more_memory_than_the_sandbox_started_with(sandbox: Sandbox) -> None:
    big = Limits(memory=1536 << 20)
    execution = sandbox.run("x = bytearray(1200 << 20); x[::4096] = b'x' * len(x[::4096]); print(len(x))", limits=big)
    assert execution.status == "ok", execution
    assert execution.peak_memory > 1200 << 20


def test_output_up_to_the_limit_is_kept_and_beyond_it_is_not_ok(sandbox: Sandbox) -> None:
    limits = Limits(output=100_000)
    exact = sandbox.run("import sys; sys.stdout.write('x' * 100_000)", limits=limits)
    assert (exact.status, len(exact.stdout), exact.stdout_truncated) == ("ok", 100_000, False)
    over = sandbox.run("import sys; sys.stdout.write('x' * 100_001)", limits=limits)
    assert (over.status, len(over.stdout), over.stdout_truncated) == ("output", 100_000, True)


def test_of_long_error_output_the_end_is_kept(sandbox: Sandbox) -> None:
    execution = sandbox.run("import sys\nfor i in range(50000): print(i, file=sys.stderr)\nraise ValueError('end')")
    assert execution.stderr_truncated
    assert execution.detail == "ValueError: end"


def test_memory_files_and_time_of_one_program_are_not_charged_to_the_next(sandbox: Sandbox) -> None:
    sandbox.run("open('f', 'wb').write(b'x' * (6 << 20))", limits=QUICK)
    assert sandbox.run("open('f', 'wb').write(b'x' * (3 << 20))", limits=QUICK).status == "ok"
    sandbox.run("while True: pass", limits=Limits(cpu_seconds=0.3))
    assert sandbox.run("print(1)", limits=Limits(cpu_seconds=0.3)).cpu_seconds < 0.2


def test_verdicts_can_be_repeated_although_programs_use_random_numbers(sandbox: Sandbox) -> None:
    program = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('x'))"
    assert len({sandbox.run(program).stdout for _ in range(4)}) == 1


def test_many_programs_stream_in_the_order_in_which_they_end(sandbox: Sandbox) -> None:
    def jobs() -> list[Job]:
        slow = Job("import time; time.sleep(3); print('slow')")
        return [slow, *(Job("print(input())", str(i).encode()) for i in range(20))]

    results = list(sandbox.run_many(iter(jobs())))
    assert sorted(position for position, _ in results) == list(range(21))
    assert results[0][0] != 0
    for position, execution in results:
        assert not isinstance(execution, SandboxFault)
        assert execution.stdout == (b"slow\n" if position == 0 else f"{position - 1}\n".encode())


def test_run_many_reads_no_further_ahead_than_it_needs(any_sandbox: Sandbox) -> None:
    taken = 0

    def jobs() -> "object":
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield Job("print(1)")

    stream = any_sandbox.run_many(jobs())  # type: ignore[arg-type]
    next(stream)
    assert taken <= 2 * any_sandbox.workers + 1
    stream.close()  # type: ignore[attr-defined]


def test_many_threads_share_a_sandbox(sandbox: Sandbox) -> None:
    wrong = []

    def work(number: int) -> None:
        for i in range(5):
            if sandbox.run("print(input())", f"{number}-{i}".encode()).stdout != f"{number}-{i}\n".encode():
                wrong.append((number, i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_records_can_be_pickled(any_sandbox: Sandbox) -> None:
    execution = any_sandbox.run("print(1)")
    assert pickle.loads(pickle.dumps(execution)) == execution


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "", ".", "..", "a\0b"])
def test_files_outside_the_work_directory_are_refused(any_sandbox: Sandbox, name: str) -> None:
    with pytest.raises(ValueError, match="no plain file name"):
        any_sandbox.run("print(1)", files={name: b""})


def test_limits_must_make_sense() -> None:
    for name, value in (("memory", 0), ("cpu_seconds", float("inf")), ("cpu_seconds", float("nan")), ("wall_seconds", -1.0)):
        with pytest.raises(ValueError, match=f"'{name}' must be above 0"):
            Limits(**{name: value})  # type: ignore[arg-type]


def test_what_a_guest_writes_cannot_play_tricks_on_a_terminal(any_sandbox: Sandbox) -> None:
    execution = any_sandbox.run("raise ValueError('\\x1b[2J\\x07gone')")
    assert execution.detail == "ValueError: \ufffd[2J\ufffdgone"


def test_a_namespace_shows_no_process_but_the_programs_own() -> None:
    with open_or_skip("namespace", workers=1) as sandbox:
        execution = sandbox.run("import os\nprint([p for p in os.listdir('/proc') if p.isdigit()] == [str(os.getpid())])")
    assert execution.stdout == b"True\n"


def test_a_thousand_programs_leave_no_trace_in_the_worker(any_sandbox: Sandbox) -> None:
    import os
    from pathlib import Path

    def state() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), int(Path("/proc/self/statm").read_text().split()[1])

    with open_sandbox(any_sandbox.backend, workers=1) as sandbox:
        for _ in range(50):
            sandbox.run("print(1)")
        fds, pages = state()
        for _ in range(300):
            assert sandbox.run("print(1)").status == "ok"
        assert state()[0] == fds
        assert state()[1] - pages < 1000
        assert sandbox._pool.workers()[0].runs >= 350
