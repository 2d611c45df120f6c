"""What a verdict on a program was about: the test that failed, its input and what was expected.

Read off the verdict's line ("test 3 of 10: wrong: expected 4, got 5") and the problem's reference. Tests that lie outside the
reference (LiveCodeBench's files) are not read.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..runs import Run

LONGEST = 2000
"""Characters of an input or output that are shown."""

_FAILED = re.compile(r"\btest (\d+) of (\d+): \w+")
_GOT = re.compile(r"expected (?P<expected>.*), got (?P<got>.*)$", re.DOTALL)
_Key = tuple[str, str]


def failed_test(detail: str) -> int | None:
    """The number of the failed test, from 1, if `detail` names one."""
    found = _FAILED.search(detail)
    return int(found[1]) if found else None


def difference(detail: str) -> tuple[str, str] | None:
    """What was expected and what came, if `detail` says both."""
    found = _GOT.search(detail)
    return (found["expected"], found["got"]) if found else None


def find_tests(run: Run, wanted: Mapping[_Key, set[int]]) -> dict[tuple[str, str, int], dict[str, str]]:
    """Look up tests by (task, problem id, number): their input and expected output, as text."""
    if not wanted:
        return {}
    found = {}
    for problem in run.problems():
        for number in wanted.get((problem.task, problem.id), ()):
            test = _test(problem.reference, number)
            if test:
                found[problem.task, problem.id, number] = test
    return found


def _test(reference: Any, number: int) -> dict[str, str]:
    tests = reference.get("tests") if isinstance(reference, Mapping) else None
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not 0 < number <= len(tests):
        return {}
    test = tests[number - 1]
    if isinstance(test, Mapping):
        named = {"input": test.get("input", test.get("arguments")), "expected": test.get("output", test.get("value"))}
    else:
        named = {"test": test}
    return {name: _text(value) for name, value in named.items() if value is not None}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
