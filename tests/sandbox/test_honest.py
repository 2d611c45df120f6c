"""Honest programs pass, on every backend, with the default limits and the comparison of LiveCodeBench."""

import pytest
from unmask.sandbox import AssertTests, CallTests, Program, Sandbox, ScriptTests, StdinTests, judge

from .honest import HONEST, NO_CHILDREN


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_passes(sandbox: Sandbox, name: str) -> None:
    program, stdin, expected = HONEST[name]
    (verdict,) = judge(sandbox, program, StdinTests(((stdin, expected),)))
    if name in NO_CHILDREN and sandbox.backend == "restricted":
        assert verdict.kind == "crashed"
        assert verdict.detail.startswith("PermissionError")
    else:
        assert verdict.kind == "passed", verdict


def test_honest_output_arrives_byte_for_byte(sandbox: Sandbox) -> None:
    for program, stdin, expected in (HONEST["ten megabytes of output"], HONEST["input()"], HONEST["text that is not ASCII"]):
        execution = sandbox.run(program, stdin.encode())
        assert execution.status == "ok"
        assert execution.stdout == expected.encode()
        assert not execution.stdout_truncated
        assert execution.isolated


def test_arguments_and_files_reach_the_program(sandbox: Sandbox) -> None:
    program = "import sys\nprint(sys.argv[1:], open('data.txt').read(), open('b.bin', 'rb').read())"
    execution = sandbox.run(program, args=("x", "y z"), files={"data.txt": b"hello", "b.bin": b"\0\xff"})
    assert execution.stdout == b"['x', 'y z'] hello b'\\x00\\xff'\n"


def test_the_prelude_of_livecodebench_is_there_when_asked_for(sandbox: Sandbox) -> None:
    source = "def f(x: List[int]) -> Optional[int]: return Counter(x).most_common(1)[0][0]\nprint(f([1, 2, 2]), gcd(6, 4), inf, sys.maxsize > 0)"
    assert sandbox.run(Program(source, prelude=True)).stdout == b"2 2 inf True\n"
    assert sandbox.run(Program(source)).status == "error"


