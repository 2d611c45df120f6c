r"""Equations, inequalities and sets of reals.

`x = 5` answers 5, and an equation is answered by an equation that says the same; a value answers a gold equation only where that
merely names the value. Inequalities and intervals are compared as sets of reals where they can be.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from . import quantities
from .forms import ascending, difference, is_constant, is_expression, is_label, to_less
from .judging import Answer, Judge, Question, all_of, any_of, either
from .regions import NotARegionError, is_region, region, same_region, variable
from .tree import Node, symbols

_AXES = frozenset(("x", "y", "z", "r", r"\theta"))


@dataclass(frozen=True, slots=True)
class Relations(ABC):
    """One comparison's rules for relations; `judge` compares leaves, `question` is what is known of the question."""

    judge: Judge
    question: Question

    @abstractmethod
    def equal(self, gold: Node, answer: Node) -> Answer:
        """Compare whole answers."""

    @abstractmethod
    def _in_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> Answer:
        """Compare sequences of the same length, member by member."""

    def _relations(self, gold: Node, answer: Node) -> Answer:
        if is_region(gold) or is_region(answer):
            return self._regions(gold, answer)
        if gold.kind == "rel" and answer.kind == "rel":
            return self._equations(gold, answer)
        return self._gold_equation(gold, answer) if gold.kind == "rel" else self._answer_equation(gold, answer)

    def _regions(self, gold: Node, answer: Node) -> Answer:
        mine, yours = variable(gold), variable(answer)
        if mine and yours and mine != yours and ("=",) not in (gold.value, answer.value):
            return False
        if gold.kind == answer.kind == "rel" and "in" not in (*gold.value, *answer.value) and mine != yours:
            return self._inequalities(gold, answer)
        if answer.kind == "rel" and answer.value in (("in",), ("=",)) and is_label(answer.args[0]):
            return self.equal(gold, answer.args[1])
        if gold.kind == "rel" and gold.value == ("in",):
            return self.equal(gold.args[1], answer)
        try:
            wanted, given = region(gold, self.judge.number), region(answer, self.judge.number)
        except NotARegionError:
            return self._parts(gold, answer)
        return same_region(wanted, given, self.judge.same_number)

    def _parts(self, gold: Node, answer: Node) -> Answer:
        """Sets that are not understood are equal when they are built alike from equal parts, and else undecided."""
        if gold.kind == answer.kind == "rel":
            return self._inequalities(gold, answer)
        if gold.kind == answer.kind == "group":
            return gold.value == answer.value and len(gold.args) == len(answer.args) and self._in_order(gold.args, answer.args)
        # A set on one side only: it may be one that is not understood, but it is no number.
        return None if all(is_region(side) or side.kind in ("group", "list", "rel") for side in (gold, answer)) else False

    def _inequalities(self, gold: Node, answer: Node) -> Answer:
        gold, answer = ascending(gold), ascending(answer)
        if len(gold.value) != 1 or len(answer.value) != 1:
            same_shape = gold.value == answer.value and len(gold.args) == len(answer.args)
            return self._in_order(gold.args, answer.args) if same_shape else None
        (mine, my_side), (yours, your_side) = to_less(gold), to_less(answer)
        if mine != yours or symbols(gold) != symbols(answer):
            return False
        return either(self.judge.same(my_side, your_side), lambda: None)

    def _equations(self, gold: Node, answer: Node) -> Answer:
        if is_constant(gold):
            return any_of([self.equal(value, answer) for value in gold.args])
        if set(gold.value) != {"="} or set(answer.value) != {"="}:
            return gold.value == answer.value and self._in_order(gold.args, answer.args)
        if len(gold.args) != 2 or len(answer.args) != 2:
            return len(gold.args) == len(answer.args) and self._in_order(gold.args, answer.args)
        if not all(is_expression(side) for side in (*gold.args, *answer.args)):
            return self._in_order(gold.args, answer.args)
        return self._same_equation(gold, answer)

    def _same_equation(self, gold: Node, answer: Node) -> Answer:
        if gold.args[0] == answer.args[0] and is_label(gold.args[0]):
            same = self.equal(gold.args[1], answer.args[1])
            if same is not False or gold.args[0].kind != "sym" or gold.args[0].value not in symbols(answer.args[1]):
                return same
        if symbols(gold) != symbols(answer):
            return False
        mine, yours = (difference(side.args[0], side.args[1]) for side in (gold, answer))
        return self.judge.proportional(mine, yours)

    def _gold_equation(self, gold: Node, answer: Node) -> Answer:
        """A value for a gold equation: only where that equation merely names the value."""
        if is_constant(gold):
            return any_of([self.equal(value, answer) for value in gold.args])
        name, value = gold.args[0], gold.args[-1]
        if set(gold.value) != {"="} or not is_label(name):
            return False
        if name.kind == "apply":
            return self.equal(value, answer)
        asked = self.question.equation
        lone_axis = name.kind == "sym" and name.value in _AXES
        if symbols(value) or asked or (asked is None and lone_axis):
            return False
        return self.equal(value, answer)

    def _answer_equation(self, gold: Node, answer: Node) -> Answer:
        """An equation for a gold value: `x = 5`, `f(2) = 5`, `2 + 3 = 5`, and `2 : 4 = 1 : 2` if it is true."""
        first, last = answer.args[0], answer.args[-1]
        if set(answer.value) <= {"=", "~"} and is_constant(answer):
            return self._calculation(gold, answer)
        if "~" in answer.value and set(answer.value) <= {"=", "~"} and is_label(first):
            rest = answer.args[1:]
            return self.equal(gold, rest[0] if len(rest) == 1 else Node("rel", rest, answer.value[1:]))
        if set(answer.value) != {"="}:
            return False
        if len(answer.args) == 2 and last.kind == "sym" and not is_label(first):
            return self.equal(gold, first)
        if not is_label(first):
            return False
        constant = [side for side in answer.args[1:] if not symbols(side)]
        agree = [self.equal(last, side) for side in constant if side is not last]
        return all_of([*agree, self.equal(gold, last)])

    def _calculation(self, gold: Node, answer: Node) -> Answer:
        """A chain of constants: its end counts if the chain is true; with an approximation in it, its exact beginning."""
        if "~" in answer.value:
            near = self._near(answer.args)
            if not near:
                return near
            exact_part = answer.args[: answer.value.index("~") + 1]
            return any_of([self.equal(gold, exact_part[-1]), self.equal(gold, answer.args[-1])])
        agree = [self.equal(answer.args[-1], side) for side in answer.args[:-1]]
        return all_of([*agree, self.equal(gold, answer.args[-1])])

    def _near(self, sides: Sequence[Node]) -> Answer:
        """Tell whether all sides of an approximation lie within 2%: what claims that 5 is about 6 is no answer."""
        try:
            values = [self.judge.number(quantities.quantity(side).value, {}) for side in sides]
        except NotARegionError:
            return None
        return bool(max(values) - min(values) <= abs(max(values, key=abs)) / 50)
