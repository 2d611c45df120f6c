r"""Comparing two answers by type, the gold answer's type leading.

Tuples are ordered, sets and lists of solutions are not; intervals are compared as sets of reals, and so are inequalities; `x = 5`
answers 5; an equation is answered by an equation that says the same. The leaves are compared by a `Judge`: exactly in the
caller's process (which leaves irrational and symbolic ones undecided), by value in a worker. The result is True, False, or None
for undecided; ambiguous cases are not equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from . import quantities
from .exact import exact
from .regions import NotARegionError, is_region, region, same_region, variable
from .texts import words
from .tree import Node, has, num, symbols, walk

Answer = bool | None
_AXES = frozenset(("x", "y", "z", "r", r"\theta"))
_APPROXIMATE = frozenset(("~",))


@dataclass(frozen=True, slots=True)
class Question:
    """What the question says about the form of the answer. `equation` is None when there is no question to read."""

    percent: bool = False
    equation: bool | None = None
    tolerance: float = 0.0


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: the judge of leaves and what the question says."""

    judge: Judge
    question: Question

    def equal(self, gold: Node, answer: Node) -> Answer:
        """Compare whole answers."""
        gold, answer = _as_solutions(_as_line(gold)), _as_solutions(_as_line(answer))
        if gold == answer:
            return True
        if gold.kind == "rel" or answer.kind == "rel" or is_region(gold) or is_region(answer):
            return self._relations(gold, answer)
        if quantities.is_quantity(gold) or quantities.is_quantity(answer):
            return self._quantities(gold, answer)
        if _is_matrix(gold) or _is_matrix(answer):
            return self._matrices(gold, answer)
        if "text" in (gold.kind, answer.kind):
            return words(_spelled(gold)) == words(_spelled(answer)) != ""
        for kinds, compare in (
            (("list", "group"), self._collections),
            (("cases", "vmatrix"), self._matrices),
            (("ratio", "time"), self._ratios),
        ):
            if gold.kind in kinds or answer.kind in kinds:
                return compare(gold, answer)
        return self._expressions(gold, answer)

    # Expressions.

    def _expressions(self, gold: Node, answer: Node) -> Answer:
        if has(gold, "pm", "mp") or has(answer, "pm", "mp"):
            return self._unordered(_signs(gold), _signs(answer), multiset=False)
        if has(gold, "base") or has(answer, "base"):
            return gold == answer or _digits_and_base(gold) == _digits_and_base(answer) != ""
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
        return _either(self.equal(mine.value, yours.value), lambda: self._radians(mine, yours))

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
        return _either(
            self.equal(gold.value, answer.value), lambda: self.judge.same(quantities.as_fraction(percent), other.value)
        )

    def _spread_unit(self, gold: Node, answer: Node) -> Answer:
        """A unit behind a whole list or tuple says nothing about its members: drop it when the other side has none."""
        mine, yours = quantities.quantity(gold), quantities.quantity(answer)
        if mine.unit is None or yours.unit is None or "text" in (mine.value.kind, yours.value.kind):
            return False
        return self.equal(mine.value, yours.value)

    # Collections.

    def _collections(self, gold: Node, answer: Node) -> Answer:
        if _is_unordered(gold) and _is_unordered(answer):
            mine, yours = _members(gold), _members(answer)
            sets = gold.value == "{}" and answer.value == "{}"
            return self._unordered(mine, yours, multiset=not sets)
        if _is_unordered(answer) and gold.kind == "group":
            return self._assigned(gold, answer)
        if _is_unordered(gold) and answer.kind == "group" and answer.value == "[]" and len(answer.args) > 2:
            return self._unordered(_members(gold), list(answer.args), multiset=gold.value != "{}")
        if gold.kind == "group" and answer.kind == "group":
            return self._tuples(gold, answer)
        if "group" in (gold.kind, answer.kind) and not (_is_unordered(gold) or _is_unordered(answer)):
            return False
        return (
            False if _is_tuple(gold) or _is_tuple(answer) else self._unordered(_members(gold), _members(answer), multiset=False)
        )

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
        if _matching([[cell is True for cell in row] for row in table]):
            return True
        return None if _matching([[cell is not False for cell in row] for row in table]) else False

    def _distinct(self, items: Sequence[Node]) -> Sequence[Node]:
        kept: list[Node] = []
        for item in items:
            if not any(self.equal(other, item) for other in kept):
                kept.append(item)
        return kept

    def _matrices(self, gold: Node, answer: Node) -> Answer:
        gold, answer = _as_matrix(gold), _as_matrix(answer)
        if gold.kind != answer.kind or _shape(gold) != _shape(answer):
            return False
        if gold.kind == "cases":
            return self._unordered([_tuple(row) for row in gold.args], [_tuple(row) for row in answer.args], multiset=True)
        cells = [[cell for row in matrix.args for cell in row.args] for matrix in (gold, answer)]
        return self._in_order(*cells)

    def _ratios(self, gold: Node, answer: Node) -> Answer:
        if "time" in (gold.kind, answer.kind):
            return _same_time(gold, answer)
        mine, yours = (side.args if side.kind == "ratio" else _fraction(side) for side in (gold, answer))
        if len(mine) != len(yours):
            return False
        if any(exact(part) == 0 for part in (*mine, *yours)):
            return self._in_order(mine, yours)  # 5:00 and 6:00 are proportional, but what they are is times
        products = [
            self.judge.same(Node("mul", (mine[0], other)), Node("mul", (yours[0], one)))
            for one, other in zip(mine[1:], yours[1:], strict=True)
        ]
        return False if False in products else None if None in products else True

    # Equations and inequalities.

    def _relations(self, gold: Node, answer: Node) -> Answer:
        if is_region(gold) or is_region(answer):
            return self._regions(gold, answer)
        if gold.kind == "rel" and answer.kind == "rel":
            return self._equations(gold, answer)
        return self._gold_equation(gold, answer) if gold.kind == "rel" else self._answer_equation(gold, answer)

    def _regions(self, gold: Node, answer: Node) -> Answer:
        if (
            gold.kind == "rel"
            and answer.kind == "rel"
            and "in" not in (*gold.value, *answer.value)
            and variable(gold) != variable(answer)
        ):
            return self._inequalities(gold, answer)
        if answer.kind == "rel" and answer.value in (("in",), ("=",)) and _is_label(answer.args[0]):
            return self.equal(gold, answer.args[1])
        if gold.kind == "rel" and gold.value == ("in",):
            return self.equal(gold.args[1], answer)
        try:
            mine, yours = region(gold, self.judge.number), region(answer, self.judge.number)
        except NotARegionError:
            return self._parts(gold, answer)
        return same_region(mine, yours, self.judge.same_number)

    def _parts(self, gold: Node, answer: Node) -> Answer:
        """Sets that are not understood are equal when they are built alike from equal parts, and else undecided."""
        if gold.kind == answer.kind == "rel":
            return self._inequalities(gold, answer)
        if gold.kind == answer.kind == "group":
            return gold.value == answer.value and len(gold.args) == len(answer.args) and self._in_order(gold.args, answer.args)
        # A set on one side only: it may be one that is not understood, but it is no number.
        return None if all(is_region(side) or side.kind in ("group", "list", "rel") for side in (gold, answer)) else False

    def _inequalities(self, gold: Node, answer: Node) -> Answer:
        gold, answer = _ascending(gold), _ascending(answer)
        if len(gold.value) != 1 or len(answer.value) != 1:
            same_shape = gold.value == answer.value and len(gold.args) == len(answer.args)
            return self._in_order(gold.args, answer.args) if same_shape else None
        (mine, my_side), (yours, your_side) = _to_less(gold), _to_less(answer)
        if mine != yours or symbols(gold) != symbols(answer):
            return False
        return _either(self.judge.same(my_side, your_side), lambda: None)

    def _equations(self, gold: Node, answer: Node) -> Answer:
        if _is_constant(gold):
            return _any_of([self.equal(value, answer) for value in gold.args])
        if set(gold.value) != {"="} or set(answer.value) != {"="}:
            return gold.value == answer.value and self._in_order(gold.args, answer.args)
        if len(gold.args) != 2 or len(answer.args) != 2:
            return len(gold.args) == len(answer.args) and self._in_order(gold.args, answer.args)
        if not all(_is_expression(side) for side in (*gold.args, *answer.args)):
            return self._in_order(gold.args, answer.args)
        return self._same_equation(gold, answer)

    def _same_equation(self, gold: Node, answer: Node) -> Answer:
        if gold.args[0] == answer.args[0] and _is_label(gold.args[0]):
            same = self.equal(gold.args[1], answer.args[1])
            if same is not False or gold.args[0].kind != "sym" or gold.args[0].value not in symbols(answer.args[1]):
                return same
        if symbols(gold) != symbols(answer):
            return False
        mine, yours = (_difference(side.args[0], side.args[1]) for side in (gold, answer))
        return self.judge.proportional(mine, yours)

    def _gold_equation(self, gold: Node, answer: Node) -> Answer:
        """A value for a gold equation: only where that equation merely names the value."""
        if _is_constant(gold):
            return _any_of([self.equal(value, answer) for value in gold.args])
        name, value = gold.args[0], gold.args[-1]
        if set(gold.value) != {"="} or not _is_label(name):
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
        if set(answer.value) <= {"=", "~"} and _is_constant(answer):
            return self._calculation(gold, answer)
        if "~" in answer.value and set(answer.value) <= {"=", "~"} and _is_label(first):
            rest = answer.args[1:]
            return self.equal(gold, rest[0] if len(rest) == 1 else Node("rel", rest, answer.value[1:]))
        if set(answer.value) != {"="}:
            return False
        if len(answer.args) == 2 and last.kind == "sym" and not _is_label(first):
            return self.equal(gold, first)
        if not _is_label(first):
            return False
        constant = [side for side in answer.args[1:] if not symbols(side)]
        agree = [self.equal(last, side) for side in constant if side is not last]
        return False if False in agree else self.equal(gold, last)

    def _calculation(self, gold: Node, answer: Node) -> Answer:
        """A chain of constants: its end counts if the chain is true; with an approximation in it, its exact beginning."""
        if "~" in answer.value:
            near = self._near(answer.args)
            if not near:
                return near
            exact_part = answer.args[: answer.value.index("~") + 1]
            return _any_of([self.equal(gold, exact_part[-1]), self.equal(gold, answer.args[-1])])
        agree = [self.equal(answer.args[-1], side) for side in answer.args[:-1]]
        return False if False in agree else self.equal(gold, answer.args[-1])

    def _near(self, sides: Sequence[Node]) -> Answer:
        """Tell whether all sides of an approximation lie within 2%: what claims that 5 is about 6 is no answer."""
        try:
            values = [self.judge.number(quantities.quantity(side).value, {}) for side in sides]
        except NotARegionError:
            return None
        return bool(max(values) - min(values) <= abs(max(values, key=abs)) / 50)


