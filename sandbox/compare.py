"""Compares what a program wrote, or claims, with what was expected. On the host, after the program is dead.

`lines` is LiveCodeBench's rule: stripped lines equal, or equal token by token as decimal numbers. `exact` allows for a missing
last newline, `tokens` for any white space, `tolerance` also for small differences of numbers. The output may be hostile: it
is walked, not split, so that it costs time and memory in proportion to what was expected. A `checker` is not run here (see
`judging`): it is a program and belongs into the sandbox.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any, Literal

_TOKEN = re.compile(r"\S+")
_LONGEST_NUMBER = 400
_ROOM = 1 << 16


@dataclass(frozen=True, slots=True)
class Comparison:
    """How answers are compared. `absolute` and `relative` matter for "tolerance", and either one suffices.

    `checker` is the source of a program that defines `check(stdin, output, expected)` and returns exactly True for a pass
    (for calls: `check(arguments, value, expected)`).
    """

    rule: Literal["lines", "exact", "tokens", "tolerance", "checker"] = "lines"
    absolute: float = 1e-9
    relative: float = 1e-9
    checker: str = ""

    def __post_init__(self) -> None:
        if (self.rule == "checker") != bool(self.checker):
            raise ValueError("a checker program and the rule 'checker' belong together")


def text_difference(output: bytes, expected: str, how: Comparison) -> str:
    """Return "" when `output` is right, else one line that says where it is not."""
    text = output.decode("utf-8", "replace")
    if how.rule == "exact":
        return "" if _but_last_newline(text) == _but_last_newline(expected) else _first_difference(text, expected)
    if how.rule == "lines":
        return _lines_difference(text, expected)
    for number, (got, wanted) in enumerate(zip_longest(_tokens(text), _tokens(expected)), 1):
        if got != wanted and not (how.rule == "tolerance" and _close(got, wanted, how)):
            return f"token {number}: expected {_show(wanted)}, got {_show(got)}"
    return ""


def value_difference(value: Any, expected: Any, how: Comparison) -> str:
    """Return "" when a value (plain data) is right. A tuple at the top equals a list, as in LiveCodeBench."""
    value = list(value) if type(value) is tuple else value
    expected = list(expected) if type(expected) is tuple else expected
    equal = _values_close(value, expected, how) if how.rule == "tolerance" else value == expected
    return "" if equal else f"expected {_show(expected)}, got {_show(value)}"


def _lines_difference(text: str, expected: str) -> str:
    text, expected = text.strip(), expected.strip()
    got, wanted = text.count("\n") + 1, expected.count("\n") + 1
    if got != wanted:
        return f"expected {wanted} lines, got {got}"
    for number, (line, right) in enumerate(zip(_lines(text), _lines(expected), strict=True), 1):
        if line.strip() != right.strip() and not _same_decimals(line, right):
            return f"line {number}: expected {_show(right.strip())}, got {_show(line.strip())}"
    return ""


def _lines(text: str) -> Iterator[str]:
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _same_decimals(line: str, right: str) -> bool:
    pairs = zip_longest(_tokens(line), _tokens(right))
    return all(a is not None and b is not None and _same_decimal(a, b) for a, b in pairs)


def _same_decimal(a: str, b: str) -> bool:
    first, second = _decimal(a), _decimal(b)
    return first is not None and second is not None and first == second


def _decimal(token: str) -> Decimal | None:
    if len(token) > _LONGEST_NUMBER:
        return None
    try:
        number = Decimal(token)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _tokens(text: str) -> Iterator[str]:
    return (match.group() for match in _TOKEN.finditer(text))


def _close(got: str | None, wanted: str | None, how: Comparison) -> bool:
    if got is None or wanted is None:
        return False
    first, second = _decimal(got), _decimal(wanted)
    if first is None or second is None:
        return False
    return _near(float(first), float(second), how) or first == second


def _near(value: float, expected: float, how: Comparison) -> bool:
    return abs(value - expected) <= max(how.absolute, how.relative * abs(expected))


def _values_close(value: Any, expected: Any, how: Comparison) -> bool:
    if isinstance(expected, list | tuple) and type(value) is type(expected):
        return len(value) == len(expected) and all(map(lambda a, b: _values_close(a, b, how), value, expected))
    if isinstance(expected, dict) and isinstance(value, dict):
        return value.keys() == expected.keys() and all(_values_close(value[key], item, how) for key, item in expected.items())
    if type(expected) in (int, float) and type(value) in (int, float):
        try:
            return bool(value == expected) or _near(float(value), float(expected), how)
        except OverflowError:
            return False
    return bool(value == expected)


def _but_last_newline(text: str) -> str:
    return text[:-1] if text.endswith("\n") else text


def _first_difference(text: str, expected: str) -> str:
    same = min(len(text), len(expected))
    for start in range(0, same, _ROOM):  # a block at a time: a loop over characters is slow for long texts
        if text[start : start + _ROOM] != expected[start : start + _ROOM]:
            pairs = zip(text[start:], expected[start:], strict=False)
            at = start + next((i for i, (a, b) in enumerate(pairs) if a != b), same - start)
            return f"character {at + 1}: expected {_show(expected[at : at + 40])}, got {_show(text[at : at + 40])}"
    return f"expected {len(expected)} characters, got {len(text)}"


def _show(value: Any) -> str:
    """A short form of anything, with no more work than its length on the page."""
    if value is None:
        return "nothing"
    if isinstance(value, str | bytes):
        return repr(value[:80]) + ("..." if len(value) > 80 else "")
    if isinstance(value, list | tuple | set | frozenset | dict) and len(value) > 40:
        return f"a {type(value).__name__} of {len(value)} items"
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value) if not isinstance(value, list | tuple) else f"[{', '.join(map(_show, value))}]"
    return text if len(text) <= 120 else text[:117] + "..."
