r"""Verifiers of a completion's shape, which need no reference: `format`, `length`, `repetition`. Made for compositions.

`length` and `repetition` give penalties, 0 or below: their status is `correct` where there is none, `wrong` for the full one. All
are linear in the text and decide in the caller's process. Not covered: what language a text is in beyond its script.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import ClassVar, Literal

from .extract import after_thinking, boxes
from .options import OptionVerifier
from .records import Completion, Problem, Status, Verdict

SCRIPTS = {
    "arabic": ("ARABIC",),
    "chinese": ("CJK",),
    "cyrillic": ("CYRILLIC",),
    "devanagari": ("DEVANAGARI",),
    "greek": ("GREEK",),
    "hebrew": ("HEBREW",),
    "japanese": ("CJK", "HIRAGANA", "KATAKANA"),
    "korean": ("HANGUL",),
    "latin": ("LATIN",),
    "thai": ("THAI",),
}
"""The scripts that `format` knows, by the first word of their letters' Unicode names."""
Script = Literal["arabic", "chinese", "cyrillic", "devanagari", "greek", "hebrew", "japanese", "korean", "latin", "thai"]

_NO_PROSE = re.compile(r"\\[a-zA-Z]+|\$[^$\n]{0,400}\$|`[^`\n]{0,400}`|[a-zA-Z]+://\S{1,400}")
_TAG = re.compile(r"</?think>")


@dataclass(frozen=True)
class FormatVerifier(OptionVerifier):
    r"""The completion has the form that was asked for.

    `boxed`: exactly one `\boxed{}` after the thinking that is closed and not empty (`once`), at least one (`some`), or whatever.
    `think`: one well-formed `<think>...</think>` at the beginning with an answer behind it (`required`), the same or none
    (`allowed`), none (`none`), or whatever. `script`: at least `script_share` of the letters outside of formulas, code and
    LaTeX commands belong to it. `finished`: the completion was not cut off at its length limit. With `partial`, the reward is the
    share of these checks that pass, else 1 or 0; `Verdict.parts` has each of them.
    """

    kind: ClassVar[str] = "format"

    boxed: Literal["once", "some", "any"] = "once"
    think: Literal["required", "allowed", "none", "any"] = "allowed"
    script: Script | None = None
    script_share: float = 0.9
    finished: bool = False
    partial: bool = False

    def check(self) -> None:
        self.require(0 < self.script_share <= 1, "script_share", "above 0 and at most 1")
        asks = self.boxed != "any" or self.think != "any" or self.script is not None or self.finished
        self.require(asks, "boxed", "something else, or another check on: this format asks for nothing")

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; the problem does not matter."""
        faults = dict(self._checks(completion))
        failed = [fault for fault in faults.values() if fault]
        parts = {name: float(not fault) for name, fault in faults.items()}
        reward = 1 - len(failed) / len(faults) if self.partial else float(not failed)
        status: Status = "correct" if not failed else "partial" if reward > 0 else "wrong"
        return Verdict(reward, status, parts=parts, detail="; ".join(failed))

    quick = __call__

    def _checks(self, completion: Completion) -> Iterator[tuple[str, str]]:
        """The name of each check and what is wrong, if anything is."""
        if self.boxed != "any":
            yield "boxed", _boxed_fault(completion.text, once=self.boxed == "once")
        if self.think != "any":
            yield "think", _think_fault(completion.text, self.think)
        if self.script is not None:
            share = script_share(completion.text, SCRIPTS[self.script])
            yield "script", "" if share >= self.script_share else f"{share:.0%} of the letters are {self.script}"
        if self.finished:
            yield "finished", "cut off at the length limit" if completion.finish == "length" else ""


def _boxed_fault(text: str, *, once: bool) -> str:
    answer = after_thinking(text)
    found = boxes(answer)
    if not found:
        return "no boxed answer"
    if once and len(found) > 1:
        return f"{len(found)} boxed answers"
    return "" if all(box.strip() for box in found) else "an empty box"


def _think_fault(text: str, wanted: str) -> str:
    tags = [match.group() for match in _TAG.finditer(text)]
    if wanted == "none":
        return "think tags" if tags else ""
    if not tags and wanted == "allowed":
        return ""
    if tags != ["<think>", "</think>"]:
        return "no think tags" if not tags else f"think tags are {' '.join(tags[:4])}, not one pair"
    inside, _, answer = text.partition("</think>")
    if not inside.lstrip().startswith("<think>"):
        return "text before <think>"
    if not inside.partition("<think>")[2].strip():
        return "nothing is thought"
    return "" if answer.strip() else "no answer after </think>"


def script_share(text: str, prefixes: Sequence[str]) -> float:
    """The share of the letters of prose that belong to a script; 1 where there are no letters."""
    letters = [character for character in _NO_PROSE.sub(" ", text) if character.isalpha()]
    return sum(_script(letter) in prefixes for letter in letters) / len(letters) if letters else 1.0


@lru_cache(4096)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


@dataclass(frozen=True)
class LengthVerifier(OptionVerifier):
    """Soft over-length penalty (DAPO, arXiv 2503.14476, equation 13).

    0 up to `limit - buffer` units, falling linearly to -1 at `limit`, -1 beyond. `unit`: tokens of the record (stop token
    included), or characters or words of the text.
    """

    kind: ClassVar[str] = "length"

    limit: int = 0
    buffer: int = 0
    unit: Literal["tokens", "characters", "words"] = "tokens"

    def check(self) -> None:
        self.require(self.limit >= 1, "limit", f"given: the longest answer allowed, in {self.unit}")
        self.require(0 <= self.buffer <= self.limit, "buffer", f"between 0 and the limit of {self.limit}")

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; the problem does not matter."""
        units = _units(completion, self.unit)
        if units is None:
            return Verdict(None, "verifier_error", detail="length: the completion has no token ids; set another unit")
        length = len(units)
        over = length - (self.limit - self.buffer)
        penalty = 0.0 if over <= 0 else -min(over / self.buffer, 1.0) if self.buffer else -1.0
        detail = f"{length} {self.unit}" + (f", {over} beyond {self.limit - self.buffer}" if over > 0 else "")
        return _penalty(penalty, {"length": float(length)}, detail)

    quick = __call__


