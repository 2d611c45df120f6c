"""The verifier `tests`: a process reward for programs, the share of tests passed by the program as it stands at chosen lines.

A state is the program cut off behind a line at which it compiles; the last is the whole program. References and the sandbox are
those of `code`; every state costs one run of all tests. It says nothing of what a cut-off program might have become.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from .code import CodeReference, CodeVerifier, Extraction, extract_code
from .limits import PoolLimits
from .options import OptionVerifier
from .records import Completion, Problem, Status, StepReward, Verdict
from .serde import decode
from .steps import Shape, shaped, total

_SLOWEST = 20_000  # characters of a program beyond which only its end is a state: compiling every prefix is quadratic


@dataclass(frozen=True)
class TestsVerifier(OptionVerifier):
    """Programs by the tests that they pass line by line.

    At most `points` states, spread evenly over the lines behind which the program compiles. The span of a state is the code since
    the state before, its value the share of tests that it passes, `shape` how values become rewards (`steps`): by default
    what a piece of code added to that share, so that the sum is what `code` with `partial` gives. `backend` and `extract` are
    those of `code`.
    """

    kind: ClassVar[str] = "tests"

    points: int = 6
    shape: Shape = "gain"
    backend: str = "auto"
    extract: Extraction = "last_block"

    def check(self) -> None:
        self.require(self.points >= 1, "points", "at least 1")

    @property
    def limits(self) -> PoolLimits:
        """What `code` needs, for every state."""
        return PoolLimits(wall=1800.0 * self.points, cpu=300.0 * self.points, memory=None)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError for a reference that is none."""
        reference = decode(CodeReference, problem.reference, f"problem {problem.id!r}: reference")
        rule = reference.extract or self.extract
        judge = CodeVerifier(backend=self.backend, partial=True, extract=rule)
        last = judge(problem, completion)
        code = extract_code(reference.prefill + completion.text, rule)
        if last.reward is None or code is None:
            return last
        start = (reference.prefill + completion.text).rindex(code.rstrip("\n")) - len(reference.prefill)
        cuts = spread(states(code), self.points)
        values: list[float] = []
        for cut in cuts[:-1]:
            verdict = judge(_bare(problem), Completion(_written(code[:cut], rule)))
            if verdict.reward is None:
                return verdict
            values.append(verdict.reward)
        steps = [
            StepReward(max(start + one, 0), max(start + two, 0), value)
            for (one, two), value in zip(pairwise([0, *cuts]), [*values, last.reward], strict=True)
        ]
        return _verdict(last, shaped(_within(steps, len(completion.text)), self.shape))


def states(code: str) -> list[int]:
    """Where `code` may be cut off so that what stands before compiles and says something; its end is always the last."""
    ends: list[int] = []
    position = 0
    for line in code.splitlines(keepends=True) if len(code) <= _SLOWEST else ():
        position += len(line)
        if line.strip() and _compiles(code[:position]):
            ends.append(position)
    return [end for end in ends if end < len(code.rstrip())] + [len(code.rstrip()) or len(code)]


def spread(places: list[int], count: int) -> list[int]:
    """At most `count` of `places`, spread evenly, the last one always."""
    if len(places) <= count:
        return places
    return [places[(index + 1) * len(places) // count - 1] for index in range(count)]


def _compiles(code: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in the model's code
        try:
            compile(code, "program", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return False
    return True


def _written(code: str, rule: Extraction) -> str:
    return code if rule == "whole" else f"```python\n{code}\n```"


def _bare(problem: Problem) -> Problem:
    """The problem without the text that begins the answer: a state has it already."""
    reference: Mapping[str, Any] = problem.reference
    return replace(problem, reference={**reference, "prefill": ""})


def _within(steps: list[StepReward], length: int) -> list[StepReward]:
    """Spans inside the completion; what stood in the prefill belongs to its first character."""
    return [replace(step, start=min(step.start, length), end=min(max(step.end, step.start), length)) for step in steps]


def _verdict(last: Verdict, steps: tuple[StepReward, ...]) -> Verdict:
    reward = total(steps)
    status: Status = last.status
    return replace(last, reward=reward, status=status, step_rewards=steps, parts={**last.parts, "states": float(len(steps))})
