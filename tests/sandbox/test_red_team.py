"""The attacks of `attacks.py` against every backend that works here, each with its required outcome, and the state afterwards."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from unmask.sandbox import (
    AssertTests,
    CallTests,
    Sandbox,
    SandboxError,
    ScriptTests,
    StdinTests,
    UnjudgeableTest,
    judge,
)
from unmask.sandbox.styles import Tests

from .attacks import FORGERIES, ISOLATION, PROCESSES, RESOURCE, SECRET
from .conftest import QUICK


def still_works(sandbox: Sandbox) -> None:
    for _ in range(sandbox.workers):
        assert sandbox.run("print(sum(map(int, input().split())))", b"40 2\n").stdout == b"42\n"


def evil_processes() -> list[str]:
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().startswith("unmask-evil"):
                found.append(comm.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("attack", RESOURCE)
def test_a_program_that_takes_too_much_ends_as_it_must(sandbox: Sandbox, attack: str) -> None:
    program, required = RESOURCE[attack]
    began = time.monotonic()
    execution = sandbox.run(program, limits=QUICK)
    assert execution.status in required, execution
    assert b"ESCAPED" not in execution.stdout
    assert len(execution.stdout) <= QUICK.output
    assert len(execution.stderr) <= QUICK.error_output
    assert execution.peak_memory < QUICK.memory + (100 << 20)
    assert time.monotonic() - began < QUICK.wall + 3
    still_works(sandbox)


@pytest.mark.parametrize("attack", PROCESSES)
def test_no_process_outlives_its_program(sandbox: Sandbox, attack: str) -> None:
    began = time.monotonic()
    sandbox.run(PROCESSES[attack], limits=QUICK)
    assert time.monotonic() - began < QUICK.wall + 2
    assert evil_processes() == []
    still_works(sandbox)


def _started() -> str:
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Things on the host to go for: a file, a variable, listening sockets. Yields definitions to put before the attack."""
    canary = tmp_path / "canary"
    canary.write_text("secret")
    for folder in (canary, *canary.parents):
        if folder.stat().st_uid == os.getuid() and str(folder) != "/":
            folder.chmod(folder.stat().st_mode | 0o005)  # the sandbox has to stop the attack, not the permissions
    monkeypatch.setenv("UNMASK_SECRET", "secret")
    name = f"unmask-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + name)
        unix.listen()
        yield (
            f"PORT = {tcp.getsockname()[1]}\nABSTRACT = {name!r}\nCANARY = {str(canary)!r}\nHOST = {os.getpid()}\nSTARTED = {_started()!r}\n"
            f"HERE = {str(Path(__file__).resolve().parent)!r}\n"
        )
    assert canary.read_text() == "secret"
    assert canary.stat().st_mode & 0o777 == 0o645
    assert canary.stat().st_mtime > 1
    assert canary.stat().st_nlink == 1


@pytest.mark.parametrize("attack", ISOLATION)
def test_nothing_of_the_host_is_reached(sandbox: Sandbox, surroundings: str, attack: str) -> None:
    for _ in range(2 if "left" in attack else 1):
        execution = sandbox.run(surroundings + ISOLATION[attack], limits=QUICK)
        assert b"ESCAPED" not in execution.stdout, execution
    still_works(sandbox)


_TESTS: dict[str, Tests] = {
    "stdin": StdinTests((("1\n", f"{SECRET}\n"), ("2\n", f"{SECRET}\n"))),
    "stdin_known": StdinTests((("1\n", "42\n"),)),
    "call": CallTests("solve", (((1,), SECRET), ((2,), SECRET))),
    "assert": AssertTests(
        (f"assert solve(1) == {SECRET}", f"assert candidate(2) == {SECRET}, 'no'", f"check(solve(3), {SECRET})"),
        setup="def check(value, wanted):\n    assert abs(value - wanted) == 0 and isinstance(value, int)\n",
        entries=("solve",),
    ),
    "script": ScriptTests(
        "import unittest\nfrom solution import solve\nclass T(unittest.TestCase):\n"
        f"    def test_one(self): self.assertEqual(solve(1), {SECRET})\n"
        f"    def test_two(self): self.assertTrue(solve(2) == {SECRET})\n",
        count=2,
    ),
}


@pytest.mark.parametrize("attack", FORGERIES)
def test_no_verdict_can_be_forged(sandbox: Sandbox, attack: str) -> None:
    style, program = FORGERIES[attack]
    verdicts = judge(sandbox, program, _TESTS[style], limits=QUICK)
    assert verdicts
    assert all(verdict.kind != "passed" for verdict in verdicts), verdicts
    still_works(sandbox)


@pytest.mark.parametrize("attack", ["exits", "leaves in the call", "leaves in an assert", "exits in a script"])
def test_no_verdict_can_be_forged_by_stopping_early(sandbox: Sandbox, attack: str) -> None:
    style, program = FORGERIES[attack]
    kinds = [verdict.kind for verdict in judge(sandbox, program, _TESTS[style], limits=QUICK, stop_early=True)]
    assert kinds[0] in ("wrong", "crashed")
    assert set(kinds[1:]) == {"skipped"}


def test_a_candidate_cannot_make_a_test_look_unjudgeable(sandbox: Sandbox) -> None:
    program = "class Odd: pass\ndef make(): return Odd\ndef use(x): return 1"
    tests = AssertTests(("assert use(make()) == 2",), entries=("make", "use"))
    assert [verdict.kind for verdict in judge(sandbox, program, tests, limits=QUICK)] == ["crashed"]


def test_a_test_that_needs_more_than_plain_data_is_no_verdict_on_the_candidate(sandbox: Sandbox) -> None:
    tests = AssertTests(("assert apply(lambda x: x) == 1",), entries=("apply",))
    with pytest.raises(UnjudgeableTest, match="function"):
        judge(sandbox, "def apply(f): return f(1)", tests, limits=QUICK)


def test_hostile_neighbours_do_not_disturb_honest_programs(sandbox: Sandbox) -> None:
    hostile = [PROCESSES["fork bomb"], RESOURCE["list that grows"][0], ISOLATION["kills everything"], "while True: pass"]
    problems: list[object] = []

    def attack() -> None:
        for program in hostile:
            try:
                sandbox.run(program, limits=QUICK)
            except SandboxError as fault:
                problems.append(fault)

    attacker = threading.Thread(target=attack)
    attacker.start()
    while attacker.is_alive():
        assert sandbox.run("print(input())", b"honest\n").stdout == b"honest\n"
    attacker.join()
    assert problems == []
    assert evil_processes() == []


def test_the_hunter_of_answers_would_find_one_that_is_there(any_sandbox: Sandbox) -> None:
    program = FORGERIES["hunts for the answer, stdin"].program
    assert any_sandbox.run(f"KNOWN = {SECRET}\n{program}", limits=QUICK).stdout == f"{SECRET}\n".encode()
