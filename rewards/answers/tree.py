"""The tree that an answer is read into: small, immutable, without behaviour beyond a few questions one can ask.

Kinds of node, with their arguments and value:
`num` (a `Number`), `sym` (name), `const` (pi, e, i, oo), `text` (words), `unit` (words; the argument is the value),
`percent`, `degree`, `neg`, `add`, `mul`, `div`, `pow`, `pm` and `mp` (one or two arguments), `fact`, `abs`, `floor`, `ceil`,
`fn` (name), `log` (argument, base), `root` (argument, index), `binom`, `apply` (name of an unknown function),
`base` (digits and base), `rel` (operators; one argument more than operators), `group` (opening and closing bracket),
`list` (its separators), `union`, `inter`, `minus_set`, `matrix`, `vmatrix` and `cases` (rows of kind `row`), `ratio`, `time`
(half of the day), `builder` (element, conditions).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True)
class Number:
    """A literal: its exact value, and how many significant digits it was given to when it has a decimal point (else 0)."""

    value: Fraction
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an answer."""

    kind: str
    args: tuple["Node", ...] = ()
    value: Any = None


def num(value: int | Fraction) -> Node:
    """Return a number node without a decimal point."""
    return Node("num", value=Number(Fraction(value)))


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and everything below it."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack += current.args


def symbols(node: Node) -> frozenset[str]:
    """Return the names of the free symbols."""
    return frozenset(part.value for part in walk(node) if part.kind == "sym")


def has(node: Node, *kinds: str) -> bool:
    """Tell whether a node of one of these kinds occurs."""
    return any(part.kind in kinds for part in walk(node))
