"""The four ways to test a program. Plain frozen data: what is asked, what is expected. Expected values stay on the host."""

from dataclasses import dataclass, field
from typing import Any

from .compare import Comparison


@dataclass(frozen=True, slots=True)
class StdinTests:
    """One process per test: `tests` are pairs (stdin, expected stdout)."""

    tests: tuple[tuple[str, str], ...]
    comparison: Comparison = field(default_factory=Comparison)


@dataclass(frozen=True, slots=True)
class CallTests:
    """Calls of a function, or of a method of `Solution`: `tests` are pairs (arguments, expected value), all plain data."""

    entry: str
    tests: tuple[tuple[tuple[Any, ...], Any], ...]
    comparison: Comparison = field(default_factory=Comparison)


@dataclass(frozen=True, slots=True)
class AssertTests:
    """Statements, each of which must not raise: `tests` run after `setup`, in a process of their own.

    `entries` are the candidate's functions that tests use; the first is also called `candidate`. Names that the tests use and
    only the candidate defines are found without being listed; a name that is also a builtin (a task "write `sum`") must be.
    """

    tests: tuple[str, ...]
    setup: str = ""
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScriptTests:
    """A script of unittest cases and `test_*` functions, in a process of its own; the candidate is also the module `module`.

    With `count`, a script that holds another number of tests is an error of the test.
    """

    source: str
    entries: tuple[str, ...] = ()
    module: str = "solution"
    count: int | None = None


Tests = StdinTests | CallTests | AssertTests | ScriptTests