def _digits_and_base(node: Node) -> str:
    """`FF_{16}` may have been read as a product of symbols."""
    if node.kind == "base":
        return f"{node.value[0]}_{node.value[1]}"
    return _spelled(node).upper()


def _as_solutions(node: Node) -> Node:
    r"""Solutions that name their variable once or each time: `x = 2, -2`, `x = 2 \text{ or } x = 3`, `x = \pm 2`."""
    if node.kind == "rel" and node.value == ("=",) and node.args[0].kind == "sym" and has(node.args[1], "pm", "mp"):
        return node.args[1]
    if node.kind != "list" or node.args[0].kind != "rel" or node.args[0].args[0].kind != "sym":
        return node
    name = node.args[0].args[0]
    named = [item for item in node.args if item.kind == "rel"]
    if any(item.value != ("=",) or item.args[0] != name for item in named):
        return node
    return Node("list", tuple(item.args[1] if item.kind == "rel" else item for item in node.args), node.value)


def _as_line(node: Node) -> Node:
    return Node("sym", value="bbR") if node.kind == "text" and words(str(node.value)) == "all real numbers" else node


def _spelled(node: Node) -> str:
    """Words as they were written: letters in a row may have been read as a product."""
    if node.kind == "mul":
        return "".join(_spelled(arg) for arg in node.args)
    return str(node.value) if node.kind in ("text", "sym", "const") else ""


