"""The verifier of LiveCodeBench: reads the tests of the problem, and has the program judged in the sandbox.

Official parts: extraction (what stands between the last two fence lines), comparison (line by line, stripped, equal as text or
as Decimals; values of functions by ==), six seconds a test, public tests first, stop at the first failure. Different, under
both rules: a program is a process with a real stdin (upstream's stand-in breaks honest programs), its time is CPU time without
the start of the interpreter, memory is limited to 1 GiB, and leaving with an error code is an error (upstream ignores it).
The default rule also accepts every right output where a problem has several and a checker for it exists (`lcb_checkers`).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..rewards.code import CodeVerifier
from ..rewards.errors import InputError
from ..rewards.limits import PoolLimits
from ..rewards.records import Completion, Problem, Verdict
from .lcb_checkers import CHECKERS
from .lcb_tests import Case, read_tests

SECONDS = 6.0  # lcb_runner's default --timeout
MEMORY = 1 << 30


@dataclass(frozen=True)
class LiveCodeBenchVerifier:
    """Judges programs by the tests that `problem.reference` points to. `backend`, `image`, `partial`: see `CodeVerifier`."""

    rule: Literal["default", "official"] = "default"
    backend: str = "auto"
    image: str | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if self.rule not in ("default", "official"):
            raise InputError(f"livecodebench: rule {self.rule!r} is neither default nor official")

    @property
    def name(self) -> str:
        return "livecodebench"

    @property
    def version(self) -> str:
        return f"1-{self.rule}-{SECONDS:g}s-{self._judge.version}"

    @property
    def limits(self) -> PoolLimits:
        """The longest test lists hold about a hundred tests; the programs' own limits end them long before."""
        return PoolLimits(wall=1800.0, cpu=900.0, memory=8 << 30)

    @property
    def _judge(self) -> CodeVerifier:
        return CodeVerifier(backend=self.backend, image=self.image, partial=self.partial, extract="last_fences")

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError when the tests cannot be read."""
        question_id, tests = _tests(problem)
        checker = CHECKERS.get(question_id) if self.rule == "default" else None
        reference = _code_reference(problem.reference["func_name"], tests, checker)
        verdict = self._judge(replace(problem, reference=reference), completion)
        parts = {**verdict.parts, "cpu_limit": SECONDS}
        notes = (f"{self.rule} rule", "any right output accepted" if checker else "", verdict.detail)
        return replace(verdict, parts=parts, detail=", ".join(note for note in notes if note))


def _tests(problem: Problem) -> tuple[str, tuple[Case, ...]]:
    reference = problem.reference
    if not isinstance(reference, dict) or not {"tests_file", "question_id", "func_name"} <= reference.keys():
        raise InputError(f"problem {problem.id!r}: its reference names no tests; load the problem with livecodebench")
    return reference["question_id"], read_tests(Path(reference["tests_file"]), reference["question_id"])


def _code_reference(function: str | None, tests: tuple[Case, ...], checker: str | None) -> dict[str, Any]:
    kind = "functional" if function else "stdin"
    if any(test.testtype != kind for test in tests):
        raise InputError(f"a problem {'with' if function else 'without'} func_name has tests of the other kind")
    return {
        "style": "call" if function else "stdin",
        "entry": function or "",
        "tests": [{"input": test.input, "output": test.output} for test in tests],
        "limits": {"cpu_seconds": SECONDS, "memory": MEMORY},
        **({"compare": {"rule": "checker", "checker": checker}} if checker else {}),
    }
