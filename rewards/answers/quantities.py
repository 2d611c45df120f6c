"""Values with a unit, a currency sign, a percent sign or a degree sign.

A unit may be left out or added when the other side has none; two units must measure the same thing, and are converted. Fifty
percent is 50 and one half to a gold answer in percent; a percentage for a gold answer without the sign counts only when the
question speaks of percent.
"""

from fractions import Fraction
from typing import NamedTuple

from .tree import Node, Number, has, num
from .units import SCALES, Unit, parse_unit

_NOTHING = Unit((), Fraction(1))
_DEGREE = Unit((("deg", 1),), Fraction(1))
_PERCENT = Unit((("percent", 1),), Fraction(1))


class Quantity(NamedTuple):
    """A value and its unit; `unit` is None where the words behind the value are no unit."""

    value: Node
    unit: Unit | None


def is_quantity(node: Node) -> bool:
    """Tell whether `node` carries a unit, a percent sign or a degree sign on the outside, or is a sum of such."""
    if node.kind == "add":
        return all(is_quantity(arg) for arg in node.args)
    return node.kind in ("unit", "percent", "degree") or (node.kind == "neg" and is_quantity(node.args[0]))


def quantity(node: Node) -> Quantity:
    """Take a node apart into its value and its unit."""
    if node.kind == "neg":
        inner = quantity(node.args[0])
        return Quantity(Node("neg", (inner.value,)), inner.unit)
    if node.kind == "add":
        return _sum(quantity(node.args[0]), quantity(node.args[1]), node)
    if node.kind == "percent":
        return Quantity(node.args[0], _PERCENT)
    if node.kind == "degree":
        return Quantity(node.args[0], _DEGREE)
    if node.kind != "unit":
        return Quantity(node, _NOTHING)
    inner = quantity(node.args[0])
    return _with_words(inner, str(node.value))


def _sum(left: Quantity, right: Quantity, node: Node) -> Quantity:
    """Add quantities of one dimension, in the unit of the first."""
    if left.unit is None or right.unit is None or left.unit.dimension != right.unit.dimension:
        return Quantity(node, None)
    factor = Number(right.unit.factor / left.unit.factor)
    return Quantity(Node("add", (left.value, Node("mul", (Node("num", value=factor), right.value)))), left.unit)


def _with_words(inner: Quantity, words: str) -> Quantity:
    first, _, rest = words.partition(" ")
    while first in SCALES:
        inner = Quantity(Node("mul", (inner.value, num(SCALES[first]))), inner.unit)
        first, _, rest = rest.partition(" ")
        rest = rest if first else ""
        words = f"{first} {rest}".strip()
    if not words or inner.unit is None:
        return inner
    unit = parse_unit(words)
    if unit is None or not inner.unit.dimension:
        return Quantity(inner.value, unit)
    # "$5 dollars", "90 degrees degrees": the same unit twice is that unit.
    return inner if unit == inner.unit else Quantity(inner.value, None)


def scaled(found: Quantity) -> Node:
    """Return the value in the base unit of its dimension."""
    factor = found.unit.factor if found.unit else Fraction(1)
    return found.value if factor == 1 else Node("mul", (Node("num", value=Number(factor)), found.value))


def with_letter_unit(node: Node, other: Node) -> Node:
    r"""Read `10m` as ten metres where the other side is in `\text{m}`."""
    if other.kind == "unit" and node.kind == "mul" and node.args[1] == Node("sym", value=str(other.value).strip()):
        return Node("unit", (node.args[0],), other.value)
    return node


def is_percent(found: Quantity) -> bool:
    """Tell whether the value is a percentage."""
    return found.unit == _PERCENT


def as_fraction(found: Quantity) -> Node:
    """A percentage as the number it is."""
    return Node("div", (found.value, num(100)))


def as_radians(found: Quantity) -> Node | None:
    """An angle in degrees as a number, None for other units."""
    return Node("degree", (found.value,)) if found.unit == _DEGREE else None


def speaks_of_pi(node: Node) -> bool:
    """Tell whether pi occurs: then an angle is in radians."""
    return has(node, "const")