CALLS: dict[str, tuple[str, CallTests]] = {
    "method of Solution": (
        "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n"
        "        return [i for i, x in enumerate(nums) if target - x in nums[:i] + nums[i + 1:]]",
        CallTests("twoSum", ((([4, 1, 5], 6), [1, 2]), (([1, 1], 2), [0, 1]))),
    ),
    "plain function": ("def add(a, b): return a + b", CallTests("add", (((1, 2), 3), (("a", "b"), "ab"), (([1], [2]), [1, 2])))),
    "tuple for a list": ("def f(x): return (x, x)", CallTests("f", (((1,), [1, 1]),))),
    "numpy scalars": ("import numpy\ndef f(x): return numpy.int64(x)", CallTests("f", (((5,), 5),))),
    "float, none, bool, nested": (
        "def f(x): return x",
        CallTests("f", (((0.1,), 0.1), ((None,), None), ((True,), True), (([[1, [2.5, "x"]], {"k": [1]}],), [[1, [2.5, "x"]], {"k": [1]}]))),
    ),
    "big integer": ("def f(n): return 3 ** n", CallTests("f", (((5000,), 3**5000),))),
    "prints on the way": ("def f(x):\n  print('noise', x)\n  return x", CallTests("f", (((1,), 1), ((2,), 2)))),
    "helpers and globals": ("MEMO = {}\ndef h(x): return MEMO.setdefault(x, x + 1)\ndef f(x): return h(x)", CallTests("f", (((1,), 2),) * 5)),
    "state that grows, as it does not when called alone": ("seen = []\ndef f(x):\n  seen.append(x)\n  return seen", CallTests("f", (((1,), [1]), ((2,), [2]), ((3,), [3])))),
    "main part does not run": ("def f(x): return x\nif __name__ == '__main__':\n  print(input())", CallTests("f", (((1,), 1),))),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_honest_functions_pass_their_calls(sandbox: Sandbox, name: str) -> None:
    source, tests = CALLS[name]
    program = Program(source, prelude="List[" in source)  # only programs that ask for it get it
    for stop_early in (False, True):
        verdicts = judge(sandbox, program, tests, stop_early=stop_early)
        assert [verdict.kind for verdict in verdicts] == ["passed"] * len(tests.tests), verdicts


ASSERTS: dict[str, tuple[str, AssertTests]] = {
    "MBPP": (
        "def similar(a, b): return tuple(set(a) & set(b))",
        AssertTests(("assert set(similar((3, 4), (4, 5))) == {4}", "assert similar((1,), (2,)) == ()")),
    ),
    "HumanEval with a helper of the prompt": (
        "import math\ndef poly(xs, x): return sum(c * x ** i for i, c in enumerate(xs))\ndef find_zero(xs): return -xs[0] / xs[1]",
        AssertTests(("check(candidate)",), setup="def check(candidate):\n  c = [1, 2]\n  assert math.fabs(poly(c, candidate(c))) < 1e-4", entries=("find_zero",)),
    ),
    "named like a builtin": ("def sum(a, b): return a + b", AssertTests(("assert sum(10, 15) == 25",), entries=("sum",))),
    "returns sets, dicts, bytes, complex": (
        "def f(k): return {'s': {1, 2}, 'd': {(1, 2): [3]}, 'b': b'x', 'c': 1j, 'f': frozenset([1])}[k]",
        AssertTests(("assert f('s') == {2, 1}", "assert f('d') == {(1, 2): [3]}", "assert f('b') == b'x'", "assert f('c') == 1j", "assert f('f') == {1}")),
    ),
    "returns an iterator": ("def f(n): return (i * i for i in range(n))", AssertTests(("assert list(f(3)) == [0, 1, 4]", "assert max(f(4)) == 9"))),
    "raises what it should": (
        "def f(x):\n  if x < 0: raise ValueError('negative')\n  return x",
        AssertTests(("try:\n  f(-1)\nexcept ValueError as e: assert 'negative' in str(e)\nelse: assert False", "assert f(1) == 1")),
    ),
    "nearly equal": ("def f(): return 0.1 + 0.2", AssertTests(("assert abs(f() - 0.3) < 1e-9", "assert math.isclose(f(), 0.3)"))),
    "identity of None and True": ("def f(x): return None if x else True", AssertTests(("assert f(1) is None", "assert f(0) is True"))),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSERTS)
def test_honest_functions_pass_their_asserts(sandbox: Sandbox, name: str) -> None:
    program, tests = ASSERTS[name]
    verdicts = judge(sandbox, program, tests)
    assert [verdict.kind for verdict in verdicts] == ["passed"] * len(tests.tests), verdicts


def test_a_unittest_script_judges_functions_and_objects(sandbox: Sandbox) -> None:
    program = "class Account:\n  def __init__(self, b=0): self.b = b\n  def add(self, x):\n    self.b += x\n    return self\ndef double(x): return 2 * x"
    script = (
        "import unittest\nimport solution\nfrom solution import Account\n"
        "class T(unittest.TestCase):\n"
        "  def setUp(self): self.a = Account(5)\n"
        "  def test_add(self): self.assertEqual(self.a.add(3).add(1).b, 9)\n"
        "  def test_fresh(self): self.assertEqual(self.a.b, 5)\n"
        "  def test_sub(self):\n    for i in range(3):\n      with self.subTest(i=i): self.assertEqual(solution.double(i), 2 * i)\n"
        "def test_plain(): assert double(4) == 8\n"
    )
    verdicts = judge(sandbox, program, ScriptTests(script, count=4))
    assert [verdict.kind for verdict in verdicts] == ["passed"] * 4, verdicts
