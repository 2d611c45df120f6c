"""The role `test`: runs assert statements or unittest cases in a process of their own.

The candidate lives in another process and answers calls with plain data, so nothing of its code (`__eq__`, patched builtins,
`os._exit`, frames, atexit) exists here. Free names of the tests that the candidate defines become remote functions; classes
of the candidate become remote objects (methods and attributes, no operators). Not covered: arguments that are functions,
arguments changed in place, exceptions of the candidate's own classes (they arrive as `CandidateError`).
"""

import builtins
import json
import os
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from . import calls, child, plain, program


class CandidateError(Exception):
    """The candidate raised something that is not a built-in exception."""


class CandidateGone(BaseException):
    """The candidate's process has ended."""


class Unsupported(BaseException):
    """The test asks for something that cannot be asked with plain data: the test's fault, not the candidate's."""


class _Remote:
    """The candidate's process, as seen from the tests."""

    def __init__(self) -> None:
        plain.hooks["encode"] = lambda value: {"t": "handle", "v": value._number} if isinstance(value, RemoteObject) else None
        plain.hooks["decode"] = lambda number: RemoteObject(self, int(number))
        self.names: list[str] = list(map(str, self._receive().get("names", ())))

    def _receive(self) -> dict[str, Any]:
        try:
            message = calls.receive(child.PEER_IN)
        except plain.NotPlain as error:
            raise CandidateError(str(error)) from None
        if message is None:
            raise CandidateGone
        if not isinstance(message, dict):
            raise CandidateError("an answer that is no answer")
        return message

    def ask(self, request: dict[str, Any]) -> Any:
        try:
            calls.send(child.PEER_OUT, request)
        except BrokenPipeError:
            raise CandidateGone from None
        answer = self._receive()
        if "error" in answer:
            raise _as_exception(answer["error"])
        if answer.get("callable") is True and "args" not in request:
            return lambda *args, **keywords: self.call(request, args, keywords)
        try:
            return plain.decode(answer.get("ok"))
        except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError, AttributeError) as error:
            raise CandidateError(f"an answer that is not plain data: {error}") from None

    def call(self, target: dict[str, Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        request = {**target, "args": plain.encode(list(args)), "keywords": {k: plain.encode(v) for k, v in keywords.items()}}
        for value in (*args, *keywords.values()):
            if isinstance(value, plain.Opaque):
                raise CandidateError(f"{target['name']} is called with what the candidate gave, and that is {value!r}")
            if callable(value) and not isinstance(value, RemoteObject):
                raise Unsupported(f"{target['name']} is called with a function or a class")
        return self.ask(request)

    def function(self, name: str) -> Callable[..., Any]:
        def remote(*args: Any, **keywords: Any) -> Any:
            return self.call({"name": name}, args, keywords)

        remote.__name__ = remote.__qualname__ = name
        return remote


class RemoteObject:
    """An object that stays in the candidate's process. Equal to nothing but itself."""

    def __init__(self, remote: _Remote, number: int) -> None:
        self._remote, self._number = remote, number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._remote.ask({"object": self._number, "name": name})


def _as_exception(error: Any) -> Exception:
    name, text = (str(part) for part in (*error, "", "")[:2]) if isinstance(error, list) else ("", str(error))
    kind = getattr(builtins, name, None)
    text = text.partition(": ")[2] or text
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, (AssertionError, UnicodeError)):
        with suppress(Exception):  # some need other arguments
            exception: Exception = kind(text)
            exception.from_candidate = True  # type: ignore[attr-defined]
            return exception
    return CandidateError(f"{name}: {text}")


def run_tests(header: dict[str, Any], source: bytes) -> None:
    """Run tests `start` to `stop` and write one line for each. `source` is what comes before them."""
    child.announce_start()
    write = _writer(os.dup(child.RESULT))
    try:
        remote = _Remote()
        cases = _collect(header, source, remote)
    except (CandidateGone, CandidateError):
        os._exit(0)  # without a word: the host sees that the candidate did not load
    except BaseException as error:
        if not from_candidate(error):
            write({"broken": program.last_line(error)})
        os._exit(0)
    write({"total": len(cases)})
    stop = len(cases) if header["stop"] is None else header["stop"]
    for index in range(header["start"], stop):
        outcome, detail = _run_one(cases[index])
        write({"i": index, "outcome": outcome, "detail": detail})
        if outcome == "gone":
            break
    os._exit(0)


def from_candidate(error: BaseException | None) -> bool:
    """Whether an exception began as an answer of the candidate: then it says nothing against the tests."""
    while error is not None:
        if getattr(error, "from_candidate", False) or isinstance(error, (CandidateError, CandidateGone)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _writer(fd: int) -> Callable[[dict[str, Any]], None]:
    def write(line: dict[str, Any]) -> None:
        calls._write_all(fd, json.dumps(line).encode() + b"\n")

    return write


def _run_one(case: Callable[[], Any]) -> tuple[str, str]:
    try:
        case()
    except CandidateGone:
        return "gone", "the candidate ended its process"
    except Unsupported as error:
        return "unsupported", str(error)
    except AssertionError as error:
        return "failed", program.last_line(error)
    except BaseException as error:
        return "error", program.last_line(error)
    return "passed", ""


def _collect(header: dict[str, Any], source: bytes, remote: _Remote) -> list[Callable[[], Any]]:
    """Return the tests as functions without arguments."""
    namespace = dict(program.PRELUDE) if header.get("prelude", True) else {}
    namespace.update({"__name__": "tests", "__builtins__": builtins})
    setup = compile(source, "tests.py", "exec", dont_inherit=True)
    codes = [compile(text, f"test {i + 1}", "exec", dont_inherit=True) for i, text in enumerate(header["tests"])]
    wanted = set().union(*(_names(code) for code in (setup, *codes)))
    for name in remote.names:
        if name in wanted and not hasattr(builtins, name):
            namespace[name] = remote.function(name)
    for name in header["entries"]:
        namespace[name] = remote.function(name)
    if header["entries"]:
        namespace["candidate"] = namespace[header["entries"][0]]
    module = sys.modules[header["module"]] = types.ModuleType(header["module"])
    module.__dict__.update({name: remote.function(name) for name in remote.names})
    exec(setup, namespace)
    if codes:
        return [lambda code=code: exec(code, dict(namespace)) for code in codes]  # type: ignore[misc]
    return _discover(namespace)


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _discover(namespace: dict[str, Any]) -> list[Callable[[], Any]]:
    """unittest methods and plain `test_*` functions, in the order of their definition."""
    import unittest

    cases: list[Callable[[], Any]] = []
    for name, value in list(namespace.items()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == "tests":
            cases += [_unittest_case(value, method) for method in unittest.TestLoader().getTestCaseNames(value)]
        elif name.startswith("test") and isinstance(value, types.FunctionType) and not value.__code__.co_argcount:
            cases.append(value)
    return cases


def _unittest_case(kind: type, method: str) -> Callable[[], None]:
    """One test method. unittest is imported only where it is used: every guest would pay for it in the zygote."""
    import unittest

    class FirstProblem(unittest.TestResult):
        """Keeps the first exception instead of its text."""

        problem: "BaseException | None" = None

        def addError(self, test: Any, err: Any) -> None:  # noqa: N802 - unittest's name
            self.problem = self.problem or err[1]

        def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            self.problem = self.problem or err[1]

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
            if err is not None:
                self.problem = self.problem or err[1]

    def run() -> None:
        suite = unittest.TestSuite([kind(method)])  # a suite, so that setUpClass runs
        result = FirstProblem()
        suite.run(result)
        if result.problem is not None:
            raise result.problem
        if result.testsRun != 1 or result.skipped or result.expectedFailures or result.unexpectedSuccesses:
            raise Unsupported(f"{kind.__name__}.{method} did not run as a plain test")

    return run
