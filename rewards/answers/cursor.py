"""Walking over tokens: what all parts of the parser share."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from .tokens import Token, UnreadableError
from .tree import Node

_MAX_DEPTH = 60


class Cursor(ABC):
    """A place in a list of tokens, and the rules that the parts of the grammar call in one another."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._bar_closes = False
        self._colon_closes = False

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

    @abstractmethod
    def _items(self) -> list[Node]:
        """Read a list of items separated by commas."""

    @abstractmethod
    def _atom(self) -> Node:
        """Read the smallest thing that is an expression."""

    @abstractmethod
    def _bracket(self, opening: str) -> Node:
        """Read on from an opening bracket to its partner."""

    @abstractmethod
    def _braces(self) -> Node:
        """Read on from an opening set brace to its partner."""

    @abstractmethod
    def _environment(self, opening: str) -> Node:
        """Read on from `\\begin{...}`."""

    @abstractmethod
    def _text(self, token: Token) -> Node:
        """Read words."""
