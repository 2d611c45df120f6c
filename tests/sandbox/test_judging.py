"""From tests to verdicts: each style, each kind, independence of neighbours, early stop, and comparison."""

import pytest
from unmask.sandbox import (
    AssertTests,
    CallTests,
    Comparison,
    Sandbox,
    ScriptTests,
    StdinTests,
    UnjudgeableTest,
    judge,
)
from unmask.sandbox.compare import text_difference, value_difference

from .conftest import QUICK

LINES, EXACT, TOKENS = Comparison("lines"), Comparison("exact"), Comparison("tokens")
CLOSE = Comparison("tolerance", absolute=1e-6, relative=1e-6)


def kinds(sandbox: Sandbox, program: str, tests: object, **options: bool) -> list[str]:
    return [verdict.kind for verdict in judge(sandbox, program, tests, limits=QUICK, **options)]  # type: ignore[arg-type]


def test_every_kind_of_verdict_is_given(sandbox: Sandbox) -> None:
    program = (
        "import os, ctypes\nn = int(input())\n"
        "if n == 1: print('other')\n"
        "elif n == 2:\n  while True: pass\n"
        "elif n == 3: x = bytearray(1 << 40)\n"
        "elif n == 4: print('x' * 2**21)\n"
        "elif n == 5: raise KeyError('lost')\n"
        "elif n == 6: ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n"
        "else: print('right')\n"
    )
    verdicts = judge(sandbox, program, StdinTests(tuple((str(n), "right") for n in range(7))), limits=QUICK)
    assert [v.kind for v in verdicts] == ["passed", "wrong", "timeout", "memory", "output", "crashed", "denied"]
    assert verdicts[1].detail == "line 1: expected 'right', got 'other'"
    assert verdicts[5].detail == "KeyError: 'lost'"
    assert verdicts[0].cpu_seconds > 0
    assert verdicts[0].peak_memory > 1 << 20


def test_exit_zero_is_not_a_pass(sandbox: Sandbox) -> None:
    assert kinds(sandbox, "exit(0)", StdinTests((("", "42"),))) == ["wrong"]
    assert kinds(sandbox, "def f(): exit(0)", CallTests("f", (((), 42),))) == ["crashed"]
    assert kinds(sandbox, "def f(): exit(0)", AssertTests(("assert f() == 42",))) == ["crashed"]


def test_right_output_with_a_failing_exit_is_not_a_pass(sandbox: Sandbox) -> None:
    assert kinds(sandbox, "print(42); exit(1)", StdinTests((("", "42"),))) == ["crashed"]


def test_no_tests_are_an_error_and_not_a_pass(any_sandbox: Sandbox) -> None:
    for tests in (StdinTests(()), CallTests("f", ()), AssertTests(())):
        with pytest.raises(ValueError, match="no tests"):
            judge(any_sandbox, "print(1)", tests)
    with pytest.raises(UnjudgeableTest, match="no tests"):
        judge(any_sandbox, "print(1)", ScriptTests("x = 1"))


def test_the_number_of_tests_must_be_the_number_announced(any_sandbox: Sandbox) -> None:
    with pytest.raises(UnjudgeableTest, match="1 tests where 2 were announced"):
        judge(any_sandbox, "def f(): return 1", ScriptTests("def test_f(): assert f() == 1", count=2))


@pytest.mark.parametrize(
    "trouble", ["exit()", "1/0", "while True: pass", "x = bytearray(1 << 40)", "import os; os._exit(0)", "return 'no'"]
)
def test_one_bad_call_does_not_spoil_its_neighbours(sandbox: Sandbox, trouble: str) -> None:
    program = f"def f(x):\n  if x == 2:\n    {trouble}\n  return x"
    calls = CallTests("f", tuple(((x,), x) for x in range(5)))
    asserts = AssertTests(tuple(f"assert f({x}) == {x}" for x in range(5)))
    for tests in (calls, asserts):
        got = kinds(sandbox, program, tests)
        assert got[:2] + got[3:] == ["passed"] * 4
        assert got[2] != "passed"


def test_a_slow_call_has_the_whole_limit_for_itself(sandbox: Sandbox) -> None:
    program = "import time\ndef f(x):\n  t = time.process_time()\n  while time.process_time() - t < 0.4: pass\n  return x"
    assert kinds(sandbox, program, CallTests("f", tuple(((x,), x) for x in range(4)))) == ["passed"] * 4


def test_early_stop_skips_the_rest(sandbox: Sandbox) -> None:
    tests = StdinTests((("1", "1"), ("2", "3"), ("3", "3")))
    assert kinds(sandbox, "print(input())", tests, stop_early=True) == ["passed", "wrong", "skipped"]
    calls = CallTests("f", tuple(((x,), min(x, 6)) for x in range(12)))
    assert kinds(sandbox, "def f(x): return x", calls, stop_early=True) == ["passed"] * 7 + ["wrong"] + ["skipped"] * 4


def test_a_program_that_does_not_load_fails_every_test_at_once(sandbox: Sandbox) -> None:
    verdicts = judge(sandbox, "import nothing_like_that", CallTests("f", (((), 1),) * 50), limits=QUICK)
    assert {verdict.detail for verdict in verdicts} == {"ModuleNotFoundError: No module named 'nothing_like_that'"}
    verdicts = judge(sandbox, "raise ValueError('early')", AssertTests(("assert f() == 1",) * 50), limits=QUICK)
    assert {(verdict.kind, verdict.detail) for verdict in verdicts} == {("crashed", "ValueError: early")}


def test_a_missing_function_is_named(sandbox: Sandbox) -> None:
    (verdict,) = judge(sandbox, "def g(): pass", CallTests("f", (((), 1),)))
    assert "'f'" in verdict.detail


