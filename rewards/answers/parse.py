r"""Reading a normalised answer into a tree (`tree.Node`).

A recursive-descent parser for what final answers look like, in LaTeX and in plain notation: numbers, expressions, equations and
inequalities, tuples, intervals, sets, lists, matrices, cases, ratios, times, and a value with its unit. Products may be implicit;
`3\frac12` is a mixed number; `1/2x` is read from left to right. Not covered: sums, integrals, limits, quantifiers, prose. What it
cannot read raises `UnreadableError` and is left to the later stages.
"""

import contextlib
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from .tokens import FUNCTIONS, Token, UnreadableError, tokenise
from .tree import Node, Number, num

_MAX_DEPTH = 60
_RELATIONS = {
    "=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~", r"\equiv": "==",
    r"\iff": "iff", r"\implies": "implies", r"\subseteq": "sub", r"\subset": "sub",
}  # fmt: skip
_TIMES = frozenset(("*", r"\cdot", r"\times"))
_DIVIDE = frozenset(("/", r"\div"))
_CLOSING = {"(": ")]", "[": "])", r"\{": (r"\}",), r"\langle": (r"\rangle",)}
_CURRENCIES = {r"\$": "dollars", r"\pounds": "GBP", r"\euro": "euros", r"\yen": "yen", r"\cents": "cents"}
_NO_FACTOR = frozenset(
    (r"\cup", r"\cap", r"\setminus", r"\pm", r"\mp", r"\\", r"\}", r"\rangle", r"\rfloor", r"\rceil", r"\%", r"\degree", r"\lor",
     r"\land", r"\to", r"\ldots", r"\backslash", r"\mod", r"\pmod", r"\bmod", *_RELATIONS, *_TIMES, *_DIVIDE)
)  # fmt: skip
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc"}
_MATRICES = frozenset(("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"))


