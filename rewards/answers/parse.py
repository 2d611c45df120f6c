r"""Reading a normalised answer into a tree (`tree.Node`).

A recursive-descent parser for what final answers look like, in LaTeX and in plain notation. This module reads the outside:
lists, equations and inequalities, unions, ratios and times, brackets, sets, matrices, cases; `expressions` and `literals` read
the inside. Not covered: sums, integrals, limits, quantifiers, prose. What cannot be read raises `UnreadableError` and is left to
the later stages.
"""

import contextlib
import re
from functools import lru_cache

from .expressions import RELATIONS, Expressions
from .tokens import Token, UnreadableError, tokenise
from .tree import Node

_CLOSING = {"(": ")]", "[": "])", r"\{": (r"\}",), r"\langle": (r"\rangle",)}
_NAME_SEPARATOR = re.compile(r",\s*(?:and\b)?|\band\b")
_MATRICES = frozenset(("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"))


@lru_cache(4096)
def parse(normal: str) -> Node:
    """Read `normal`. Raises UnreadableError."""
    parser = _Parser(tokenise(normal))
    node = parser.answer()
    if parser.peek():
        raise UnreadableError(f"unexpected {parser.peek()!r}")
    return node


class _Parser(Expressions):
    """Rules for whole answers."""

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
        while self.peek() in RELATIONS and self._kind() in ("op", "cmd"):
            operators.append(RELATIONS[self._take().text])
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

    def _text(self, token: Token) -> Node:
        if self.peek() == "_":
            return self._based(token.text)
        names = [name.strip() for name in _NAME_SEPARATOR.split(token.text)]
        if len(names) > 1 and all(names) and not any(character.isdigit() for character in token.text):
            return Node("list", tuple(Node("text", value=name) for name in names), ",")
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
        if opening + closing in ("(]", "[)") and len(items) != 2:
            raise UnreadableError("half-open brackets hold two ends")
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
