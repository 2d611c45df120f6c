"""The last stages: math-verify on one answer per side, and sympy's simplify on trees that could not be evaluated.

Only for pairs that nothing before could decide. math-verify accepts too much (lists of guesses, equations with the gold answer
on the other side, prefixes of unreadable text), so its yes counts only where the two sides have the same shape. Neither has a
clock: both run in a worker that can be killed.
"""

import logging
import re
from functools import cache
from importlib import import_module
from typing import Any

from .tree import Node, symbols, walk

MAX_LENGTH = 300  # twice the longest gold answer of MATH
_MAX_NODES = 150
_EXPENSIVE = re.compile(r"!|\\binom|\^\s*[{(]*\s*-?\d{3,}|\^[^}]*\^|\d{40,}")
_SEQUENCE = re.compile(r"\\ldots|\.\.\.|:")
_SHAPE = re.compile(
    r"\\text\{[^{}]*\}|[A-Za-z]+|\d+(?:\.\d+)?|[-+=<>]|\\(?:le|ge|ne|in|pm|cup|cap)(?![a-zA-Z])|,|;|\\%|[?!']|_\{?\w+\}?"
)


def decide(gold: str, answer: str, trees: tuple[Node, Node] | None) -> tuple[bool, str]:
    """Tell whether two normalised answers are equal, and how that was found; `trees` are theirs if they could be read."""
    if max(len(gold), len(answer)) > MAX_LENGTH:
        return (False, "not decided by type; too long for symbolic work")
    if trees is not None and all(map(_expressible, trees)) and (proved := proved_by_sympy(*trees)) is not None:
        return (proved, "simplified by sympy")
    if shape(gold) != shape(answer):
        return (False, "not decided by type; the answers have different shapes")
    if _SEQUENCE.search(gold) or _SEQUENCE.search(answer):
        return False, "not decided by type; an ellipsis stands for what nobody can check"
    if _EXPENSIVE.search(answer):
        return (False, "not decided by type; powers and factorials that cannot be read are not evaluated")
    equal = equal_by_math_verify(gold, answer)
    return (equal, "compared by math-verify")


def _expressible(node: Node) -> bool:
    """Nothing but small expressions may reach sympy: no factorials of sums, no powers that it would multiply out."""
    parts = list(walk(node))
    known = all(part.kind in _BUILD or part.kind in ("num", "sym", "const", "fn") for part in parts)
    small = all(abs(part.args[1].value.value) <= 20 for part in parts if part.kind == "pow" and part.args[1].kind == "num")
    return known and small and len(parts) <= _MAX_NODES and not any(part.kind in ("fact", "binom") for part in parts)


def shape(normal: str) -> list[str]:
    """What two answers must share before a lenient grader may call them equal: numbers, letters, relations, separators.

    What is left to it is order: everything that the parser can read has been decided before.
    """
    return sorted(part.lower() for part in _SHAPE.findall(normal))


def equal_by_math_verify(gold: str, answer: str) -> bool:
    """Ask math-verify about exactly one answer per side."""
    module = math_verify()
    mine, yours = (module.parse(rf"\\boxed{{{side}}}".replace("\\\\", "\\"), parsing_timeout=None) for side in (gold, answer))
    return bool(mine and yours and module.verify(mine, yours, timeout_seconds=None))


@cache
def math_verify() -> Any:
    """Import math-verify, without its warning at every call that it has no clock (the pool has)."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return import_module("math_verify")


def warm() -> None:
    """Import sympy, mpmath and math-verify and run each once. Raises RuntimeError when math-verify cannot parse LaTeX here."""
    from . import evaluate

    evaluate.same_value(Node("const", value="pi"), Node("const", value="e"))
    proved_by_sympy(Node("sym", value="x"), Node("sym", value="y"))
    # With the wrong antlr runtime its parser fails silently and falls back to comparing strings.
    if not equal_by_math_verify(r"\frac{x}{2}+\sqrt{3}", r"0.5x+3^{1/2}"):
        raise RuntimeError("math-verify cannot parse LaTeX here; install math-verify[antlr4_13_2]")


def proved_by_sympy(gold: Node, answer: Node) -> bool | None:
    """Tell whether sympy simplifies the difference to zero or to another number; None when it does neither."""
    sympy = import_module("sympy")
    try:
        names = {name: sympy.Symbol(name, real=True) for name in symbols(gold) | symbols(answer)}
        difference = to_sympy(gold, names, sympy) - to_sympy(answer, names, sympy)
        simplified = sympy.simplify(difference)
    except (KeyError, TypeError, ValueError, NotImplementedError, RecursionError, AttributeError, ArithmeticError):
        return None
    if simplified == 0:
        return True
    return False if simplified.is_number and simplified.is_zero is False else None


def to_sympy(node: Node, names: dict[str, Any], sympy: Any) -> Any:
    """Build a sympy expression. Raises KeyError for what has none."""
    if node.kind == "num":
        return sympy.Rational(node.value.value.numerator, node.value.value.denominator)
    if node.kind == "sym":
        return names[node.value]
    if node.kind == "const":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}[node.value]
    arguments = [to_sympy(arg, names, sympy) for arg in node.args]
    if node.kind == "fn":
        return getattr(sympy, _FUNCTIONS.get(node.value, node.value))(*arguments)
    return _BUILD[node.kind](sympy, *arguments)


_FUNCTIONS = {
    "ln": "log",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "abs": "Abs",
    "ceil": "ceiling",
    "max": "Max",
    "min": "Min",
}
_BUILD: dict[str, Any] = {
    "neg": lambda s, a: -a,
    "add": lambda s, a, b: a + b,
    "mul": lambda s, a, b: a * b,
    "div": lambda s, a, b: a / b,
    "pow": lambda s, a, b: a**b,
    "root": lambda s, a, n: s.real_root(a, n) if n.is_odd else s.root(a, n),
    "fact": lambda s, a: s.factorial(a),
    "binom": lambda s, a, b: s.binomial(a, b),
    "abs": lambda s, a: s.Abs(a),
    "floor": lambda s, a: s.floor(a),
    "ceil": lambda s, a: s.ceiling(a),
    "percent": lambda s, a: a / 100,
    "degree": lambda s, a: a * s.pi / 180,
    "log": lambda s, a, b: s.log(a, b),
}