@lru_cache(4096)
def parse(normal: str) -> Node:
    """Read `normal`. Raises UnreadableError."""
    parser = _Parser(tokenise(normal))
    node = parser.answer()
    if parser.peek():
        raise UnreadableError(f"unexpected {parser.peek()!r}")
    return node


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._bar_closes = False
        self._colon_closes = False

    # Looking and taking.

    def peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].text if at < len(self._tokens) else ""

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].kind if at < len(self._tokens) else ""

    def _take(self) -> Token:
        if self._at >= len(self._tokens):
            raise UnreadableError("ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, text: str) -> bool:
        if self.peek() == text and self._kind() not in ("text", "word"):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise UnreadableError(f"expected {text!r}, found {self.peek()!r}")

    def _nested(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadableError("too deep")
        node = rule()
        self._depth -= 1
        return node

    # The answer as a whole.

    def answer(self) -> Node:
        self._skip_label()
        items, separators = [self._nested(self._relation)], set()
        while separator := self._separator():
            separators.add(separator)
            items.append(self._nested(self._relation))
        return items[0] if len(items) == 1 else Node("list", tuple(items), "/".join(sorted(separators)))

    def _items(self) -> list[Node]:
        items = [self._nested(self._relation)]
        while self._separator():
            items.append(self._nested(self._relation))
        return items

    def _skip_label(self) -> None:
        if self._kind() == "text" and self.peek().endswith((":", " is", " are")):
            self._at += 1

    def _separator(self) -> str:
        """Take a comma, "and" or "or" (perhaps after a comma) and return what it was."""
        found = ""
        if self.peek() in (",", ";"):
            self._at += 1
            found = ","
        if self._kind() in ("text", "word", "cmd") and self.peek().strip(" ,;").lower() in ("or", "and", r"\lor", r"\land"):
            found = "or" if "or" in self._take().text.lower() else "and"
        return found

    def _relation(self) -> Node:
        start = self._at
        operands, operators = [self._application() or self._union()], []
        while self.peek() in _RELATIONS and self._kind() in ("op", "cmd"):
            operators.append(_RELATIONS[self._take().text])
            operands.append(self._union())
        if not operators:
            self._at = self._at if self._at > start else start
            return operands[0]
        return Node("rel", tuple(operands), tuple(operators))

    def _application(self) -> Node | None:
        """`f(x) =` names a function; `f(x)` anywhere else may be a product."""
        if self._kind() != "name":
            return None
        inverse = 5 if [self.peek(ahead) for ahead in range(1, 6)] == ["^", "{", "-", "1", "}"] else 0
        if self.peek(1 + inverse) != "(":
            return None
        at = self._at + 2 + inverse
        while at < len(self._tokens) and self._tokens[at].text not in ("(", ")"):
            at += 1
        if at + 1 >= len(self._tokens) or self._tokens[at].text != ")" or self._tokens[at + 1].text not in ("=", r"\le", r"\ge"):
            return None
        name = "".join(self._take().text for _ in range(1 + inverse))
        self._expect("(")
        arguments = self._items()
        self._expect(")")
        return Node("apply", tuple(arguments), name)

    def _union(self) -> Node:
        left = self._ratio()
        kinds = {r"\cup": "union", r"\cap": "inter", r"\setminus": "minus_set", r"\backslash": "minus_set"}
        while self.peek() in kinds:
            kind = kinds[self._take().text]
            left = Node(kind, (left, self._ratio()))
        return left

    def _ratio(self) -> Node:
        parts = [self._sum()]
        while not self._colon_closes and self.peek() == ":":
            self._at += 1
            parts.append(self._sum())
        if not self._colon_closes and len(parts) == 1 and self._at_to():
            self._at += 1
            parts.append(self._sum())
        if len(parts) == 1:
            return parts[0]
        if parts[-1].kind == "time":
            return Node("time", (*parts[:-1], parts[-1].args[0]), parts[-1].value)
        return Node("ratio", tuple(parts))

    # Expressions.

    def _sum(self) -> Node:
        sign = self._take().text if self.peek() in ("+", "-", r"\pm", r"\mp") else ""
        node = self._signed(sign, self._nested(self._product))
        while self.peek() in ("+", "-", r"\pm", r"\mp") and self._kind() in ("op", "cmd"):
            operator = self._take().text
            term = self._nested(self._product)
            kind = {"+": "add", "-": "add", r"\pm": "pm", r"\mp": "mp"}[operator]
            node = Node(kind, (node, Node("neg", (term,)) if operator == "-" else term))
        return node

    def _signed(self, sign: str, node: Node) -> Node:
        kind = {"-": "neg", r"\pm": "pm", r"\mp": "mp"}.get(sign)
        return Node(kind, (node,)) if kind else node

    def _product(self) -> Node:
        left = self._factor()
        while True:
            if self.peek() in _TIMES and self._kind() in ("op", "cmd"):
                self._at += 1
                left = Node("mul", (left, self._factor()))
            elif self.peek() in _DIVIDE and self._kind() in ("op", "cmd"):
                self._at += 1
                left = Node("div", (left, self._factor()))
            elif self._starts_factor():
                left = _times(left, self._factor())
            else:
                return self._with_unit(left)

    def _at_to(self) -> bool:
        """`3 to 4` is a ratio."""
        return self._kind() in ("word", "text") and self.peek() == "to" and self._kind(1) == "num"

    def _starts_factor(self) -> bool:
        kind, text = self._kind(), self.peek()
        if kind == "name" or text in ("(", "[", "{"):
            return True
        if kind == "num":
            return self._tokens[self._at - 1].text in ("!", "}", ")")  # 5!5!, 2^{3}3^{2}
        if text == "|":
            return not self._bar_closes
        if kind == "env":
            return text.startswith(r"\begin")
        return kind == "cmd" and text not in _NO_FACTOR and text not in _CURRENCIES

    def _with_unit(self, value: Node) -> Node:
        """Words behind a value name its unit; separators are not words."""
        if self._kind() == "cmd" and self.peek() in _CURRENCIES:
            return Node("unit", (value,), _CURRENCIES[self._take().text])
        words = []
        while self._kind() in ("word", "text") and self.peek().strip(" ,;").lower() not in ("or", "and"):
            if self._at_to():
                break
            words.append(self._take().text)
            while self.peek() == "^" or (
                self.peek() == "/" and (self._kind(1) in ("word", "text") or self.peek(1) in ("h", "s"))
            ):
                words.append(self._take().text)
                if words[-1] == "/" and self._kind() == "name":
                    words.append(self._take().text)
                if words[-1] == "^":
                    words.append(self._exponent_text())
        if not words or value.kind == "text":
            if words:
                return Node("text", value=" ".join([str(value.value), *words]))
            return value
        if len(words) == 1 and words[0] in ("am", "pm") and value.kind == "num":
            return Node("time", (value, num(0)), words[0][0])
        return Node("unit", (value,), " ".join(words))

    def _exponent_text(self) -> str:
        braced = self._skip("{")
        sign = "-" if self._skip("-") else ""
        token = self._take()
        if token.kind != "num":
            raise UnreadableError("a unit's exponent is a number")
        if braced:
            self._expect("}")
        return sign + token.text

    def _factor(self) -> Node:
        if self.peek() in ("-", "+") and self._kind() == "op":
            return self._signed(self._take().text, self._nested(self._factor))
        return self._power()

    def _power(self) -> Node:
        base = self._postfix(self._nested(self._atom))
        if self._skip("^"):
            return self._postfix(Node("pow", (base, self._nested(self._script))))
        return base

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._skip("!"):
                node = Node("fact", (node,))
            elif self._skip(r"\%") or self._skip("%"):
                node = Node("percent", (node,))
            elif self._skip(r"\degree"):
                node = Node("degree", (node,))
            else:
                return node

    def _script(self) -> Node:
        if self.peek() in ("-", "+"):
            return self._signed(self._take().text, self._script())
        node = self._postfix(self._atom()) if self.peek() != "{" else self._group()
        if self._skip("^"):
            return Node("pow", (node, self._nested(self._script)))
        return node

    def _group(self) -> Node:
        self._expect("{")
        items = self._items()
        self._expect("}")
        return items[0] if len(items) == 1 else Node("list", tuple(items))

    def _argument(self) -> Node:
        r"""An argument as TeX takes it: a group, or one token (`\frac12` is a half)."""
        if self.peek() == "{":
            return self._nested(self._group)
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token and token.kind == "num" and len(token.text) > 1:
            self._tokens = [*self._tokens]
            self._tokens[self._at] = Token("num", token.text[1:])
            return num(int(token.text[0])) if token.text[0].isdigit() else self._unreadable("a digit was expected")
        return self._nested(self._atom)

    def _unreadable(self, why: str) -> Node:
        raise UnreadableError(why)

    def _atom(self) -> Node:
        token = self._take()
        if token.kind == "num":
            return self._number(token)
        if token.kind == "sci":
            return _scientific(token.text)
        if token.kind == "name":
            return self._symbol(token.text)
        if token.kind == "cmd":
            return self._command(token.text)
        if token.kind == "based":
            return self._based(token.text)
        if token.kind in ("text", "word"):
            return self._text(token)
        if token.kind == "env":
            return self._environment(token.text)
        if token.text in ("(", "["):
            return self._bracket(token.text)
        if token.text == "{":
            self._at -= 1
            return self._group()
        if token.text == "|":
            return self._absolute()
        raise UnreadableError(f"unexpected {token.text!r}")

    def _number(self, token: Token) -> Node:
        if "." in token.text and (repeating := self._repeating(token.text)):
            return repeating
        if self.peek() == "_":
            return self._based(token.text)
        node = Node("num", value=Number(Fraction(token.text), _digits(token.text)))
        return self._mixed(node) if "." not in token.text else node

    def _repeating(self, text: str) -> Node | None:
        whole, _, fixed = text.partition(".")
        if self.peek() in (r"\overline", r"\bar", r"\dot"):
            self._at += 1
            self._expect("{")
            period = self._take().text
            self._expect("}")
        elif self.peek() == r"\ldots" and (match := re.fullmatch(r"(\d*?)(\d+?)\2{2,}", fixed)):
            self._at += 1
            fixed, period = match.groups()
        else:
            return None
        if not period.isdigit():
            raise UnreadableError("a period is digits")
        head = Fraction(int(whole + fixed or "0"), 10 ** len(fixed))
        return num(head + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed)))

    def _based(self, digits: str) -> Node:
        self._expect("_")
        base = self._argument() if self.peek() == "{" or len(self.peek()) == 1 else self._atom()
        if base.kind != "num" or base.value.value.denominator != 1 or not 2 <= base.value.value <= 36:
            raise UnreadableError("a base is an integer")
        return Node("base", (), (digits.upper().lstrip("0") or "0", int(base.value.value)))

    def _mixed(self, whole: Node) -> Node:
        r"""`3\frac12` and `3 1/2` are three and a half when the fraction is proper and made of digits."""
        start, tokens = self._at, self._tokens
        part: Node | None = None
        if self.peek() == r"\frac":
            self._at += 1
            top, bottom = self._argument(), self._argument()
            part = Node("div", (top, bottom))
        elif self._kind() == "num" and self._tokens[self._at].spaced and self.peek(1) == "/" and self._kind(2) == "num":
            top_text, _, bottom_text = self._take().text, self._take(), self._take().text
            part = Node("div", (num(Fraction(top_text)), num(Fraction(bottom_text))))
        if part and all(arg.kind == "num" and arg.value.value.denominator == 1 for arg in part.args):
            top_value, bottom_value = (arg.value.value for arg in part.args)
            if 0 < top_value < bottom_value and self.peek() != "^":
                return num(whole.value.value + top_value / bottom_value)
        self._at, self._tokens = start, tokens
        return whole

    def _symbol(self, name: str) -> Node:
        primes = ""
        while self.peek() == "'":
            primes += self._take().text
        subscript = ""
        if self._skip("_"):
            subscript = "_" + self._subscript()
        if not primes and not subscript and name in ("e", "i"):
            return Node("const", value=name)
        if name in ("f", "g", "h") and self.peek() == "(" and not self._tokens[self._at].spaced:
            self._at += 1
            arguments = self._items()
            self._expect(")")
            return Node("apply", tuple(arguments), name + primes + subscript)
        return Node("sym", value=name + primes + subscript)

    def _subscript(self) -> str:
        if not self._skip("{"):
            return self._take().text
        parts = []
        while not self._skip("}"):
            parts.append(self._take().text)
        return "".join(parts)

    def _text(self, token: Token) -> Node:
        if self.peek() == "_":
            return self._based(token.text)
        if "," in token.text and not any(character.isdigit() for character in token.text):
            return Node("list", tuple(Node("text", value=part.strip()) for part in token.text.split(",")), ",")
        if (
            any(character.isdigit() or character == "\\" for character in token.text)
            and "{" not in token.text
            and token.kind == "text"
        ):
            with contextlib.suppress(UnreadableError):
                return parse(token.text)
        return Node("text", value=token.text)

    def _bracket(self, opening: str) -> Node:
        bar, colon = self._bar_closes, self._colon_closes
        self._bar_closes = self._colon_closes = False
        items = self._items()
        self._bar_closes, self._colon_closes = bar, colon
        closing = self._take().text
        if closing not in _CLOSING[opening]:
            raise UnreadableError(f"{opening} closed by {closing}")
        if len(items) == 1:
            if opening + closing in ("()", "[]"):
                return items[0] if items[0].kind not in ("group", "text") else Node("group", tuple(items), opening + closing)
            raise UnreadableError("half a bracket")
        return Node("group", tuple(items), opening + closing)

    def _braces(self) -> Node:
        bar, colon = self._bar_closes, self._colon_closes
        self._bar_closes = self._colon_closes = True
        items = self._items()
        if self.peek() in ("|", ":"):
            self._at += 1
            self._bar_closes = self._colon_closes = False
            conditions = self._items()
            node = Node("builder", (items[0], *conditions))
            if len(items) != 1:
                raise UnreadableError("a set builder has one element")
        else:
            node = Node("group", tuple(items), "{}")
        self._bar_closes, self._colon_closes = bar, colon
        self._expect(r"\}")
        return node

    def _absolute(self) -> Node:
        bar, self._bar_closes = self._bar_closes, True
        inner = self._nested(self._sum)
        self._bar_closes = bar
        self._expect("|")
        return Node("abs", (inner,))

    # Commands.

    def _command(self, name: str) -> Node:
        plain = name[1:]
        if name == r"\frac":
            return Node("div", (self._argument(), self._argument()))
        if name == r"\sqrt":
            return self._root()
        if plain in FUNCTIONS:
            return self._function(plain)
        if name == r"\binom":
            return Node("binom", (self._argument(), self._argument()))
        if name == r"\{":
            return self._braces()
        if name in _CURRENCIES:
            return Node("unit", (self._product(),), _CURRENCIES[name])
        if name in (r"\lfloor", r"\lceil", r"\langle"):
            return self._paired(name)
        return self._named(name)

    def _named(self, name: str) -> Node:
        if name in (r"\pi", r"\infty"):
            return Node("const", value={"\\pi": "pi", "\\infty": "oo"}[name])
        if name == r"\emptyset":
            return Node("group", (), "{}")
        if name in (r"\angle", r"\triangle", r"\measuredangle", r"\not"):
            return self._atom()
        if name == r"\mathbb":
            self._expect("{")
            letter = self._take().text
            self._expect("}")
            return Node("sym", value=f"bb{letter}")
        if name in (r"\overline", r"\bar", r"\overrightarrow", r"\vec", r"\hat", r"\mathbf", r"\widehat", r"\tilde"):
            return Node("apply", (self._argument(),), name)
        if name == r"\i":
            return Node("const", value="i")
        if name.isascii() and name[1:].isalpha() and name not in _NO_FACTOR:
            return self._symbol(name)
        raise UnreadableError(f"unknown command {name}")

    def _paired(self, name: str) -> Node:
        if name == r"\langle":
            items = self._items()
            self._expect(r"\rangle")
            return Node("group", tuple(items), "()")
        inner = self._nested(self._sum)
        self._expect(name.replace("l", "r", 1))
        return Node(name[2:], (inner,))

    def _root(self) -> Node:
        index = None
        if self._skip("["):
            index = self._nested(self._sum)
            self._expect("]")
        if self.peek() == "(":
            self._at += 1
            radicand = self._bracket("(")
        elif self.peek() == "{":
            radicand = self._group()
        else:
            radicand = self._nested(self._atom)
        return Node("root", (radicand, index or num(2)))

    def _function(self, name: str) -> Node:
        if name == "sqrt":
            return self._root()
        base = None
        if name == "log" and self._skip("_"):
            base = self._argument()
        power = self._nested(self._script) if self._skip("^") else None
        if base is None and name == "log" and self._skip("_"):
            base = self._argument()
        argument = self._function_argument()
        if power and power.kind == "neg" and power.args[0] == num(1) and name in _INVERSES:
            name, power = _INVERSES[name], None
        node = (
            Node("log", (argument, base)) if base else Node("fn", argument.args if argument.kind == "list" else (argument,), name)
        )
        return Node("pow", (node, power)) if power else node

    def _function_argument(self) -> Node:
        """A bracket if there is one, else the factors up to the next function or sign: `\\sin 2x \\cos x`."""
        if self.peek() in ("(", "["):
            opening = self._take().text
            items = self._items()
            if self._take().text != {"(": ")", "[": "]"}[opening]:
                raise UnreadableError("a bracket is not closed")
            return items[0] if len(items) == 1 else Node("list", tuple(items))
        if self.peek() in ("-", "+"):
            return self._signed(self._take().text, self._function_argument())
        node = self._power()
        while self._starts_factor() and self.peek()[1:] not in FUNCTIONS and self.peek() not in ("(", "["):
            node = Node("mul", (node, self._power()))
        if self.peek() == "/" and self._kind(1) == "num" and node.kind in ("const", "sym", "mul"):
            self._at += 1
            node = Node("div", (node, self._power()))
        return node

    # Environments.

    def _environment(self, opening: str) -> Node:
        name = opening[opening.index("{") + 1 : -1].rstrip("*")
        if not opening.startswith(r"\begin") or (name not in _MATRICES and name not in ("cases", "vmatrix")):
            raise UnreadableError(f"environment {name}")
        if name == "array":
            self._expect("{")
            while not self._skip("}"):
                self._take()
        rows = self._rows()
        self._expect_end(name)
        kind = "matrix" if name in _MATRICES else name
        return Node(kind, tuple(rows))

    def _rows(self) -> list[Node]:
        rows, cells = [], [self._cell()]
        while True:
            if self._skip("&"):
                cells.append(self._cell())
            elif self._skip("\\\\"):
                rows.append(Node("row", tuple(cells)))
                if self._kind() == "env":
                    return rows
                cells = [self._cell()]
            else:
                rows.append(Node("row", tuple(cells)))
                return rows

    def _cell(self) -> Node:
        if self._kind() in ("word", "text") and self.peek().strip() in ("if", "for", "when", "where"):
            self._at += 1
        items = [self._nested(self._relation)]
        while self._separator():
            if self.peek() in ("&", "\\\\") or self._kind() == "env":
                break
            if self._kind() in ("word", "text") and self.peek().strip() in ("if", "for", "when", "where"):
                self._at += 1
            items.append(self._nested(self._relation))
        return items[0] if len(items) == 1 else Node("list", tuple(items))

    def _expect_end(self, name: str) -> None:
        token = self._take()
        if token.kind != "env" or not token.text.startswith(r"\end") or name not in token.text:
            raise UnreadableError(f"environment {name} is not closed")


def _times(left: Node, right: Node) -> Node:
    r"""An implicit product, or a value and its unit: `55 \frac{\text{miles}}{\text{hour}}`."""
    if right.kind == "div" and all(arg.kind == "text" for arg in right.args):
        return Node("unit", (left,), f"{right.args[0].value} per {right.args[1].value}")
    return Node("mul", (left, right))


def _digits(text: str) -> int:
    return len(text.replace(".", "").lstrip("0")) if "." in text else 0


def _scientific(text: str) -> Node:
    mantissa, _, exponent = text.lower().partition("e")
    if abs(int(exponent)) > 400:
        raise UnreadableError("an exponent beyond any number")
    value = Fraction(mantissa) * Fraction(10) ** int(exponent)
    return Node("num", value=Number(value, _digits(mantissa if "." in mantissa else mantissa + ".")))
