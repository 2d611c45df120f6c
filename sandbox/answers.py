"""One run of some tests: makes the request, reads the claims that come back, and judges each.

Claims are lines of JSON that the candidate may have forged in any way. They can only ever be compared: a forged value must
still equal what the guest has never seen. Lines about asserts come from the tests' own process, which the candidate cannot
reach.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .classify import printable
from .compare import Comparison, text_difference, value_difference
from .core import Sandbox
from .errors import UnjudgeableTest
from .guest import plain
from .records import Execution, Kind, Limits, Program, TestVerdict
from .styles import AssertTests, CallTests, ScriptTests
from .worker import GuestOutcome, GuestSpec

_KINDS: Mapping[str, Kind] = {
    "timeout": "timeout",
    "memory": "memory",
    "output": "output",
    "denied": "denied",
    "signal": "crashed",
    "error": "crashed",
    "ok": "crashed",  # where an answer was due, leaving quietly is no better than crashing
}
# A right answer is about as long as the expected one. Longer lines are not even parsed: JSON grows twentyfold in memory.
_CLAIM_ROOM, _CLAIM_GROWTH = 1 << 16, 8
Result = tuple[dict[int, TestVerdict], bool]


def stdin_verdict(sandbox: Sandbox, program: Program, stdin: str, expected: str, how: Comparison, limits: Limits) -> TestVerdict:
    """Run one test with a real stdin."""
    data = stdin.encode("utf-8", "surrogatepass")
    execution = sandbox.describe(sandbox.request([GuestSpec("program", program, data)], limits)[0], limits)
    if execution.status != "ok":
        return _verdict(_KINDS[execution.status], execution.detail, execution)
    if how.rule == "checker":
        wrong = run_checker(sandbox, how, (stdin, execution.stdout.decode("utf-8", "replace"), expected), limits)
    else:
        wrong = text_difference(execution.stdout, expected, how)
    return _verdict("wrong" if wrong else "passed", wrong, execution)


def run_checker(sandbox: Sandbox, how: Comparison, arguments: tuple[Any, ...], limits: Limits) -> str:
    """Ask the checker program, in a process of its own. Only the value True is a pass; "" is returned for it."""
    spec = GuestSpec("call", Program(how.checker), header={"entry": "check", "calls": [plain.encode(arguments)]})
    outcome = sandbox.request([spec], limits)[0]
    claim = _claims(outcome, [_CLAIM_ROOM]).get(0, {})
    if "ok" not in claim:
        raise UnjudgeableTest(f"the checker gave no answer: {claim.get('error') or sandbox.describe(outcome, limits).detail}")
    return "" if claim["ok"] is True else "the checker does not accept this answer"


class CallRunner:
    """Runs tests of the style `call`."""

    def __init__(self, sandbox: Sandbox, program: Program, tests: CallTests, limits: Limits) -> None:
        self._sandbox, self._program, self._tests, self._limits = sandbox, program, tests, limits
        self._arguments = [plain.encode(tuple(arguments)) for arguments, _ in tests.tests]
        self._rooms = [_CLAIM_ROOM + _CLAIM_GROWTH * len(plain.dumps(expected)) for _, expected in tests.tests]

    def __call__(self, start: int, stop: int) -> Result:
        """Run tests `start` to `stop` in one process. Tests without an answer are left out, unless they were alone."""
        header = {"entry": self._tests.entry, "calls": self._arguments[start:stop], "prelude": self._program.prelude}
        outcome = self._sandbox.request([GuestSpec("call", self._program, header=header)], self._limits)[0]
        execution = self._sandbox.describe(outcome, self._limits)
        if execution.status != "ok" and not outcome.result:
            return dict.fromkeys(range(start, stop), _ended(execution)), True  # the program did not even load
        claims = _claims(outcome, self._rooms[start:stop])
        found: dict[int, TestVerdict] = {}
        for position in range(stop - start):
            if position not in claims:
                break
            found[start + position] = self._compare(start + position, claims[position], execution, len(claims))
        if stop - start == 1 and (not found or execution.status in ("timeout", "memory", "output", "denied")):
            found[start] = _ended(execution)
        return found, False

    def _compare(self, index: int, claim: Mapping[str, Any], execution: Execution, sharers: int) -> TestVerdict:
        arguments, expected = self._tests.tests[index]
        if "long" in claim:
            return _verdict("wrong", f"an answer of {claim['long']} bytes, far longer than the expected one", execution, sharers)
        if "ok" not in claim:
            return _verdict("crashed", str(claim.get("error", "an answer that is none"))[:300], execution, sharers)
        how = self._tests.comparison
        encoded = plain.encode(expected)
        if how.rule != "checker" and claim["ok"] == encoded and _same_types(claim["ok"], encoded):
            return _verdict("passed", "", execution, sharers)
        try:
            value = plain.decode(claim["ok"])
            wrong = (
                run_checker(self._sandbox, how, (list(arguments), value, expected), self._limits)
                if how.rule == "checker"
                else value_difference(value, expected, how)
            )
        except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError, AttributeError) as error:
            wrong = f"an answer that is not plain data: {error}"[:300]
        return _verdict("wrong" if wrong else "passed", wrong, execution, sharers)


class CheckRunner:
    """Runs tests of the styles `assert` and `script`: the candidate serves, the tests ask, each in a process of its own."""

    def __init__(self, sandbox: Sandbox, program: Program, tests: AssertTests | ScriptTests, limits: Limits) -> None:
        self._sandbox, self._program, self._limits = sandbox, program, limits
        script = isinstance(tests, ScriptTests)
        self._source = Program(tests.source if isinstance(tests, ScriptTests) else tests.setup)
        self._header = {
            "tests": [] if isinstance(tests, ScriptTests) else list(tests.tests),
            "entries": list(tests.entries),
            "module": tests.module if isinstance(tests, ScriptTests) else "solution",
            "prelude": True,
        }
        self._expected_total = tests.count if isinstance(tests, ScriptTests) else len(tests.tests)
        self._script = script
        self.total = self._expected_total or 1

    def __call__(self, start: int, stop: int | None) -> Result:
        """Run tests `start` to `stop` (all that there are: None)."""
        candidate = GuestSpec("serve", self._program, header={"prelude": self._program.prelude})
        header = {**self._header, "start": start, "stop": stop}
        served, tested = self._sandbox.request([candidate, GuestSpec("test", self._source, header=header)], self._limits)
        lines = _lines(tested, "the tests")
        head = lines[0] if lines else {}
        if "broken" in head:
            raise UnjudgeableTest(f"the tests do not load: {head['broken']}")
        if head.get("total") is None:
            return dict.fromkeys(range(start, stop or self.total), self._gone(served, tested)), True
        self._check_total(int(head["total"]))
        found = {}
        for line in lines[1:]:
            found[int(line["i"])] = self._judge(line, served, tested, len(lines))
        if stop is not None and stop - start == 1 and start not in found:
            found[start] = self._gone(served, tested)
        return {index: verdict for index, verdict in found.items() if verdict is not None}, False

    def _check_total(self, total: int) -> None:
        if total == 0:
            raise UnjudgeableTest("the script holds no tests: passing all of none proves nothing")
        if self._expected_total is not None and total != self._expected_total:
            raise UnjudgeableTest(f"the script holds {total} tests where {self._expected_total} were announced")
        self.total = total

    def _judge(self, line: Mapping[str, Any], served: GuestOutcome, tested: GuestOutcome, sharers: int) -> TestVerdict:
        outcome, detail = line["outcome"], str(line.get("detail", ""))
        if outcome == "unsupported":
            raise UnjudgeableTest(f"test {line['i'] + 1} needs more than plain data: {detail}")
        if outcome == "gone":
            return self._gone(served, tested)
        kinds: Mapping[str, Kind] = {"passed": "passed", "failed": "wrong", "error": "crashed"}
        return _verdict(kinds[outcome], detail, self._sandbox.describe(served, self._limits), sharers)

    def _gone(self, served: GuestOutcome, tested: GuestOutcome) -> TestVerdict:
        """No answer came: the candidate's end explains it, or else the end of the tests."""
        of_candidate = self._sandbox.describe(served, self._limits)
        of_tests = self._sandbox.describe(tested, self._limits)
        if served.alive and not served.killed:
            return _verdict("crashed", f"the tests could not go on: {of_tests.detail}", of_tests)
        return _ended(of_candidate)


