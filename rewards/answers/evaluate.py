"""Values of expressions to many digits, at seeded points: can refute equality, and can accept it with stated confidence.

Free symbols get real values that look random but are the same in every process and run. An expression is taken as a real
function unless it names `i`: points where either side is not real, or not defined, say nothing. Two sides are equal when they
agree to 25 digits at every usable point and there are at least four of them (one, for constants); for two different elementary
expressions of the size of an answer the chance of that is negligible. Runs in workers only: it needs mpmath, and though
every operation is bounded (`guard.TooBigError`), hostile input may still cost milliseconds.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from .exact import MAX_FACTORIAL
from .guard import TooBigError
from .tree import Node, symbols, walk

DIGITS = 40
AGREE = mpmath.mpf(10) ** -25
_TINY = mpmath.mpf(10) ** -25
_MAX_EXPONENT = 20_000  # decimal digits a value may have before the point
_MIN_POINTS = 4
_RANGES = (
    (0.3, 2.9),
    (0.3, 2.9),
    (-3.1, -0.2),
    (4.1, 21.0),
    (-0.95, 0.95),
    (0.05, 0.95),
    (-9.0, 9.0),
    (1.1, 1.9),
    (25.0, 90.0),
    (-0.9, -0.1),
)
Point = Mapping[str, Any]


class UndefinedError(Exception):
    """The expression has no value here, or holds what cannot be evaluated."""


def points(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return seeded values for the symbols `names`, one dict per point."""
    return [{name: _value(name, index, low, high) for name in names} for index, (low, high) in enumerate(_RANGES)]


def _value(name: str, index: int, low: float, high: float) -> Any:
    seed = int.from_bytes(hashlib.sha256(f"{name}/{index}".encode()).digest()[:16], "big")
    return mpmath.mpf(low) + (mpmath.mpf(high) - low) * seed / (1 << 128)


def same_value(left: Node, right: Node) -> bool | None:
    """Tell whether two expressions are equal. None: not enough points where both have a value. Raises TooBigError."""
    return agree(left, right, close)


def same_up_to_factor(left: Node, right: Node) -> bool | None:
    """Tell whether left/right is one nonzero constant: two sides of equations that say the same."""
    factors: list[Any] = []

    def keeps(a: Any, b: Any) -> Any:
        if min(abs(a), abs(b)) < _TINY:
            return max(abs(a), abs(b)) < _TINY
        factors.append(a / b)
        return close(factors[0], factors[-1])

    return agree(left, right, keeps)


def same_up_to_constant(left: Node, right: Node) -> bool | None:
    """Tell whether left - right is constant: antiderivatives."""
    offsets: list[Any] = []

    def keeps(a: Any, b: Any) -> Any:
        offsets.append(a - b)
        return abs(offsets[0] - offsets[-1]) <= AGREE * max(1, abs(a), abs(b))

    return agree(left, right, keeps)


def agree(left: Node, right: Node, test: Callable[[Any, Any], Any]) -> bool | None:
    """Apply `test` at every usable point; False at the first that fails, None when there are too few."""
    names = symbols(left) | symbols(right)
    real = bool(names) and not any(part.kind == "const" and part.value == "i" for side in (left, right) for part in walk(side))
    usable = 0
    with mpmath.workdps(DIGITS):
        for point in points(sorted(names)) if names else [{}]:
            try:
                a, b = value(left, point, real), value(right, point, real)
            except UndefinedError:
                continue
            if not test(a, b):
                return False
            usable += 1
    return True if usable >= (_MIN_POINTS if names else 1) else None


def close(a: Any, b: Any) -> bool:
    """Tell whether two values agree to 25 digits."""
    scale = max(abs(a), abs(b))
    if scale < _TINY:
        # Zero, or small by intent? Rational answers never come here, and answers are not smaller than this otherwise.
        return True
    return bool(abs(a - b) <= AGREE * scale)


def _real(a: Any) -> bool:
    return bool(abs(mpmath.im(a)) <= AGREE * max(1, abs(a)))


def value(node: Node, point: Point, real: bool = False) -> Any:
    """Return the value of `node` at `point`; with `real`, no step on the way may leave the reals.

    Raises UndefinedError and TooBigError.
    """
    if node.kind == "num":
        fraction: Fraction = node.value.value
        return mpmath.mpf(fraction.numerator) / fraction.denominator
    if node.kind == "sym":
        if node.value not in point:
            raise UndefinedError(f"{node.value} has no value")
        return point[node.value]
    if node.kind == "const":
        return _constant_value(node.value)
    if node.kind == "fn":
        return _function(node, point, real)
    if node.kind == "apply":
        return _unknown_function(node, point, real)
    rule = _RULES.get(node.kind)
    if rule is None:
        raise UndefinedError(node.kind)
    arguments = [value(arg, point, real) for arg in node.args]
    try:
        return _bounded(rule(*arguments), real)
    except (ZeroDivisionError, ValueError, OverflowError, TypeError) as error:
        raise UndefinedError(str(error)) from None


def _unknown_function(node: Node, point: Point, real: bool) -> Any:
    """`f(2)` has some value, the same wherever it stands, and another than `f(3)` and `g(2)`."""
    phase = _value(str(node.value), 0, 1.0, 2.0)
    for index, argument in enumerate(node.args):
        phase += value(argument, point, real) * _value(str(node.value), index + 1, 1.0, 2.0)
    return 2 + mpmath.cos(phase)