def _either(first: Answer, second: Callable[[], Answer]) -> Answer:
    return True if first else _any_of([first, second()])


def _any_of(answers: Sequence[Answer]) -> Answer:
    return True if True in answers else None if None in answers else False


def _difference(left: Node, right: Node) -> Node:
    return left if right == num(0) else Node("add", (left, Node("neg", (right,))))


def _ascending(node: Node) -> Node:
    """Write `c > b > a` as `a < b < c`."""
    if all(operator in (">", ">=") for operator in node.value):
        return Node("rel", node.args[::-1], tuple(operator.replace(">", "<") for operator in node.value[::-1]))
    return node


def _to_less(node: Node) -> tuple[str, Node]:
    """Write an inequality as `side < 0` or `side <= 0` (or `side != 0`)."""
    (operator,), (left, right) = node.value, node.args
    if operator in (">", ">="):
        left, right, operator = right, left, operator.replace(">", "<")
    return operator, _difference(left, right)


def _is_constant(node: Node) -> bool:
    return not symbols(node) and not has(node, "apply", "text")


def _is_label(node: Node) -> bool:
    """A name for a value: a symbol, `f(2)`, `AB`, `a + b`, `(x, y)`, words. Nothing with a number of its own in it."""
    if node.kind == "group" and node.value == "()":
        return all(arg.kind == "sym" for arg in node.args)
    if node.kind in ("apply", "text"):
        return True
    return bool(symbols(node)) and not has(node, "num", "rel", "group", "list", "const") and has(node, "sym")