def _verdict(kind: Kind, detail: str, execution: Execution, sharers: int = 1) -> TestVerdict:
    share = max(sharers, 1)
    return TestVerdict(
        kind, printable(detail), execution.cpu_seconds / share, execution.wall_seconds / share, execution.peak_memory
    )


def _ended(execution: Execution) -> TestVerdict:
    detail = execution.detail or f"left before it answered (exit code {execution.exit_code})"
    return _verdict(_KINDS[execution.status], detail, execution)


def _lines(outcome: GuestOutcome, whose: str) -> list[dict[str, Any]]:
    """The lines of a process that we trust; a torn last line is what its end left."""
    lines = []
    for raw in outcome.result.split(b"\n"):
        try:
            lines.append(json.loads(raw))
        except ValueError:
            break
    return lines


def _claims(outcome: GuestOutcome, rooms: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The candidate's answers by position: the first for each, in order, whatever else it wrote.

    A line longer than its room becomes {"long": its length}.
    """
    claims: dict[int, dict[str, Any]] = {}
    start = 0
    while len(claims) < len(rooms) and (end := outcome.result.find(b"\n", start)) >= 0:
        if end - start > rooms[len(claims)]:
            claims[len(claims)] = {"long": end - start}
            start = end + 1
            continue
        try:
            line = json.loads(outcome.result[start:end])
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or line.get("i", -1) != len(claims):
            if line != {"loaded": True}:
                break
        else:
            claims[len(claims)] = line
        start = end + 1
    return claims


def _same_types(claim: Any, expected: Any) -> bool:
    """JSON data that compare equal may still differ (1, 1.0, True): then the values are compared by their own rule."""
    return json.dumps(claim) == json.dumps(expected)


Runner = Callable[[int, int], Result]
