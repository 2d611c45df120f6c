"""Benchmarks of mathematics: one question, one short answer, judged by the `math` verifier, asked for a boxed answer."""

from dataclasses import dataclass

from .base import BOXED_PROMPT, BOXED_PROMPT_SOURCE
from .rowset import ANSWER, QUESTION, Item, RowBenchmark, optional

__all__ = ["ANSWER", "QUESTION", "Item", "MathBenchmark", "optional"]


@dataclass(frozen=True, kw_only=True)
class MathBenchmark(RowBenchmark):
    """A set of questions with short answers."""

    verifier: str = "math"
    prompt_template: str = BOXED_PROMPT
    prompt_source: str = BOXED_PROMPT_SOURCE
