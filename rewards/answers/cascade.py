"""The cascade: from the cheapest way to decide a pair of answers to the dearest.

`quick` (in the caller's process, microseconds): refusal of hostile answers, equal strings, integers, words and choices, and typed
comparison with exact values. `deep` (in a killable worker): typed comparison by value, then `symbolic`. Both say which stage
decided. An answer that the grammar does not cover is never equal to one that it does, except by way of math-verify.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from .guard import TooBigError, refusal
from .judges import ExactJudge, ValueJudge
from .judging import Answer, Question
from .normal import normalise, string_key
from .parse import parse
from .texts import choice, gold_choice, is_wordy, words
from .tokens import UnreadableError
from .tree import Node
from .typed import Comparison


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was concluded (`refused` answers are not equal) and how."""

    equal: bool
    how: str
    refused: bool = False


CACHE_ENTRIES = 50_000
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")


@lru_cache(CACHE_ENTRIES)
def quick(gold: str, answer: str, question: Question) -> Outcome | None:
    """Decide without any library, or return None."""
    if why := refusal(answer, gold):
        return Outcome(False, why, refused=True)
    mine, yours = normalise(gold), normalise(answer)
    if not yours:
        return Outcome(False, "empty answer")
    if string_key(mine) == string_key(yours):
        return Outcome(True, "equal as normalised strings")
    mine = _option(mine, yours, question)
    if _INTEGER.fullmatch(mine) and _INTEGER.fullmatch(yours):
        return Outcome(int(mine) == int(yours), "compared as integers")
    return _words(mine, yours) or _typed(mine, yours, question)


def forget() -> None:
    """Empty the caches of this process (to measure without them)."""
    for cached in (quick, normalise, parse):
        cached.cache_clear()


def _option(gold: str, answer: str, question: Question) -> str:
    """Where a letter is asked for and no letter given, the value of that option is as good."""
    letter = gold_choice(gold) if question.options else ""
    value = dict(question.options).get(letter, "")
    return normalise(value) if value and not choice(answer, gold) else gold


def _words(gold: str, answer: str) -> Outcome | None:
    if letter := gold_choice(gold):
        if choice(answer, gold) == letter:
            return Outcome(True, "the same choice")
        if choice(answer, gold):
            return Outcome(False, "another choice")
    if is_wordy(gold) and is_wordy(answer) and ("text" in gold or "text" in answer or " " in gold or len(gold) > 3):
        return Outcome(words(gold) == words(answer), "compared as words") if words(gold) == words(answer) else None
    return None


def _typed(gold: str, answer: str, question: Question) -> Outcome | None:
    trees = read(gold, answer)
    if trees is None:
        return None
    return _outcome(*trees, Comparison(ExactJudge(question.tolerance), question), "compared by type, exactly")


def deep(gold: str, answer: str, question: Question) -> Outcome:
    """Decide with mpmath, math-verify and sympy. To be run where it can be killed."""
    mine, yours = normalise(gold), normalise(answer)
    mine = _option(mine, yours, question)
    trees = read(mine, yours)
    if trees is not None:
        by_value = Comparison(ValueJudge(question.tolerance), question)
        if outcome := _outcome(*trees, by_value, "compared by type, values to 25 digits"):
            return outcome
    from . import symbolic

    return Outcome(*symbolic.decide(mine, yours, trees))


def _outcome(gold: Node, answer: Node, comparison: Comparison, how: str) -> Outcome | None:
    try:
        equal: Answer = comparison.equal(gold, answer)
    except TooBigError as error:
        return Outcome(False, f"refused: {error}", refused=True)
    return None if equal is None else Outcome(equal, how)


def read(gold: str, answer: str) -> tuple[Node, Node] | None:
    """Parse both sides, or return None when one cannot be read."""
    try:
        return parse(gold), parse(answer)
    except (UnreadableError, RecursionError):
        return None