def _is_expression(node: Node) -> bool:
    return not any(
        part.kind in ("group", "list", "matrix", "text", "unit", "rel", "apply", "cases", "ratio") for part in walk(node)
    )


def _is_unordered(node: Node) -> bool:
    return node.kind == "list" or (node.kind == "group" and node.value == "{}")


def _is_tuple(node: Node) -> bool:
    return node.kind == "group" and node.value != "{}"


def _matching(allowed: list[list[bool]]) -> bool:
    """Tell whether rows and columns of a square table can be paired off (augmenting paths)."""
    partner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, possible in enumerate(allowed[row]):
            if possible and column not in seen:
                seen.add(column)
                if column not in partner or place(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(allowed)))


def _members(node: Node) -> list[Node]:
    members = node.args if _is_unordered(node) else (node,)
    return [signed for member in members for signed in _signs(member)]


def _signs(node: Node) -> list[Node]:
    """The two values of an expression with plus-minus signs in it, which all go together."""
    if not has(node, "pm", "mp"):
        return [node]
    return [_choose(node, "pm"), _choose(node, "mp")]


def _choose(node: Node, plus: str) -> Node:
    args = tuple(_choose(arg, plus) for arg in node.args)
    if node.kind not in ("pm", "mp"):
        return Node(node.kind, args, node.value)
    last = args[-1] if node.kind == plus else Node("neg", (args[-1],))
    return last if len(args) == 1 else Node("add", (args[0], last))


def _is_matrix(node: Node) -> bool:
    return node.kind == "matrix" or (node.kind in ("neg", "add", "mul", "div") and has(node, "matrix"))


def _as_matrix(node: Node) -> Node:
    """`[[1, 2], [3, 4]]` is a matrix, and so are sums and multiples of matrices."""
    if node.kind in ("neg", "add", "mul", "div"):
        return _matrix_arithmetic(node)
    rows = node.args
    if (
        node.kind == "group"
        and node.value in ("[]", "()")
        and rows
        and all(row.kind == "group" and row.value == node.value for row in rows)
    ):
        return Node("matrix", tuple(Node("row", row.args) for row in rows))
    return node


def _matrix_arithmetic(node: Node) -> Node:
    parts = [_as_matrix(arg) for arg in node.args]
    matrices = [part for part in parts if part.kind == "matrix"]
    if node.kind == "add" and len(matrices) == 2 and _shape(matrices[0]) == _shape(matrices[1]):
        rows = [
            Node("row", tuple(Node("add", cells) for cells in zip(left.args, right.args, strict=True)))
            for left, right in zip(matrices[0].args, matrices[1].args, strict=True)
        ]
        return Node("matrix", tuple(rows))
    if len(matrices) != 1 or node.kind == "add" or (node.kind == "div" and parts[1].kind == "matrix"):
        return node
    place = parts.index(matrices[0])

    def cell(inner: Node) -> Node:
        return Node(node.kind, tuple(inner if n == place else part for n, part in enumerate(parts)))

    return Node("matrix", tuple(Node("row", tuple(cell(inner) for inner in row.args)) for row in matrices[0].args))


def _shape(matrix: Node) -> list[int]:
    return [len(row.args) for row in matrix.args]


def _tuple(row: Node) -> Node:
    return Node("group", row.args, "()")


def _fraction(node: Node) -> tuple[Node, ...]:
    return node.args if node.kind == "div" else (node, num(1))


def _same_time(gold: Node, answer: Node) -> Answer:
    clocks = [_clock(side) for side in (gold, answer)]
    if None in clocks:
        return False
    (mine, my_half), (yours, your_half) = clocks  # type: ignore[misc]
    if my_half and your_half:
        return bool(mine == yours and my_half == your_half)
    half = my_half or your_half
    marked, bare = (mine, yours) if my_half else (yours, mine)
    afternoon = (marked[0] % 12 + (12 if half == "p" else 0), *marked[1:])
    return bool(bare in (marked, afternoon))


def _clock(node: Node) -> tuple[tuple[int, ...], str] | None:
    """(hours, minutes, seconds) and "a", "p" or nothing."""
    if node.kind not in ("ratio", "time") or not 2 <= len(node.args) <= 3 or any(arg.kind != "num" for arg in node.args):
        return None
    values = [int(arg.value.value) for arg in node.args]
    return (*values, *[0] * (3 - len(values))), str(node.value or "")
