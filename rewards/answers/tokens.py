r"""Splitting a normalised answer into tokens.

A token is (kind, text): `num` (digits, perhaps with a decimal point), `sci` (a number in scientific notation of a programming
language), `based` (digits of a base above ten), `cmd` (a LaTeX command with its backslash), `name` (one letter), `word` (ordinary
words), `text` (content of \text{...}), `env` (beginning or end of an environment) and `op` (any other character).
"""

import re
from typing import NamedTuple

MAX_TOKENS = 1_500

_FUNCTIONS_WORDS = """
    sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc asin acos atan sinh cosh tanh coth sech csch
    arcsinh arccosh arctanh asinh acosh atanh ln log lg exp sqrt abs floor ceil max min gcd lcm det Re Im arg sgn cbrt
"""
FUNCTIONS = frozenset(_FUNCTIONS_WORDS.split())
_NAMES_WORDS = """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega pi
"""
NAMES = frozenset(_NAMES_WORDS.split())
_INFINITY = frozenset(("inf", "infty", "infinity", "Infinity", "oo", "INF"))


class Token(NamedTuple):
    """One token; `spaced` tells whether white space stands before it."""

    kind: str
    text: str
    spaced: bool = False


class UnreadableError(Exception):
    """This is not an answer that the grammar covers."""


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<env>\\(?:begin|end)\s*\{[a-zA-Z]+\*?\})
    |\\text\{(?P<text>(?:[^{}]|\{[^{}]*\})*)\}
    |(?P<cmd>\\[a-zA-Z]+|\\.)
    |(?P<sci>(?:\d+\.\d*|\.\d+)[eE][+-]?\d+(?![\d.])|\d+[eE]\d+(?![\d.])|\d+E[+-]?\d+(?![\d.])|\d[eE][+-]?\d\d+(?![\d.])|1e[+-]?\d+(?![\d.]))
    |(?P<based>(?=[0-9A-Z]*\d)(?=[0-9A-Z]*[A-Z])[0-9A-Z]{2,}(?=_\{?(?:1[1-9]|[23]\d)(?!\d))
        |\d[0-9a-f]*[a-f][0-9a-f]*(?=_\{?16(?!\d)))
    |(?P<num>\d+\.\d*|\.\d+|\d+)
    |(?P<letters>[^\W\d_]+)
    |(?P<op>.)""",
    re.X | re.S | re.A,  # digits and letters of other alphabets are neither
)


def tokenise(normal: str) -> list[Token]:
    """Split `normal`. Raises UnreadableError when there is too much of it."""
    tokens: list[Token] = []
    spaced = False
    for match in _TOKEN.finditer(normal):
        kind, text = match.lastgroup or "op", match.group(match.lastgroup or 0)
        if kind == "space":
            spaced = True
            continue
        if kind == "letters":
            tokens += _letters(text, spaced, tokens)
        elif kind == "text":
            tokens += _text(text, spaced)
        else:
            tokens.append(Token(kind, text, spaced))
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError("too many tokens")
    return tokens


def _text(content: str, spaced: bool) -> list[Token]:
    content = content.strip()
    if content in FUNCTIONS and content != "min":
        return [Token("cmd", f"\\{content}", spaced)]
    return [Token("text", content, spaced)] if content else []


def _letters(run: str, spaced: bool, before: list[Token]) -> list[Token]:
    """Letters in a row: a known name, words, or a product of one-letter symbols."""
    if len(run) == 1:
        return [Token("name", run, spaced)]
    last = before[-1] if before else Token("op", "")
    if run == "min" and last.kind == "num":
        return [Token("word", run, spaced)]  # minutes
    if run in FUNCTIONS or run in NAMES:
        return [Token("cmd", f"\\{run}", spaced)]
    if run in _INFINITY:
        return [Token("cmd", "\\infty", spaced)]
    if split := _name_and_rest(run):
        head, rest = split
        return [Token("cmd", f"\\{head}", spaced), *_letters(rest, False, before)]
    from .units import is_word

    after_value = last.kind in ("num", "sci", "word") or (spaced and last.text in ("}", ")"))
    if is_word(run, after_value) or (len(run) == 3 and spaced and last.kind in ("num", "word")):
        return [Token("word", run, spaced)]
    return [Token("name", letter, spaced and not index) for index, letter in enumerate(run)]


def _name_and_rest(run: str) -> tuple[str, str] | None:
    """`sinx`, `pir`: a known name stuck to what follows. Only the unmistakable ones."""
    for name in ("sqrt", "sin", "cos", "tan", "log", "ln", "pi"):
        rest = run[len(name) :]
        if (
            run.startswith(name)
            and len(rest) == 1
            and name + rest not in ("pin", "pit", "pie", "pig", "tank", "sing", "sink", "logo")
        ):
            return name, rest
    return None
