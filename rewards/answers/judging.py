"""What a comparison is given: the question, and a judge of leaves. True, False, or None for undecided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .tree import Node

Answer = bool | None


@dataclass(frozen=True, slots=True)
class Question:
    """What the question says about the form of the answer. `equation` is None when there is no question to read.

    `options` are the letters and values of a multiple-choice question.
    """

    percent: bool = False
    equation: bool | None = None
    tolerance: float = 0.0
    options: tuple[tuple[str, str], ...] = ()


class Judge(Protocol):
    """Compares leaves: expressions, sides of equations, endpoints."""

    def same(self, gold: Node, answer: Node) -> Answer:
        """Compare two expressions."""

    def proportional(self, gold: Node, answer: Node) -> Answer:
        """Tell whether two expressions are equal up to a constant factor."""

    def number(self, node: Node, point: dict[str, Any]) -> Any:
        """Return a number for an endpoint; raises NotARegionError when this judge cannot."""

    def same_number(self, left: Any, right: Any) -> bool:
        """Compare two endpoints."""


def either(first: Answer, second: Callable[[], Answer]) -> Answer:
    """True if either is; the second is asked only if needed."""
    return True if first else any_of([first, second()])


def all_of(answers: Sequence[Answer]) -> Answer:
    """False if any is, else None if any is undecided."""
    return False if False in answers else None if None in answers else True


def any_of(answers: Sequence[Answer]) -> Answer:
    """True if any is, else None if any is undecided."""
    return True if True in answers else None if None in answers else False
