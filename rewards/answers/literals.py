r"""Numbers, symbols and arguments: the part of the grammar that knows how TeX and people write them.

Decimals, repeating decimals, digits of another base, mixed numbers, symbols with subscripts and primes, `f(x)`, and arguments of
commands as TeX takes them (`\\frac12` is a half).
"""

import re
from fractions import Fraction

from .cursor import Cursor
from .tokens import Token, UnreadableError
from .tree import Node, Number, num


class Literals(Cursor):
    """Rules for numbers and symbols."""

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
            if "." in token.text:
                return _unreadable("a digit was expected")
            self._tokens = [*self._tokens]
            self._tokens[self._at] = Token("num", token.text[1:])
            return num(int(token.text[0]))
        return self._nested(self._atom)

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


def _digits(text: str) -> int:
    return len(text.replace(".", "").lstrip("0")) if "." in text else 0


def scientific(text: str) -> Node:
    """Read a number in scientific notation. Raises UnreadableError for exponents that no number has."""
    mantissa, _, exponent = text.lower().partition("e")
    if abs(int(exponent)) > 400:
        raise UnreadableError("an exponent beyond any number")
    value = Fraction(mantissa) * Fraction(10) ** int(exponent)
    return Node("num", value=Number(value, _digits(mantissa if "." in mantissa else mantissa + ".")))


def _unreadable(why: str) -> Node:
    raise UnreadableError(why)