def _constant_value(name: str) -> Any:
    if name == "oo":
        raise UndefinedError("infinity")
    return {"pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1)}[name] * 1


def _bounded(result: Any, real: bool) -> Any:
    if mpmath.isnan(result) or mpmath.isinf(result):
        raise UndefinedError("no finite value")
    if abs(mpmath.mag(result)) > _MAX_EXPONENT * 4 if result else False:
        raise TooBigError("a huge number")
    if real and not _real(result):
        raise UndefinedError("not real")
    return result


def _power(base: Any, exponent: Any) -> Any:
    if base == 0:
        if mpmath.re(exponent) > 0:
            return mpmath.mpf(0)
        raise UndefinedError("zero to a power that is not positive")
    if abs(exponent) * max(1, abs(mpmath.mag(base))) > _MAX_EXPONENT:
        raise TooBigError("a huge power")
    if _is_real_negative(base) and (odd := _odd_denominator(exponent)):
        return -((-base) ** exponent) if odd % 2 else (-base) ** exponent
    return base**exponent


def _is_real_negative(base: Any) -> bool:
    return bool(mpmath.im(base) == 0 and mpmath.re(base) < 0)


def _odd_denominator(exponent: Any) -> int:
    """The real root is meant by (-8)^{1/3}: return the numerator of an exponent with a small odd denominator, else 0."""
    if mpmath.im(exponent) != 0:
        return 0
    for bottom in (3, 5, 7, 9):
        top = mpmath.re(exponent) * bottom
        if abs(top - mpmath.nint(top)) < AGREE and mpmath.nint(top) % bottom:
            return int(mpmath.nint(top))
    return 0


def _root(base: Any, index: Any) -> Any:
    if index == 0:
        raise UndefinedError("a zeroth root")
    if _is_real_negative(base) and mpmath.im(index) == 0 and mpmath.nint(index) == index and int(mpmath.nint(index)) % 2:
        return -((-base) ** (1 / index))
    return _power(base, 1 / index)


def _factorial(argument: Any) -> Any:
    if abs(argument) > MAX_FACTORIAL:
        raise TooBigError("a huge factorial")
    return mpmath.gamma(argument + 1)


def _log(argument: Any, base: Any) -> Any:
    return mpmath.log(argument) / mpmath.log(base)


def _binomial(n: Any, k: Any) -> Any:
    if max(abs(n), abs(k)) > MAX_FACTORIAL:
        raise TooBigError("a huge binomial coefficient")
    return mpmath.binomial(n, k)


def _real_only(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(argument: Any) -> Any:
        if not _real(argument):
            raise UndefinedError("not real")
        nearest = mpmath.nint(mpmath.re(argument))
        # A value that is an integer but for rounding is that integer.
        return function(nearest if abs(nearest - argument) < AGREE * max(1, abs(argument)) else mpmath.re(argument))

    return checked


def _function(node: Node, point: Point, real: bool) -> Any:
    name = node.value
    arguments = [value(arg, point, real) for arg in node.args]
    if len(arguments) == 1 and name in _FUNCTIONS:
        if name in ("exp", "sinh", "cosh") and abs(arguments[0]) > _MAX_EXPONENT:
            raise TooBigError("a huge power")
        try:
            return _bounded(_FUNCTIONS[name](arguments[0]), real)
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise UndefinedError(str(error)) from None
    if name in ("max", "min") and all(_real(argument) for argument in arguments):
        return (max if name == "max" else min)(mpmath.re(argument) for argument in arguments)
    raise UndefinedError(name)


# \log without a base means different things to different people: dividing by some constant keeps its laws and nothing else.
_UNKNOWN_BASE = mpmath.mpf("1.37254981361")

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    **{
        name: getattr(mpmath, name)
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch", "exp")
    },
    "ln": mpmath.log,
    "log": lambda a: mpmath.log(a) / _UNKNOWN_BASE,
    "lg": lambda a: mpmath.log(a, 10),
    "abs": abs,
    "arcsin": mpmath.asin,
    "asin": mpmath.asin,
    "arccos": mpmath.acos,
    "acos": mpmath.acos,
    "arctan": mpmath.atan,
    "atan": mpmath.atan,
    "arccot": mpmath.acot,
    "arcsec": mpmath.asec,
    "arccsc": mpmath.acsc,
    "arcsinh": mpmath.asinh,
    "asinh": mpmath.asinh,
    "arccosh": mpmath.acosh,
    "acosh": mpmath.acosh,
    "arctanh": mpmath.atanh,
    "atanh": mpmath.atanh,
    "floor": _real_only(mpmath.floor),
    "ceil": _real_only(mpmath.ceil),
    "Re": mpmath.re,
    "Im": mpmath.im,
    "arg": mpmath.arg,
    "sgn": mpmath.sign,
    "cbrt": lambda a: _root(a, mpmath.mpf(3)),
}

_RULES: dict[str, Callable[..., Any]] = {
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": _power,
    "root": _root,
    "fact": _factorial,
    "binom": _binomial,
    "abs": abs,
    "floor": _real_only(mpmath.floor),
    "ceil": _real_only(mpmath.ceil),
    "percent": lambda a: a / 100,
    "degree": lambda a: a * mpmath.pi / 180,
    "log": _log,
}