@dataclass(frozen=True)
class RepetitionVerifier(OptionVerifier):
    """Penalty for repeated n-grams (after Yeo et al., arXiv 2502.03373): minus the share of n-grams that occurred before.

    `allowed` is the share that costs nothing; from there the penalty rises linearly to -1. `unit`: lower-case words of the text,
    its characters, or tokens of the record.
    """

    kind: ClassVar[str] = "repetition"

    n: int = 4
    allowed: float = 0.0
    unit: Literal["words", "characters", "tokens"] = "words"

    def check(self) -> None:
        self.require(self.n >= 1, "n", "at least 1")
        self.require(0 <= self.allowed < 1, "allowed", "at least 0 and below 1")

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion; the problem does not matter."""
        units = _units(completion, self.unit)
        if units is None:
            return Verdict(None, "verifier_error", detail="repetition: the completion has no token ids; set unit=words")
        share = repeated_share(units, self.n)
        penalty = -max(share - self.allowed, 0.0) / (1 - self.allowed)
        return _penalty(penalty, {"repeated": share}, f"{share:.0%} of the {self.n}-grams are repeats")

    quick = __call__


def repeated_share(units: Sequence[object], n: int) -> float:
    """The share of n-grams that occurred before; 0 for a text shorter than n."""
    total = len(units) - n + 1
    if total < 1:
        return 0.0
    return 1 - len(set(zip(*(islice(units, start, None) for start in range(n)), strict=False))) / total


def _units(completion: Completion, unit: str) -> Sequence[object] | None:
    if unit == "tokens":
        return completion.token_ids
    return completion.text if unit == "characters" else completion.text.lower().split()


def _penalty(value: float, parts: dict[str, float], detail: str) -> Verdict:
    value = value + 0.0  # no negative zero in records
    status: Status = "correct" if value == 0 else "wrong" if value <= -1 else "partial"
    return Verdict(value, status, parts=parts, detail=detail)
