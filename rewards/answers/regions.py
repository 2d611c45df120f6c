r"""Sets of real numbers: intervals, unions, complements, inequalities in one variable, all as one canonical form.

A region is a sorted tuple of disjoint spans. Endpoints are numbers of whatever kind the caller's `number` returns (fractions in
process, many-digit floats in a worker) or infinities. Not covered: inequalities that are not linear in the variable, except
`|x| < a`; sets of integers.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .tree import Node, symbols

Number = Callable[[Node, dict[str, Any]], Any]
INFINITY = math.inf


class NotARegionError(Exception):
    """This is not a set of real numbers in a form that is covered."""


class Span(NamedTuple):
    """An interval; a point is a closed span of no length."""

    low: Any
    low_closed: bool
    high: Any
    high_closed: bool


Region = tuple[Span, ...]
LINE: Region = (Span(-INFINITY, False, INFINITY, False),)
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
_INEQUALITIES = frozenset(("<", ">", "<=", ">=", "!="))


def is_region(node: Node) -> bool:
    """Tell whether `node` can only be a set of reals (a pair of numbers in round brackets may be a point as well)."""
    if node.kind in ("union", "inter", "minus_set", "builder"):
        return True
    if node.kind == "sym":
        return bool(node.value == "bbR")
    if node.kind == "group" and len(node.args) == 2:
        return node.value in ("(]", "[)") or (node.value != "{}" and any(_infinite(arg) for arg in node.args))
    if node.kind == "rel":
        return bool(_INEQUALITIES.intersection(node.value)) or node.value == ("in",)
    return node.kind == "list" and all(is_region(arg) for arg in node.args)


def region(node: Node, number: Number) -> Region:
    """Return the canonical form of `node`. Raises NotARegionError."""
    if node.kind == "group":
        return _points(node, number) if node.value == "{}" else _interval(node, number)
    if node.kind == "union":
        return _union(region(node.args[0], number), region(node.args[1], number))
    if node.kind == "inter":
        return _intersection(region(node.args[0], number), region(node.args[1], number))
    if node.kind == "minus_set":
        return _intersection(region(node.args[0], number), _complement(region(node.args[1], number)))
    if node.kind == "sym" and node.value == "bbR":
        return LINE
    if node.kind == "builder" and len(node.args) >= 2:
        return _all([region(arg, number) for arg in node.args[1:]])
    if node.kind == "rel":
        return _inequality(node, number)
    if node.kind == "list":
        if not variable(node):
            raise NotARegionError("not one variable")
        parts = [region(arg, number) for arg in node.args]
        # A comma means "and" where both can hold (x >= -2, x != 3), else "or" (x < -1, x > 1).
        both = _all(parts) if "or" not in node.value else ()
        return both if both or node.value == "and" else _any(parts)
    raise NotARegionError(node.kind)


def same_region(left: Region, right: Region, same: Callable[[Any, Any], bool]) -> bool:
    """Compare canonical forms, endpoints by `same`."""
    if len(left) != len(right):
        return False
    return all(
        a.low_closed == b.low_closed and a.high_closed == b.high_closed and same(a.low, b.low) and same(a.high, b.high)
        for a, b in zip(left, right, strict=True)
    )


def variable(node: Node) -> str:
    """The variable that inequalities in `node` speak of, if any: `x < 3` and `t < 3` are different answers."""
    names = symbols(node) - {"bbR", "bbZ", "bbN"}
    return next(iter(names)) if len(names) == 1 else ""


def _infinite(node: Node) -> bool:
    return (node.kind == "const" and node.value == "oo") or (node.kind == "neg" and _infinite(node.args[0]))


def _endpoint(node: Node, number: Number) -> Any:
    if node.kind == "const" and node.value == "oo":
        return INFINITY
    if node.kind == "neg" and _infinite(node.args[0]):
        return -INFINITY
    if symbols(node):
        raise NotARegionError("a symbol as an endpoint")
    return number(node, {})


def _interval(node: Node, number: Number) -> Region:
    if len(node.args) != 2:
        raise NotARegionError("not a pair")
    low, high = (_endpoint(arg, number) for arg in node.args)
    opening, closing = node.value
    if low > high or (low == high and node.value != "[]"):
        raise NotARegionError("the ends are in the wrong order")
    return (Span(low, opening == "[", high, closing == "]"),)


def _points(node: Node, number: Number) -> Region:
    return _any([(Span(value, True, value, True),) for value in (_endpoint(arg, number) for arg in node.args)])


def _inequality(node: Node, number: Number) -> Region:
    if node.value == ("in",) and node.args[0].kind == "sym":
        return region(node.args[1], number)
    name = variable(node)
    if not name:
        raise NotARegionError("not one variable")
    parts = [
        _half_line(left, operator, right, name, number)
        for left, operator, right in zip(node.args, node.value, node.args[1:], strict=False)
    ]
    return _all(parts)


def _half_line(left: Node, operator: str, right: Node, name: str, number: Number) -> Region:
    if operator not in _FLIPPED:
        raise NotARegionError(operator)
    for side, other, direction in ((left, right, operator), (right, left, _FLIPPED[operator])):
        if side.kind == "abs" and side.args[0] == Node("sym", value=name) and not symbols(other):
            return _absolute(direction, number(other, {}))
        if side == Node("sym", value=name) and not symbols(other):
            return _beyond(direction, _endpoint(other, number))
    return _linear(left, operator, right, name, number)


def _linear(left: Node, operator: str, right: Node, name: str, number: Number) -> Region:
    at = [number(left, {name: place}) - number(right, {name: place}) for place in (0, 1, 2, 5)]
    slope = at[1] - at[0]
    bend = max(abs(at[2] - at[0] - 2 * slope), abs(at[3] - at[0] - 5 * slope))
    if abs(slope) < 1e-20 or bend > 1e-20 * max(1, abs(slope)):
        raise NotARegionError("not linear")
    return _beyond(operator if slope > 0 else _FLIPPED[operator], -at[0] / slope)


def _beyond(operator: str, bound: Any) -> Region:
    if operator == "=":
        return (Span(bound, True, bound, True),)
    if operator == "!=":
        return (Span(-INFINITY, False, bound, False), Span(bound, False, INFINITY, False))
    if operator in ("<", "<="):
        return (Span(-INFINITY, False, bound, operator == "<=" and bound != INFINITY),)
    return (Span(bound, operator == ">=" and bound != -INFINITY, INFINITY, False),)


def _absolute(operator: str, bound: Any) -> Region:
    if bound <= 0:
        raise NotARegionError("an absolute value against nothing positive")
    inside = (Span(-bound, operator in ("<=", ">"), bound, operator in ("<=", ">")),)
    return inside if operator in ("<", "<=") else _complement(inside)


def _all(parts: list[Region]) -> Region:
    whole = LINE
    for part in parts:
        whole = _intersection(whole, part)
    return whole


def _any(parts: list[Region]) -> Region:
    whole: Region = ()
    for part in parts:
        whole = _union(whole, part)
    return whole


def _union(left: Region, right: Region) -> Region:
    spans = sorted([*left, *right], key=lambda span: (span.low, not span.low_closed))
    merged: list[Span] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last and (span.low < last.high or (span.low == last.high and (span.low_closed or last.high_closed))):
            high, closed = max((last.high, last.high_closed), (span.high, span.high_closed))
            merged[-1] = Span(last.low, last.low_closed, high, closed)
        else:
            merged.append(span)
    return tuple(merged)


def _complement(spans: Region) -> Region:
    gaps, low, low_closed = [], -INFINITY, False
    for span in spans:
        if span.low > low or (span.low == low and low_closed and not span.low_closed):
            gaps.append(Span(low, low_closed, span.low, not span.low_closed and span.low != -INFINITY))
        low, low_closed = span.high, not span.high_closed
    if low < INFINITY:
        gaps.append(Span(low, low_closed, INFINITY, False))
    return tuple(gaps)


def _intersection(left: Region, right: Region) -> Region:
    return _complement(_union(_complement(left), _complement(right)))