def test_a_broken_test_is_not_the_candidates_fault(any_sandbox: Sandbox) -> None:
    for tests in (AssertTests(("assert f( == 1",)), AssertTests(("assert f() == 1",), setup="import nothing_like_that")):
        with pytest.raises(UnjudgeableTest, match="do not load"):
            judge(any_sandbox, "def f(): return 1", tests)


def test_a_checker_decides_and_runs_in_the_sandbox(sandbox: Sandbox) -> None:
    checker = "def check(stdin, output, expected):\n  a, b = map(int, output.split())\n  return a + b == int(stdin)"
    tests = StdinTests((("10", ""), ("5", "")), Comparison("checker", checker=checker))
    assert kinds(sandbox, "n = int(input()); print(n - 3, 3)", tests) == ["passed", "passed"]
    assert kinds(sandbox, "print(1, 9)", tests) == ["passed", "wrong"]
    calls = CallTests(
        "f", (((4,), None),), Comparison("checker", checker="def check(args, value, expected): return value > args[0]")
    )
    assert kinds(sandbox, "def f(x): return x + 1", calls) == ["passed"]


def test_a_checker_that_returns_something_like_true_does_not_pass(any_sandbox: Sandbox) -> None:
    for value in ("1", "'yes'", "[1]", "None"):
        how = Comparison("checker", checker=f"def check(stdin, output, expected): return {value}")
        assert kinds(any_sandbox, "print(1)", StdinTests((("", "1"),), how)) == ["wrong"]


def test_a_broken_checker_is_not_the_candidates_fault(any_sandbox: Sandbox) -> None:
    how = Comparison("checker", checker="def check(stdin, output, expected): return 1 / 0")
    with pytest.raises(UnjudgeableTest, match="ZeroDivisionError"):
        judge(any_sandbox, "print(1)", StdinTests((("", "1"),), how))


@pytest.mark.parametrize(
    ("output", "expected", "how", "equal"),
    [
        ("1 2\n", "1 2", LINES, True),
        ("1 2  \n 3\n\n", "1 2\n3", LINES, True),
        ("1.0 2.50\n", "1 2.5", LINES, True),
        ("1e0", "1", LINES, True),
        ("1\n2", "1 2", LINES, False),
        ("1.0000000001", "1", LINES, False),
        ("YES", "yes", LINES, False),
        ("nan", "nan", LINES, True),
        ("NaN", "nan", LINES, False),
        ("sNaN", "1", LINES, False),
        ("1e999999999999999999999", "1", LINES, False),
        ("", "", LINES, True),
        ("", "1", LINES, False),
        ("1", "", LINES, False),
        ("1 2", "1 2 3", LINES, False),
        ("9" * 500, "9" * 499 + "8", LINES, False),
        ("a\n", "a", EXACT, True),
        ("a \n", "a", EXACT, False),
        ("a\n\n", "a", EXACT, False),
        ("1\n2", "1 2", TOKENS, True),
        ("1 2 3", "1 2", TOKENS, False),
        ("1.0", "1", TOKENS, False),
        ("0.3333333", "0.33333333333", CLOSE, True),
        ("0.34", "0.33333333333", CLOSE, False),
        ("Infinity", "1", CLOSE, False),
        ("1000000.5", "1000000", CLOSE, True),
        ("yes 1.0", "yes 1", CLOSE, True),
        ("\ufffd", "\ufffd", LINES, True),
    ],
)
def test_texts_are_compared_by_rule(output: str, expected: str, how: Comparison, equal: bool) -> None:
    assert (text_difference(output.encode(), expected, how) == "") is equal


@pytest.mark.parametrize(
    ("value", "expected", "how", "equal"),
    [
        ([1, 2], [1, 2], LINES, True),
        ((1, 2), [1, 2], LINES, True),
        ([(1, 2)], [[1, 2]], LINES, False),
        (1.0, 1, LINES, True),
        ("1", 1, LINES, False),
        (None, False, LINES, False),
        (float("nan"), float("nan"), LINES, False),
        ([0.1 + 0.2], [0.3], CLOSE, True),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, CLOSE, True),
        ([0.1], [0.2], CLOSE, False),
        (10**400, 1.0, CLOSE, False),
        ([1], (1, 2), CLOSE, False),
    ],
)
def test_values_are_compared_by_rule(value: object, expected: object, how: Comparison, equal: bool) -> None:
    assert (value_difference(value, expected, how) == "") is equal


def test_comparing_a_hostile_output_costs_no_more_than_the_expected_one() -> None:
    import tracemalloc

    hostile = b"1\n" * (4 << 20)
    tracemalloc.start()
    assert text_difference(hostile, "1", LINES) == f"expected 1 lines, got {4 << 20}"
    assert text_difference(hostile, "1\n1", TOKENS).startswith("token 3")
    assert tracemalloc.get_traced_memory()[1] < 3 * len(hostile)
    tracemalloc.stop()


def test_a_giant_claim_costs_the_host_no_more_than_its_bytes(any_sandbox: Sandbox) -> None:
    import tracemalloc

    program = "def f(): return [[] for _ in range(4_000_000)]"
    any_sandbox.run("print(1)")
    tracemalloc.start()
    (verdict,) = judge(any_sandbox, program, CallTests("f", (((), 5),)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdict.kind != "passed"
    assert peak < (16 << 20) + (5 << 20)


def test_a_rule_that_does_not_exist_or_lacks_its_checker_is_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Comparison("checker")
    with pytest.raises(ValueError, match="belong together"):
        Comparison("lines", checker="x")
