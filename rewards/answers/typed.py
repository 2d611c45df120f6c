r"""Comparing two answers by type, the gold answer's type leading.

Tuples are ordered, sets and lists of solutions are not; intervals are compared as sets of reals, and so are inequalities; `x = 5`
answers 5; an equation is answered by an equation that says the same. The leaves are compared by a `Judge`: exactly in the
caller's process (which leaves irrational and symbolic ones undecided), by value in a worker. The result is True, False, or None
for undecided; ambiguous cases are not equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import quantities
from .exact import exact
from .forms import (
    as_matrix,
    as_set,
    as_solutions,
    differently_named,
    digits_and_base,
    fraction,
    is_matrix,
    is_tuple,
    is_unordered,
    matching,
    members,
    row_as_tuple,
    same_time,
    shape,
    signs,
    spelled,
)
from .judging import Answer, either
from .regions import is_region
from .relations import Relations
from .texts import words
from .tree import Node, has


@dataclass(frozen=True, slots=True)
class Comparison(Relations):
    """One comparison by type."""

    def equal(self, gold: Node, answer: Node) -> Answer:
        """Compare whole answers."""
        gold, answer = as_solutions(as_set(gold)), as_solutions(as_set(answer))
        if gold == answer:
            return True
        if gold.kind == "rel" or answer.kind == "rel" or is_region(gold) or is_region(answer):
            return self._relations(gold, answer)
        if quantities.is_quantity(gold) or quantities.is_quantity(answer):
            return self._quantities(gold, answer)
        if is_matrix(gold) or is_matrix(answer):
            return self._matrices(gold, answer)
        if "text" in (gold.kind, answer.kind):
            return words(spelled(gold)) == words(spelled(answer)) != ""
        for kinds, compare in (
            (("list", "group"), self._collections),
            (("cases", "vmatrix"), self._matrices),
            (("ratio", "time"), self._ratios),
        ):
            if gold.kind in kinds or answer.kind in kinds:
                return compare(gold, answer)
        return self._expressions(gold, answer)

    def _expressions(self, gold: Node, answer: Node) -> Answer:
        if has(gold, "pm", "mp") or has(answer, "pm", "mp"):
            return self._unordered(signs(gold), signs(answer), multiset=False)
        if has(gold, "base") or has(answer, "base"):
            return gold == answer or digits_and_base(gold) == digits_and_base(answer) != ""
        if has(gold, "list", "group", "matrix", "rel", "unit", "text") or has(
            answer, "list", "group", "matrix", "rel", "unit", "text"
        ):
            return None
        return self.judge.same(gold, answer)

    def _quantities(self, gold: Node, answer: Node) -> Answer:
        if {gold.kind, answer.kind} & {"list", "group", "matrix", "ratio", "time", "text"}:
            return self._spread_unit(gold, answer)
        gold, answer = quantities.with_letter_unit(gold, answer), quantities.with_letter_unit(answer, gold)
        mine, yours = quantities.quantity(gold), quantities.quantity(answer)
        if mine.unit is None or yours.unit is None:
            return False
        if quantities.is_percent(mine) or quantities.is_percent(yours):
            return self._percent(mine, yours)
        if mine.unit.dimension == yours.unit.dimension:
            return self.equal(quantities.scaled(mine), quantities.scaled(yours))
        if mine.unit.dimension and yours.unit.dimension:
            return False
        return either(self.equal(mine.value, yours.value), lambda: self._radians(mine, yours))

    def _radians(self, gold: quantities.Quantity, answer: quantities.Quantity) -> Answer:
        for angle, number in ((gold, answer), (answer, gold)):
            radians = quantities.as_radians(angle)
            if radians is not None and quantities.speaks_of_pi(number.value):
                return self.judge.same(radians, number.value)
        return False

    def _percent(self, gold: quantities.Quantity, answer: quantities.Quantity) -> Answer:
        if gold.unit == answer.unit:
            return self.equal(gold.value, answer.value)
        percent, other = (gold, answer) if quantities.is_percent(gold) else (answer, gold)
        if other.unit is None or other.unit.dimension or not (percent is gold or self.question.percent):
            return False
        return either(self.equal(gold.value, answer.value), lambda: self.judge.same(quantities.as_fraction(percent), other.value))

    def _spread_unit(self, gold: Node, answer: Node) -> Answer:
        """A unit behind a whole list or tuple says nothing about its members: drop it when the other side has none."""
        mine, yours = quantities.quantity(gold), quantities.quantity(answer)
        if mine.unit is None or yours.unit is None or "text" in (mine.value.kind, yours.value.kind):
            return False
        if quantities.is_percent(mine) or quantities.is_percent(yours):
            return False
        return self.equal(mine.value, yours.value)

    def _collections(self, gold: Node, answer: Node) -> Answer:
        if differently_named(answer) and not has(gold, "rel"):
            return self._assigned(gold, answer) if gold.kind == "group" else False
        if is_unordered(gold) and is_unordered(answer):
            mine, yours = members(gold), members(answer)
            sets = gold.value == "{}" and answer.value == "{}"
            return self._unordered(mine, yours, multiset=not sets)
        if is_unordered(answer) and gold.kind == "group":
            return self._assigned(gold, answer)
        if is_unordered(gold) and answer.kind == "group" and answer.value == "[]" and len(answer.args) > 2:
            return self._unordered(members(gold), list(answer.args), multiset=gold.value != "{}")
        if gold.kind == "group" and answer.kind == "group":
            return self._tuples(gold, answer)
        if "group" in (gold.kind, answer.kind) and not (is_unordered(gold) or is_unordered(answer)):
            return False
        return False if is_tuple(gold) or is_tuple(answer) else self._unordered(members(gold), members(answer), multiset=False)

    def _tuples(self, gold: Node, answer: Node) -> Answer:
        if len(gold.args) != len(answer.args):
            return False
        # Square brackets make an interval of two numbers, and only that; longer ones are a way to write a vector.
        if gold.value != answer.value and ("{}" in (gold.value, answer.value) or len(gold.args) == 2):
            return False
        return self._in_order(gold.args, answer.args)

    def _assigned(self, gold: Node, answer: Node) -> Answer:
        """`x = 1, y = 2` answers `(1, 2)` when the names are in order."""
        pairs = [(item.args[0].value, item.args[1]) for item in answer.args if item.kind == "rel" and item.args[0].kind == "sym"]
        names = [name for name, _ in pairs]
        if gold.value != "()" or len(pairs) != len(answer.args) or names != sorted(set(names)):
            return False
        return len(pairs) == len(gold.args) and self._in_order(gold.args, [value for _, value in pairs])

    def _in_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> Answer:
        result: Answer = True
        for mine, yours in zip(gold, answer, strict=True):
            same = self.equal(mine, yours)
            if same is False:
                return False
            result = result and same
        return result

    def _unordered(self, gold: Sequence[Node], answer: Sequence[Node], multiset: bool) -> Answer:
        if len(gold) > 40 or len(answer) > 40:
            return None
        if not multiset:
            gold, answer = self._distinct(gold), self._distinct(answer)
        if len(gold) != len(answer):
            return False
        table = [[self.equal(mine, yours) for yours in answer] for mine in gold]
        if matching([[cell is True for cell in row] for row in table]):
            return True
        return None if matching([[cell is not False for cell in row] for row in table]) else False

    def _distinct(self, items: Sequence[Node]) -> Sequence[Node]:
        kept: list[Node] = []
        for item in items:
            if not any(self.equal(other, item) for other in kept):
                kept.append(item)
        return kept

    def _matrices(self, gold: Node, answer: Node) -> Answer:
        gold, answer = as_matrix(gold), as_matrix(answer)
        if gold.kind != answer.kind or shape(gold) != shape(answer):
            return False
        if gold.kind == "cases":
            return self._unordered(
                [row_as_tuple(row) for row in gold.args], [row_as_tuple(row) for row in answer.args], multiset=True
            )
        cells = [[cell for row in matrix.args for cell in row.args] for matrix in (gold, answer)]
        return self._in_order(*cells)

    def _ratios(self, gold: Node, answer: Node) -> Answer:
        if "time" in (gold.kind, answer.kind):
            return same_time(gold, answer)
        mine, yours = (side.args if side.kind == "ratio" else fraction(side) for side in (gold, answer))
        if len(mine) != len(yours):
            return False
        if any(exact(part) == 0 for part in (*mine, *yours)):
            return self._in_order(mine, yours)  # 5:00 and 6:00 are proportional, but what they are is times
        products = [
            self.judge.same(Node("mul", (mine[0], other)), Node("mul", (yours[0], one)))
            for one, other in zip(mine[1:], yours[1:], strict=True)
        ]
        return False if False in products else None if None in products else True
