"""Checking a verifier against its own problems: the gold answer passes, answers that are wrong do not.

Works with any verifier that offers `gold_completion(problem)` and `wrong_completions(problem)`. It says nothing about right
answers in another form; for those, each verifier has tests of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .errors import InputError
from .pool import VerifierPool
from .records import Completion, Problem, Verdict

Fault = Literal["gold rejected", "wrong accepted", "not judged", "no gold answer"]
_Key = tuple[Problem, bool, Completion]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    problem_id: str
    fault: Fault
    completion: str
    verdict: Verdict | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation found: how many problems, gold and wrong completions were judged, and the findings."""

    problems: int
    gold: int
    wrong: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not self.findings


def validate(problems: Iterable[Problem], pool: VerifierPool) -> Validation:
    """Judge the gold and the wrong completions of `problems`. Raises InputError for a verifier that cannot make them."""
    verifier = pool.verifier
    if not hasattr(verifier, "gold_completion"):
        raise InputError(f"verifier {verifier.name!r} cannot be validated: it has no gold_completion(problem)")
    findings: list[Finding] = []
    seen = {"problems": 0, "gold": 0, "wrong": 0}

    def items() -> Iterator[tuple[_Key, Problem, Completion]]:
        for problem in problems:
            seen["problems"] += 1
            try:
                gold, wrong = verifier.gold_completion(problem), _wrong(verifier, problem)
            except InputError as error:
                findings.append(Finding(problem.id, "no gold answer", "", None, str(error)))
                continue
            for right, completion in [(True, gold), *[(False, completion) for completion in wrong]]:
                seen["gold" if right else "wrong"] += 1
                yield (problem, right, completion), problem, completion

    for (problem, right, completion), verdict in pool.map(items()):
        if fault := _fault(right, verdict):
            findings.append(Finding(problem.id, fault, completion.text, verdict, verdict.detail))
    return Validation(seen["problems"], seen["gold"], seen["wrong"], tuple(findings))


def _wrong(verifier: object, problem: Problem) -> list[Completion]:
    make = getattr(verifier, "wrong_completions", None)
    return list(make(problem)) if make else []


def _fault(right: bool, verdict: Verdict) -> Fault | None:
    if verdict.reward is None:
        return "not judged"
    if right:
        return None if verdict.status == "correct" else "gold rejected"
    return "wrong accepted" if verdict.status in ("correct", "partial") else None
