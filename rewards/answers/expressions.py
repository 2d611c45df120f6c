r"""Expressions: sums, products (explicit and implicit), powers, functions, roots, and a value with its unit.

`1/2x` is read from left to right, `\\sin 2x \\cos x` up to the next function, words behind a value as its unit.
"""

from .literals import Literals, scientific
from .tokens import FUNCTIONS, UnreadableError
from .tree import Node, num

RELATIONS = {
    "=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~", r"\equiv": "==",
    r"\iff": "iff", r"\implies": "implies", r"\subseteq": "sub", r"\subset": "sub",
}  # fmt: skip
_TIMES = frozenset(("*", r"\cdot", r"\times"))
_DIVIDE = frozenset(("/", r"\div"))
CURRENCIES = {r"\$": "dollars", r"\pounds": "GBP", r"\euro": "euros", r"\yen": "yen", r"\cents": "cents"}
_NO_FACTOR = frozenset(
    (r"\cup", r"\cap", r"\setminus", r"\pm", r"\mp", r"\\", r"\}", r"\rangle", r"\rfloor", r"\rceil", r"\%", r"\degree", r"\lor",
     r"\land", r"\to", r"\ldots", r"\backslash", r"\mod", r"\pmod", r"\bmod", *RELATIONS, *_TIMES, *_DIVIDE)
)  # fmt: skip
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc"}


class Expressions(Literals):
    """Rules for expressions."""

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
                return self._further_units(self._with_unit(left))

    def _further_units(self, node: Node) -> Node:
        """`5 feet 6 inches` is a sum."""
        if node.kind != "unit" or self._kind() != "num":
            return node
        return Node("add", (node, self._product()))

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
        return kind == "cmd" and text not in _NO_FACTOR and text not in CURRENCIES

    def _with_unit(self, value: Node) -> Node:
        """Words behind a value name its unit; separators are not words."""
        if self._kind() == "cmd" and self.peek() in CURRENCIES:
            return Node("unit", (value,), CURRENCIES[self._take().text])
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

    def _atom(self) -> Node:
        token = self._take()
        if token.kind == "num":
            return self._number(token)
        if token.kind == "sci":
            return scientific(token.text)
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

    def _absolute(self) -> Node:
        bar, self._bar_closes = self._bar_closes, True
        inner = self._nested(self._sum)
        self._bar_closes = bar
        self._expect("|")
        return Node("abs", (inner,))

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
        if name in CURRENCIES:
            return Node("unit", (self._product(),), CURRENCIES[name])
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


def _times(left: Node, right: Node) -> Node:
    r"""An implicit product, or a value and its unit: `55 \frac{\text{miles}}{\text{hour}}`."""
    if right.kind == "div" and all(arg.kind == "text" for arg in right.args):
        return Node("unit", (left,), f"{right.args[0].value} per {right.args[1].value}")
    return Node("mul", (left, right))
