r"""Refusing answers that are attacks rather than answers, before anything reads them.

Refused are: long or deeply nested text, control and invisible characters, TeX that programs, text that looks like code, and
sums, products, integrals and limits that the gold answer does not have either. What needs the parsed tree (towers of powers,
huge factorials and exponents) is refused where values are computed (`exact`, `evaluate`), by `TooBigError`.
"""

import re
import unicodedata

MAX_LENGTH = 2_000  # the longest gold answer of MATH has 164 characters
MAX_DEPTH = 24

_INVISIBLE_OPERATORS = frozenset("\u2061\u2062\u2063\u2064")
_TEX_PROGRAM = re.compile(
    r"\\(?:input|include|write|read|open(?:in|out)|def|edef|gdef|let|newcommand|renewcommand|catcode|csname|immediate|"
    r"expandafter|loop|repeat|usepackage|special|directlua|href|url)(?![a-zA-Z])"
)
_CODE = re.compile(
    r"__|\b(?:import|exec|eval|lambda|getattr|setattr|globals|locals|compile|builtins|subclasses|sympify|parse_expr)\b|"
    r"\b(?:os|sys|subprocess|open|print|exit|quit|input|system|popen)\s*[.(]|[a-zA-Z_]{2,}\.[a-zA-Z_]{2,}\s*\("
)
# Three powers on top of one another: with braces, or bare as `2^2^2^2`.
_TOWER = re.compile(r"(?:\^\s*[{(]+\s*\\?[\w.]+\s*){3}|(?:(?:\^|\*\*)\s*(?:\d+|[a-zA-Z])\s*){3}")
_UNBOUNDED = re.compile(r"\\(?:sum|prod|int|iint|iiint|oint|lim|limsup|liminf|coprod|bigcup|bigcap)(?![a-zA-Z])|∑|∏|∫")


class TooBigError(Exception):
    """Evaluating this would take more time or memory than any answer deserves."""


def refusal(answer: str, gold: str) -> str:
    """Return why `answer` is refused, or an empty string."""
    if len(answer) > MAX_LENGTH:
        return f"refused: {len(answer)} characters are more than any answer has ({MAX_LENGTH})"
    if character := _control_character(answer):
        return f"refused: contains the invisible character U+{ord(character):04X}"
    if _depth(answer) > MAX_DEPTH:
        return f"refused: nested more than {MAX_DEPTH} levels deep"
    for pattern, what in ((_TEX_PROGRAM, "a TeX program"), (_CODE, "program code"), (_TOWER, "a tower of powers")):
        if (found := pattern.search(answer)) and found.group() not in gold:
            return f"refused: looks like {what} ({found.group()!r})"
    if (found := _UNBOUNDED.search(answer)) and found.group() not in gold:
        return f"refused: {found.group()} is left to be evaluated"
    return ""


def _control_character(answer: str) -> str:
    if answer.isascii() and answer.isprintable():
        return ""
    for character in answer:
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Cs", "Co", "Cn") and character not in "\n\r\t" and character not in _INVISIBLE_OPERATORS:
            return character
    return ""


def _depth(answer: str) -> int:
    depth = deepest = 0
    for character in answer:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest
