"""The two judges of leaves: `ExactJudge` in the caller's process, `ValueJudge` in a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .exact import exact
from .judging import Answer
from .regions import INFINITY, NotARegionError
from .tree import Node, symbols

# A decimal given to so many digits is the output of a floating-point computation, and compared as such.
_FLOAT_DIGITS = 15
_FLOAT_TOLERANCE = Fraction(1, 10**12)
_CONSTANTS = ("C", "c", "K", "k", "C_1", "c_1", "C_0", "D")


@dataclass(frozen=True, slots=True)
class ExactJudge:
    """Compares rational values exactly and leaves everything else undecided. Needs microseconds and no library."""

    tolerance: float = 0.0

    def same(self, gold: Node, answer: Node) -> Answer:
        """Compare two expressions."""
        if gold == answer:
            return True
        mine, yours = exact(gold), exact(answer)
        if mine is None or yours is None:
            return None
        return mine == yours or _close_decimals(gold, answer, mine, yours, self.tolerance)

    def proportional(self, gold: Node, answer: Node) -> Answer:
        """Sides of equations are not compared here."""
        return None

    def number(self, node: Node, point: dict[str, Any]) -> Any:
        """Return the exact value of an endpoint."""
        value = None if point else exact(node)
        if value is None:
            raise NotARegionError("not rational")
        return value

    def same_number(self, left: Any, right: Any) -> bool:
        """Compare exact endpoints."""
        return bool(left == right)


@dataclass(frozen=True, slots=True)
class ValueJudge:
    """Compares values to many digits. Imports mpmath on first use."""

    tolerance: float = 0.0

    def same(self, gold: Node, answer: Node) -> Answer:
        """Compare two expressions: exactly if they are rational, else by value at seeded points."""
        from . import evaluate

        decided = ExactJudge(self.tolerance).same(gold, answer)
        if decided is not None:
            return decided
        mine, yours = _without_constant(gold, ("C",)), _without_constant(answer, _CONSTANTS)
        if mine and yours and symbols(mine):
            return evaluate.same_up_to_constant(mine, yours)
        same = evaluate.same_value(gold, answer)
        if same is False and not symbols(gold) and not symbols(answer):
            return self._nearly(gold, answer)
        return same

    def proportional(self, gold: Node, answer: Node) -> Answer:
        """Tell whether two sides are equal up to a constant factor."""
        from . import evaluate

        return evaluate.same_up_to_factor(gold, answer)

    def number(self, node: Node, point: dict[str, Any]) -> Any:
        """Return the value of an endpoint, or of a side of an inequality at a point."""
        from . import evaluate

        try:
            value = evaluate.value(node, point)
        except evaluate.UndefinedError as error:
            raise NotARegionError(str(error)) from None
        if abs(value.imag) > evaluate.AGREE:
            raise NotARegionError("not real")
        return value.real

    def same_number(self, left: Any, right: Any) -> bool:
        """Compare endpoints to many digits."""
        from . import evaluate

        return bool(left == right) if INFINITY in (abs(left), abs(right)) else evaluate.close(left, right)

    def _nearly(self, gold: Node, answer: Node) -> bool:
        from . import evaluate

        allowed = _allowance(gold, answer, self.tolerance)
        return bool(allowed) and evaluate.agree(gold, answer, lambda a, b: bool(abs(a - b) <= float(allowed) * abs(a))) is True


def _close_decimals(gold: Node, answer: Node, mine: Fraction, yours: Fraction, tolerance: float) -> bool:
    if mine.denominator == 1:
        return False  # no tolerance for integers
    allowed = _allowance(gold, answer, tolerance)
    return bool(allowed) and abs(mine - yours) <= allowed * abs(mine)


def _allowance(gold: Node, answer: Node, tolerance: float) -> Fraction:
    """The relative tolerance for this pair: the one stated for decimals, or the one of floating-point output."""
    allowed = Fraction(tolerance) if tolerance and _decimal_digits(gold) else Fraction(0)
    is_float = max(_decimal_digits(gold), _decimal_digits(answer)) >= _FLOAT_DIGITS
    return max(allowed, _FLOAT_TOLERANCE) if is_float else allowed


def _decimal_digits(node: Node) -> int:
    while node.kind == "neg":
        node = node.args[0]
    return int(node.value.digits) if node.kind == "num" else 0


def _without_constant(node: Node, names: Sequence[str]) -> Node | None:
    """Return `F` for `F + C`, where C is a constant of integration: a term of its own that occurs nowhere else."""
    terms = _terms(node)
    constants = [term for term in terms if term.kind == "sym" and term.value in names]
    rest = [term for term in terms if term not in constants]
    if len(constants) != 1 or not rest or any(constants[0].value in symbols(term) for term in rest):
        return None
    total = rest[0]
    for term in rest[1:]:
        total = Node("add", (total, term))
    return total


def _terms(node: Node) -> list[Node]:
    return [term for arg in node.args for term in _terms(arg)] if node.kind == "add" else [node]
