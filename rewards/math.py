r"""The mathematical verifier: extracts the final answer and compares it with the gold answer.

First version: normalised strings, then `math-verify` on exactly one answer per side. It has no clock of its own (math-verify's
uses SIGALRM), so it must run in a `VerifierPool`.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from .errors import InputError
from .extract import MATH_ORDER, Extractor, check_order, extract
from .limits import PoolLimits
from .records import Completion, Problem, Verdict

_SPACING = re.compile(r"\\[,;:! ]|~|\\q?quad\b|\\left(?![a-z])|\\right(?![a-z])|\\displaystyle\b|\s+")


@dataclass(frozen=True)
class MathVerifier:
    """Judges a completion against `problem.reference`, the gold answer as a string. `order`: extractors to try, in order."""

    order: tuple[Extractor, ...] = MATH_ORDER

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))
        check_order(self.order)

    @property
    def name(self) -> str:
        return "math"

    @property
    def version(self) -> str:
        return f"1-{'+'.join(self.order)}"

    @property
    def limits(self) -> PoolLimits:
        """Mathematics that takes longer than this is not going to be decided."""
        return PoolLimits(wall=20.0, cpu=5.0, memory=1 << 30)

    def warm(self) -> None:
        """Import what is heavy and let the parser build its tables, once for all workers. Fails when a parser is missing."""
        if not _equal(r"\frac{1}{2}", "0.5"):
            raise RuntimeError("math-verify cannot parse LaTeX here: install math-verify[antlr4_13_2]")

    def quick(self, problem: Problem, completion: Completion) -> Verdict | None:
        """Return the verdict if there is no answer or if it is the gold answer as a string, else None."""
        gold = gold_answer(problem)
        found = extract(completion.text, self.order)
        if found is None:
            return Verdict(reward=0.0, status="unparsed", expected=gold, detail="no final answer found")
        if _plain(found.answer) == _plain(gold):
            return Verdict(1.0, "correct", found.answer, gold, detail=f"{found.how}: equal as strings")
        return None

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return the verdict; may take long on hostile input."""
        if verdict := self.quick(problem, completion):
            return verdict
        gold, found = gold_answer(problem), extract(completion.text, self.order)
        assert found is not None
        equal = _equal(gold, found.answer)
        detail = f"{found.how}: {'equal' if equal else 'not equal'} by math-verify"
        return Verdict(float(equal), "correct" if equal else "wrong", found.answer, gold, detail=detail)


def gold_answer(problem: Problem) -> str:
    """Return the gold answer of a mathematical problem. Raises InputError when the reference is none."""
    gold = problem.reference
    if isinstance(gold, int | float) and not isinstance(gold, bool):
        return str(gold)
    if not isinstance(gold, str) or not gold.strip():
        raise InputError(f"problem {problem.id!r}: the reference of a math problem is its answer as text, found {gold!r:.60}")
    return gold


def _plain(answer: str) -> str:
    return _SPACING.sub("", answer).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac").strip("$")


def _equal(gold: str, answer: str) -> bool:
    parser = _math_verify()
    left, right = (parser.parse(rf"\boxed{{{side}}}", parsing_timeout=None) for side in (gold, answer))
    return bool(parser.verify(left, right, timeout_seconds=None))


@cache
def _math_verify() -> Any:
    import logging

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns at every call that it has no clock
    return import_module("math_verify")
