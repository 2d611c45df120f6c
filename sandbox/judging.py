"""From tests to verdicts: one `TestVerdict` per test, in order.

Expected values are compared here, on the host. Several calls or asserts share a process while all goes well: a test that
passed there stands (a right answer is right), any other is run again alone, with the whole limit for itself. So a verdict does
not depend on its neighbours, and no clock inside the guest is trusted: a batch has the limit of one test for all its tests.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from . import answers
from .core import Sandbox
from .records import Kind, Limits, Program, TestVerdict
from .styles import AssertTests, CallTests, ScriptTests, StdinTests, Tests

_SKIPPED = TestVerdict("skipped", "an earlier test failed")
_GROWTH = 4


class Slice(NamedTuple):
    """What a run of tests `start` to `stop` showed. `final` verdicts are not run again alone."""

    verdicts: Mapping[int, TestVerdict]
    final: bool = False


def judge(
    sandbox: Sandbox,
    program: Program | str | bytes,
    tests: Tests,
    *,
    limits: Limits | None = None,
    stop_early: bool = False,
) -> list[TestVerdict]:
    """Judge one program.

    Args:
        limits: for each test; by default the sandbox's own.
        stop_early: stop at the first test that is not passed; the rest are `skipped`.

    Returns one verdict per test. Raises ValueError when there are no tests (nothing would be proved), UnjudgeableTest when a
    test cannot be run, SandboxFault when the sandbox failed.
    """
    if not isinstance(program, Program):
        program = Program(program)
    limits = limits or sandbox.limits
    if isinstance(tests, StdinTests):
        _require(len(tests.tests))
        return _one_by_one(sandbox, program, tests, limits, stop_early)
    if isinstance(tests, ScriptTests):
        return _script(sandbox, program, tests, limits, stop_early)
    _require(len(tests.tests))
    if isinstance(tests, CallTests):
        run = answers.CallRunner(sandbox, program, tests, limits)
        return _in_batches(len(tests.tests), lambda start, stop: Slice(*run(start, stop)), stop_early)
    checks = answers.CheckRunner(sandbox, program, tests, limits)
    return _in_batches(len(tests.tests), lambda start, stop: Slice(*checks(start, stop)), stop_early)


def _require(count: int) -> None:
    if count == 0:
        raise ValueError("there are no tests: passing all of none proves nothing")


def _one_by_one(sandbox: Sandbox, program: Program, tests: StdinTests, limits: Limits, stop_early: bool) -> list[TestVerdict]:
    verdicts: list[TestVerdict] = []
    for stdin, expected in tests.tests:
        verdicts.append(answers.stdin_verdict(sandbox, program, stdin, expected, tests.comparison, limits))
        if stop_early and verdicts[-1].kind != "passed":
            break
    return verdicts + [_SKIPPED] * (len(tests.tests) - len(verdicts))


def _script(sandbox: Sandbox, program: Program, tests: ScriptTests, limits: Limits, stop_early: bool) -> list[TestVerdict]:
    checks = answers.CheckRunner(sandbox, program, tests, limits)
    first = checks(0, None)  # how many tests there are is known when the script has been loaded
    return _in_batches(checks.total, lambda start, stop: Slice(*checks(start, stop)), stop_early, Slice(*first))


def _in_batches(count: int, run: Callable[[int, int], Slice], stop_early: bool, first: Slice | None = None) -> list[TestVerdict]:
    verdicts: list[TestVerdict] = []
    size = 1 if stop_early else count  # a wrong program mostly fails its first tests
    while len(verdicts) < count:
        start = len(verdicts)
        stop = count if first is not None else min(count, start + size)
        seen = first or run(start, stop)
        first, size = None, size * _GROWTH
        for index in range(start, stop):
            verdict = seen.verdicts.get(index)
            reached = verdict is not None
            if verdict is None or (verdict.kind != "passed" and not seen.final and stop - start > 1):
                verdict = _alone(run, index)
            verdicts.append(verdict)
            if stop_early and verdict.kind != "passed":
                return verdicts + [_SKIPPED] * (count - len(verdicts))
            if not reached:
                break  # what the batch did not reach starts a batch of its own
    return verdicts


def _alone(run: Callable[[int, int], Slice], index: int) -> TestVerdict:
    return run(index, index + 1).verdicts.get(index, TestVerdict("crashed", "ended without an answer"))


def summary(verdicts: list[TestVerdict]) -> Kind:
    """The first kind that is not `passed`, or `passed`."""
    return next((verdict.kind for verdict in verdicts if verdict.kind != "passed"), "passed")


__all__ = ["AssertTests", "CallTests", "ScriptTests", "StdinTests", "judge", "summary"]
