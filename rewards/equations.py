r"""Finding the equations between numbers that a text states, and telling whether they hold.

Found are chains like `12 * $3 = 36 = 6^2`, in plain notation and LaTeX, between words, with units and currency signs. An
equation holds when both sides have the same value, or when one side is a decimal and the other rounds to it (with `≈`, also to a
whole number). What does not speak of numbers alone says nothing, and neither does anything doubtful: letters, unknown commands,
units that differ, a sum whose beginning stands in words. So a wrong equation is hardly ever a misreading.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from .answers.exact import exact
from .answers.guard import TooBigError
from .answers.judges import ValueJudge
from .answers.normal import normalise
from .answers.parse import parse
from .answers.tokens import FUNCTIONS, UnreadableError
from .answers.tree import Node, symbols

LONGEST_SIDE = 200
"""Characters of one side beyond which an equation says nothing."""
MOST = 300
"""Equations of one text that are looked at."""

_TOKEN = re.compile(
    r"""(?P<relation>(?<![<>=!:])=(?![=>])|≈|\\approx(?![a-zA-Z]))
    |(?P<number>(?:[0-9]{1,3}(?:,(?:\\!)?[0-9]{3})+(?![0-9])|[0-9]{1,40})(?:\.[0-9]{1,40})?|\.[0-9]{1,40}|[¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])
    |(?P<skip>[\s$€£]|\\[$,;!: ]|\\(?:left|right|displaystyle|quad|qquad|[bB]igg?[lr]?)(?![a-zA-Z]))
    |(?P<delimiter>\\[()\[\]])
    |(?P<operator>\\(?:times|cdot|div)(?![a-zA-Z])|\*\*|[-+*/×÷·−–^])
    |(?P<open>\\(?:d|t)?frac(?![a-zA-Z])|\\sqrt\[[0-9]\]|\\(?:sqrt|boxed)(?![a-zA-Z])|[({])
    |(?P<close>[)}])
    |(?P<after>\\?%|!)
    |\\text(?:bf|rm)?\{(?P<text>[^{}]{0,60})\}
    |(?P<word>[^\W\d_]+)
    |(?P<other>\\[a-zA-Z]+|.)""",
    re.X | re.S,
)
_BULLET = re.compile(r"[ \t]*[-+*•][ \t]+")
_PLAIN = re.compile(r"-?[\d.,]+%?")


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation in a text: characters `start` to `end`, and whether it holds."""

    start: int
    end: int
    holds: bool


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Side:
    """One side: its text without units, its units, a word behind it that may be one, and where it stands.

    `doubtful` when it may be part of something else.
    """

    text: str
    units: frozenset[str]
    behind: frozenset[str]
    start: int
    end: int
    doubtful: bool


def equations(text: str) -> Iterator[Equation]:
    """Yield the equations of `text` that hold or do not, in order. Linear in the text, but for the values themselves."""
    found, offset = 0, 0
    for line in text.splitlines(keepends=True):
        if "=" in line or "≈" in line or "approx" in line:
            for equation in _in_line(line, offset):
                yield equation
                found += 1
                if found == MOST:
                    return
        offset += len(line)


def _in_line(line: str, offset: int) -> Iterator[Equation]:
    bullet = _BULLET.match(line)
    tokens = [_Token(m.lastgroup or "other", m.group(), m.start(), m.end()) for m in _TOKEN.finditer(line)]
    tokens = [token for token in tokens if token.kind != "skip" and not (bullet and token.start < bullet.end())]
    places = [index for index, token in enumerate(tokens) if token.kind == "relation"]
    taken = 0
    for number, place in enumerate(places):
        first = places[number - 1] + 1 if number else 0
        last = places[number + 1] if number + 1 < len(places) else len(tokens)
        left = _side(tokens[max(first, place - LONGEST_SIDE) : place], line, from_left=False)
        right = _side(tokens[place + 1 : min(last, place + 1 + LONGEST_SIDE)], line, from_left=True)
        if left is None or right is None or left.doubtful or right.doubtful:
            continue
        holds = _holds(left, right, about=tokens[place].text != "=")
        if holds is not None:
            start = tokens[place].start if left.start < taken else left.start
            yield Equation(offset + start, offset + right.end, holds)
            taken = right.end  # of a chain a = b = c, the second equation begins where the first ended


