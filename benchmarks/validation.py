"""Checking a benchmark against itself: its gold answers pass its own verifier, an empty answer and a wrong one fail.

Wrong answers are the near misses that the verifier names (`wrong_completions`), else the boxed answer plus one, else the gold
answer to another problem. Problems whose gold answer is not in the data (instruction following, most programs) are checked with
the empty answer only. Known label errors are reported as notes, not as failures.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from ..rewards.pool import VerifierPool
from ..rewards.records import Completion, Problem, Verdict
from ..rewards.verifier import Verifier
from .base import Benchmark, boxed, gold_text, verifier_of

Kind = Literal["gold", "empty", "perturbed"]


class Check(NamedTuple):
    """One answer and whether its verdict was as it should be."""

    problem: Problem
    kind: Kind
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """Gold answers have the full reward; others less, but a verdict all the same."""
        reward = self.verdict.reward
        return reward == 1.0 if self.kind == "gold" else reward is not None and reward < 1.0

    @property
    def note(self) -> str:
        """What is known to be wrong with the problem, if anything."""
        return str(self.problem.metadata.get("note", ""))


def validate(
    benchmark: Benchmark,
    problems: Sequence[Problem] | None = None,
    workers: int | None = None,
    verifier: Verifier | None = None,
) -> Iterator[Check]:
    """Judge the gold, the empty and a wrong answer of every problem (or of `problems`), in worker processes.

    Yields checks in completion order. Raises InputError when the data or the verifier cannot be loaded.
    """
    problems = benchmark.load() if problems is None else problems
    verifier = verifier or verifier_of(benchmark)
    with VerifierPool(verifier, workers=workers) as pool:
        answers = _answers(benchmark, problems, verifier)
        items = (((problem, kind), problem, Completion(text)) for problem, kind, text in answers)
        for (problem, kind), verdict in pool.map(items):
            yield Check(problem, kind, verdict)


def _answers(benchmark: Benchmark, problems: Sequence[Problem], verifier: Verifier) -> Iterator[tuple[Problem, Kind, str]]:
    near_misses = getattr(verifier, "wrong_completions", None)
    golds = [gold_text(benchmark, problem) for problem in problems]
    for index, (problem, gold) in enumerate(zip(problems, golds, strict=True)):
        yield problem, "empty", ""
        if gold is None:
            continue
        yield problem, "gold", gold
        if near_misses is not None:
            yield from ((problem, "perturbed", wrong.text) for wrong in near_misses(problem))
            continue
        if isinstance(problem.reference, str) and gold == boxed(problem.reference):
            yield problem, "perturbed", boxed(f"{problem.reference} + 1")
            continue
        wrong = next((other for other in _others(problems, golds, index) if _differs(gold, other)), None)
        if wrong is not None:
            yield problem, "perturbed", wrong


def _differs(gold: str, other: str) -> bool:
    """Tell whether two answers say different things: "x=5" and "5" do not, whatever a verifier makes of them."""
    one, two = (set(re.findall(r"\d+|[a-z]+", text.lower())) for text in (gold, other))
    return not one <= two and not two <= one


def _others(problems: Sequence[Problem], golds: Sequence[str | None], index: int) -> Iterator[str]:
    """Yield the gold answers of the other problems of the same kind, beginning half the set away: neighbours are often alike."""
    kind = problems[index].metadata.get("task")
    for step in range(len(problems)):
        other = (index + len(problems) // 2 + step) % len(problems)
        gold = golds[other]
        if other != index and gold is not None and problems[other].metadata.get("task") == kind:
            yield gold
