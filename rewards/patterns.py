"""The verifier `regex`: whether a completion matches a regular expression.

The expression is the user's, the text is the model's: matching may take exponential time, in C code that no exception leaves.
It therefore never runs in the caller's process (there is no `quick`), and its CPU limit is short: an item on which the
expression runs away is a `verifier_error` after two workers, and the next item goes on.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from .errors import InputError
from .extract import after_thinking
from .limits import PoolLimits
from .options import OptionVerifier
from .records import Completion, Problem, Verdict

_FLAGS = {"i": re.I, "m": re.M, "s": re.S, "x": re.X, "a": re.A}


@dataclass(frozen=True)
class RegexVerifier(OptionVerifier):
    """The completion matches `pattern` (default: the reference is the pattern).

    `mode`: somewhere in the text (`search`), the whole of it without white space at the ends (`full`), or nowhere (`absent`).
    `flags` are letters of Python's inline flags (i, m, s, x, a). With `thinking: false`, what stands in think tags is left out
    first. With `compare`, the last match's first group (or the match itself) has to equal the reference. Python's `re` syntax.
    """

    kind: ClassVar[str] = "regex"

    pattern: str | None = None
    mode: Literal["search", "full", "absent"] = "search"
    flags: str = ""
    thinking: bool = True
    compare: bool = False

    def check(self) -> None:
        self.require(all(flag in _FLAGS for flag in self.flags), "flags", f"letters among {', '.join(_FLAGS)}")
        self.require(not (self.compare and self.mode == "absent"), "compare", "off where nothing is to be found")
        self.require(not (self.compare and self.pattern is None), "compare", "given together with a pattern")
        if self.pattern is not None:
            self._compiled(self.pattern, "option 'pattern'")

    @property
    def limits(self) -> PoolLimits:
        """An expression that needs longer is running away."""
        return PoolLimits(wall=15.0, cpu=2.0, memory=512 << 20)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; may never return, so call it where it can be killed."""
        pattern = self.pattern if self.pattern is not None else problem.reference
        where = "option 'pattern'" if self.pattern is not None else f"problem {problem.id!r}: reference"
        if not isinstance(pattern, str):
            raise InputError(f"{where}: expected a regular expression, found {pattern!r:.60}")
        compiled = self._compiled(pattern, where)
        text = completion.text if self.thinking else after_thinking(completion.text)
        found = compiled.fullmatch(text.strip()) if self.mode == "full" else _last(compiled, text)
        if self.compare:
            return _compared(found, problem)
        passed = (found is None) == (self.mode == "absent")
        extracted = None if found is None else found.group()[:500]
        return Verdict(float(passed), "correct" if passed else "wrong", extracted, pattern[:500])

    def _compiled(self, pattern: str, where: str) -> "re.Pattern[str]":
        flags = re.NOFLAG
        for letter in self.flags:
            flags |= _FLAGS[letter]
        try:
            return re.compile(pattern, flags)
        except (re.error, RecursionError, OverflowError) as error:
            raise InputError(f"verifier 'regex': {where}: {pattern!r:.60} is no regular expression ({error})") from None


def _last(pattern: "re.Pattern[str]", text: str) -> "re.Match[str] | None":
    found = None
    for found in pattern.finditer(text):  # noqa: B007  the last one counts
        pass
    return found


def _compared(found: "re.Match[str] | None", problem: Problem) -> Verdict:
    if not isinstance(problem.reference, str | int | float):
        raise InputError(f"problem {problem.id!r}: the reference is the expected text, found {problem.reference!r:.60}")
    gold = str(problem.reference).strip()
    answer = None if found is None else found.group(1) if found.re.groups else found.group()
    if answer is None:
        return Verdict(0.0, "unparsed", expected=gold, detail="the pattern is not found")
    equal = answer.strip() == gold
    return Verdict(float(equal), "correct" if equal else "wrong", answer[:500], gold)