def _side(tokens: list[_Token], line: str, *, from_left: bool) -> _Side | None:
    """The mathematics next to the relation, away from it up to what is none."""
    kept, units, cut = _reach(tokens if from_left else tokens[::-1], from_left)
    kept, partner = _balanced(kept, from_left)
    if not kept:
        return None
    cut = partner or cut
    if not from_left:
        kept = kept[::-1]
    doubtful = (_goes_on(kept[-1], cut, line) if from_left else _began_before(kept[0], cut, line)) or _adjacent_numbers(kept)
    text = "".join(_spelled(token) for token in kept)
    behind = {_singular(cut)} if from_left and cut is not None and cut.kind == "word" else set()
    return _Side(text, frozenset(units), frozenset(behind), kept[0].start, kept[-1].end, doubtful or len(text) >= LONGEST_SIDE)


def _reach(tokens: list[_Token], from_left: bool) -> tuple[list[_Token], set[str], _Token | None]:
    """Take tokens, away from the relation, up to one that is no mathematics; words between a value and an operator are units."""
    kept: list[_Token] = []
    units: set[str] = set()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.kind in ("number", "operator", "open", "close", "after"):
            kept.append(token)
            index += 1
            continue
        words = _words(tokens[index:])
        behind = tokens[index + len(words)] if index + len(words) < len(tokens) else None
        if words and _times(tokens, index, words):
            kept.append(_Token("operator", "*", token.start, token.end))
        elif words and words[0].text not in "xX" and _is_unit(kept[-1] if kept else None, behind, from_left):
            units |= {_singular(word) for word in words}
        else:
            return kept, units, token
        index += len(words)
    return kept, units, None


def _singular(word: _Token) -> str:
    return word.text.lower().rstrip("s")


def _words(tokens: list[_Token]) -> list[_Token]:
    """The one or two words that tokens begin with. A single letter is a variable."""
    count = next((i for i, token in enumerate(tokens[:3]) if token.kind not in ("word", "text")), min(len(tokens), 3))
    words = tokens[:count]
    lettered = any(len(word.text) == 1 for word in words)
    return [] if count > 2 or (lettered and [word.text.lower() for word in words] != ["x"]) else words


def _times(tokens: list[_Token], index: int, words: list[_Token]) -> bool:
    """`3 x 4` is a product."""
    around = (tokens[index - 1] if index else None, tokens[index + 1] if index + 1 < len(tokens) else None)
    return (
        len(words) == 1
        and words[0].text in "xX"
        and all(one is not None and one.kind in ("number", "open", "close") for one in around)
    )


def _is_unit(near: _Token | None, far: _Token | None, from_left: bool) -> bool:
    """Whether words between `near` (next to the relation) and `far` are the unit of a value: `5 apples + 3 apples =`."""
    value, operator = (near, far) if from_left else (far, near)
    is_value = value is not None and value.kind in ("number", "close")
    return is_value and (operator.kind == "operator" if operator is not None else not from_left)


def _balanced(kept: list[_Token], from_left: bool) -> tuple[list[_Token], _Token | None]:
    """Cut a side, given away from the relation, at a bracket without partner; returns what is left and that bracket."""
    opening, closing = ("open", "close") if from_left else ("close", "open")
    stack: list[int] = []
    for index, token in enumerate(kept):
        if token.text.startswith("\\"):
            continue  # \frac, \sqrt and \boxed are followed by their brackets
        if token.kind == opening:
            stack.append(index)
        elif token.kind == closing:
            if not stack:
                return kept[:index], token
            stack.pop()
    return (kept[: stack[0]], kept[stack[0]]) if stack else (kept, None)


