"""Exact rational values of answers that have one: arithmetic on integers, decimals and fractions, roots that come out.

In process and in microseconds: every operation is bounded in the size of its result, and what would be larger is refused
(`guard.TooBigError`), before it is computed. Not covered: anything irrational (`evaluate`), anything with a symbol.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from .guard import TooBigError
from .tree import Node

MAX_BITS = 40_000
MAX_FACTORIAL = 3_000


def exact(node: Node) -> Fraction | None:
    """Return the rational value of `node`, or None when it has none or none that is plain to see. Raises TooBigError."""
    rule = _RULES.get(node.kind)
    if rule is None:
        return None
    values = []
    for arg in node.args:
        value = exact(arg)
        if value is None:
            return None
        values.append(value)
    if node.kind == "num":
        return node.value.value  # type: ignore[no-any-return]
    return _bounded(rule(*values))


def power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Return base ** exponent if it is rational. Raises TooBigError, also for towers whose top is too big to look at."""
    if base == 0 and exponent <= 0:
        return None
    if exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(base) != 1 and bits * abs(exponent.numerator) > MAX_BITS:
            raise TooBigError(
                f"a power of about {bits * abs(exponent.numerator):.0e} bits" if abs(exponent) < 10**300 else "a huge power"
            )
        return base**exponent.numerator if abs(base) != 1 else base ** (exponent.numerator % 2)
    if exponent.denominator > 64:
        return None
    root = _root(base, Fraction(exponent.denominator))
    return None if root is None else power(root, Fraction(exponent.numerator))


def _root(base: Fraction, index: Fraction) -> Fraction | None:
    """The real root when it is rational: `\\sqrt{9/4}`, `\\sqrt[3]{-8}`."""
    if index.denominator != 1 or not 1 <= index <= 64:
        return None
    n = index.numerator
    if base < 0:
        inner = _root(-base, index) if n % 2 else None
        return None if inner is None else -inner
    top, bottom = _integer_root(base.numerator, n), _integer_root(base.denominator, n)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _integer_root(value: int, n: int) -> int | None:
    if n == 2:
        found = math.isqrt(value)
    elif value.bit_length() > 1000:
        return None
    else:
        found = round(value ** (1 / n))
        found = next((near for near in (found - 1, found, found + 1) if near >= 0 and near**n == value), -1)
    return found if found >= 0 and found**n == value else None


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > MAX_FACTORIAL:
        raise TooBigError("a huge factorial")
    return Fraction(math.factorial(value.numerator))


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
    if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        return None
    if n > MAX_FACTORIAL:
        raise TooBigError("a huge binomial coefficient")
    return Fraction(math.comb(n.numerator, k.numerator))


def _divide(top: Fraction, bottom: Fraction) -> Fraction | None:
    return top / bottom if bottom else None


def _bounded(value: Fraction | None) -> Fraction | None:
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > 4 * MAX_BITS:
        raise TooBigError("a huge number")
    return value


_RULES: dict[str, Callable[..., Fraction | None]] = {
    "num": lambda: None,
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": _divide,
    "pow": power,
    "root": _root,
    "fact": _factorial,
    "binom": _binomial,
    "abs": lambda a: abs(a),
    "floor": lambda a: Fraction(math.floor(a)),
    "ceil": lambda a: Fraction(math.ceil(a)),
    "percent": lambda a: a / 100,
}