def _goes_on(edge: _Token, cut: _Token | None, line: str) -> bool:
    """Whether a right side goes on in what was cut off: `= 3n`, `= 7 + x`, `= 3 remainder 1`, `= 2(x`."""
    if edge.kind == "operator":
        return True
    if cut is None:
        return False
    between = line[edge.end : cut.start]
    if cut.kind == "open":
        return not between or bool(between.strip()) or "\\" in line
    if cut.kind in ("word", "text"):
        return not between or cut.text.lower() in ("r", "remainder", "mod")
    return cut.kind == "other" and not between and (cut.text not in _HARMLESS or line[cut.end : cut.end + 1] == "\\")


def _began_before(edge: _Token, cut: _Token | None, line: str) -> bool:
    """Whether a left side began in what was cut off: `2x + 3 =`, `x - 3 =`, `f(2) =`, `sin 30 =`, `x^{2} =`."""
    if edge.kind == "after":
        return True
    if edge.kind == "operator" and (edge.text not in "-−–" or not _is_sign(edge, line)):
        return True
    if cut is None or cut.kind == "delimiter":
        return False
    if cut.kind in ("open", "close"):
        return cut.text == "}" or (cut.kind == "close" and (cut.end == edge.start or "\\" in line))
    if cut.text in FUNCTIONS or (cut.kind == "other" and (cut.text.startswith("\\") or cut.text in "_^|'&")):
        return True
    return cut.end == edge.start and (cut.kind == "word" or cut.text not in _HARMLESS)


_HARMLESS = "<>,.;:()[]\"'“”‘’—–|"
"""What may stand right beside an equation."""


def _is_sign(token: _Token, line: str) -> bool:
    """`is -3`, but not `x - 3`."""
    return line[token.end : token.end + 1] not in (" ", "\t") and line[token.start - 1 : token.start] in (" ", "\t", "$", "(", "")


def _adjacent_numbers(kept: list[_Token]) -> bool:
    """`3 1/2`, `17 % 5`: mixed numbers and remainders are not read."""
    return any(one.kind in ("number", "after") and two.kind == "number" for one, two in pairwise(kept))


def _spelled(token: _Token) -> str:
    if token.text == "–":
        return " - "
    return f" {token.text} " if token.kind == "operator" or token.text.startswith("\\") else token.text


def _holds(left: _Side, right: _Side, *, about: bool) -> bool | None:
    if all(_PLAIN.fullmatch(side.text.replace(" ", "")) for side in (left, right)):
        return None  # `2 dozen = 24`: nothing is computed
    found = _same(left.text, right.text, about=about)
    if found:
        return True
    if right.text.endswith(("!", "%")) and _same(left.text, right.text.rstrip("!\\%"), about=about):
        return True  # "= 7!" may be joy, and 3/4 * 100 = 75% is said
    return found if left.units == right.units or left.units == right.units | right.behind else None


@lru_cache(4096)
def _same(left: str, right: str, *, about: bool) -> bool | None:
    """Whether two sides agree; None where that cannot be told."""
    mine, yours = _read(left), _read(right)
    if mine is None or yours is None:
        return None
    try:
        a, b = exact(mine), exact(yours)
        if a is not None and b is not None:
            return a == b or _rounds(a, right, about) or _rounds(b, left, about)
        return ValueJudge().same(mine, yours) or (None if about else _by_value(mine, yours))
    except (TooBigError, RecursionError):
        return None


def _by_value(mine: Node, yours: Node) -> bool | None:
    """Irrational values are refuted only if they differ by more than a rounding would."""
    from .answers import evaluate

    return evaluate.agree(mine, yours, lambda a, b: bool(abs(a - b) <= 0.01 * max(1, abs(a)))) or False


def _read(side: str) -> Node | None:
    try:
        node = parse(normalise(side))
    except (UnreadableError, RecursionError):
        return None
    return None if symbols(node) else node


def _rounds(value: Fraction, written: str, about: bool) -> bool:
    """Whether `value` rounds (or is cut off) to the number that is written, to as many digits as it has."""
    number = normalise(written).replace(" ", "")
    if not re.fullmatch(r"-?\d+(?:\.\d+)?", number) or not ("." in number or about):
        return False
    unit = Fraction(1, 10 ** len(number.partition(".")[2]))
    return abs(value - Fraction(number)) < unit
