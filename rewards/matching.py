r"""Verifiers that compare a final answer with the reference: `exact` (as text), `choice` (a letter), `numeric` (a number).

Answers are found as everywhere (`extract`): thinking is left out, the last place that matches counts, and no answer found is
`unparsed`. All three decide in the caller's process: they are linear in the text and evaluate nothing unbounded. Not covered:
expressions, sets, equations (`math`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal

from .answers.exact import exact
from .answers.guard import MAX_LENGTH, TooBigError, refusal
from .answers.normal import normalise
from .answers.parse import parse
from .answers.texts import choice
from .answers.tokens import UnreadableError
from .answers.tree import Node
from .errors import InputError
from .extract import GSM8K_ORDER, Extractor, after_thinking, check_order, extract
from .options import OptionVerifier
from .records import Completion, Problem, Verdict

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class ExactVerifier(OptionVerifier):
    """The answer is the reference, or one of a list of references, character by character.

    `find`: what is compared: the whole text after any thinking, its last line, its last box, or the last `<answer>` element.
    White space at the ends never counts; with `collapse`, any white space inside equals one space; with `ignore_case`, case does
    not count either.
    """

    kind: ClassVar[str] = "exact"

    find: Literal["all", "line", "boxed", "tag"] = "all"
    ignore_case: bool = False
    collapse: bool = True

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError for a reference that is no text."""
        golds = _texts(problem)
        found = self._find(completion.text)
        if found is None:
            return Verdict(0.0, "unparsed", expected=golds[0], detail="no answer found")
        equal = self._normal(found) in {self._normal(gold) for gold in golds}
        return Verdict(float(equal), "correct" if equal else "wrong", _short(found), golds[0])

    quick = __call__

    def gold_completion(self, problem: Problem) -> Completion:
        """Return a completion that gives the reference (for `validate`)."""
        gold = _texts(problem)[0]
        return Completion({"boxed": f"\\boxed{{{gold}}}", "tag": f"<answer>{gold}</answer>"}.get(self.find, gold))

    def _find(self, text: str) -> str | None:
        answer = after_thinking(text).strip()
        if self.find == "boxed":
            extraction = extract(text, ("boxed",))
            return extraction.answer if extraction else None
        if self.find == "tag":
            before, closing, _ = answer.rpartition("</answer>")
            _, opening, element = before.rpartition("<answer>")
            return element.strip() or None if closing and opening else None
        return (answer.rpartition("\n")[2] if self.find == "line" else answer) or None

    def _normal(self, text: str) -> str:
        text = " ".join(text.split()) if self.collapse else text.strip()
        return text.casefold() if self.ignore_case else text


@dataclass(frozen=True)
class ChoiceVerifier(OptionVerifier):
    """The answer chooses the reference letter of a multiple-choice question.

    A choice is a letter up to `choices` letters into the alphabet: boxed, announced ("the answer is (B)"), in bold, alone, or on
    the last line. Where `problem.metadata["choices"]` lists the options' texts, the text of an option is as good as its letter.
    Several letters choose nothing.
    """

    kind: ClassVar[str] = "choice"

    choices: int = len(LETTERS)

    def check(self) -> None:
        self.require(2 <= self.choices <= len(LETTERS), "choices", f"between 2 and {len(LETTERS)}")

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError for a reference that is no letter."""
        gold = self._gold(problem)
        chosen = self._chosen(completion.text, problem.metadata.get("choices"))
        if not chosen:
            return Verdict(0.0, "unparsed", expected=gold, detail="no choice found")
        return Verdict(float(chosen == gold), "correct" if chosen == gold else "wrong", chosen, gold)

    quick = __call__

    def gold_completion(self, problem: Problem) -> Completion:
        """Return a completion that chooses the reference (for `validate`)."""
        return Completion(f"\\boxed{{{self._gold(problem)}}}")

    def wrong_completions(self, problem: Problem) -> list[Completion]:
        """Return a completion that chooses another letter (for `validate`)."""
        other = "B" if self._gold(problem) == "A" else "A"
        return [Completion(f"\\boxed{{{other}}}")]

    def _gold(self, problem: Problem) -> str:
        gold = problem.reference.strip("() .").upper() if isinstance(problem.reference, str) else ""
        if len(gold) != 1 or gold not in LETTERS[: self.choices]:
            last = LETTERS[self.choices - 1]
            raise InputError(f"problem {problem.id!r}: the reference is a letter, A to {last}, found {problem.reference!r:.40}")
        return gold

    def _chosen(self, text: str, options: object) -> str:
        for how in _CHOICE_ORDER:
            found = extract(text, (how,))
            if found and (letter := self._letter(found.answer, options)):
                return letter
        # Each time the answer is announced counts, the last one last: "the answer is B because ..."
        announced = [match.group(1) for match in _ANNOUNCED.finditer(after_thinking(text))]
        return next((letter for letter in reversed(announced) if letter in LETTERS[: self.choices]), "")

    def _letter(self, answer: str, options: object) -> str:
        texts = [str(option).strip().casefold() for option in options] if isinstance(options, Sequence) else []
        if (plain := answer.strip().casefold()) in texts and len(plain) > 1:
            return LETTERS[texts.index(plain)] if texts.count(plain) == 1 else ""
        letter = choice(normalise(answer), "(A)") if len(answer) <= MAX_LENGTH else ""
        return letter if letter in LETTERS[: self.choices] else ""


_CHOICE_ORDER: tuple[Extractor, ...] = ("boxed", "hash", "phrase", "whole", "bold", "line")
# A bare "A" or "I" in a sentence is mostly a word: those two need something that marks them as a letter.
_ANNOUNCED = re.compile(
    r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?: is|:)? *\**\(?"
    r"([B-HJ]\b(?!['’])|[AI](?=[).:*]|\s*$|,? (?:because|since|as)\b))"
)


@dataclass(frozen=True)
class NumericVerifier(OptionVerifier):
    """The answer is a number within a tolerance of the reference.

    Exact rational arithmetic decides: `|answer - reference| <= max(absolute, relative * |reference|)`, so that the default
    accepts equal values only, in any notation (`0.5`, `1/2`, `\\frac12`, `50\\%`, `5e-1`, with units or currency signs).
    `order`: where the number is looked for (`extract`).
    """

    kind: ClassVar[str] = "numeric"

    absolute: float = 0.0
    relative: float = 0.0
    order: tuple[Extractor, ...] = GSM8K_ORDER

    def check(self) -> None:
        check_order(self.order)
        self.require(self.absolute >= 0, "absolute", "0 or more")
        self.require(0 <= self.relative < 1, "relative", "at least 0 and below 1")

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge one completion. Raises InputError for a reference that is no number."""
        gold, expected = self._gold(problem), str(problem.reference)
        answer, how = "", ""
        for extractor in self.order:
            if (found := extract(completion.text, (extractor,))) is None:
                continue
            answer, how = found
            if why := refusal(answer, expected):
                return Verdict(0.0, "refused", _short(answer), expected, detail=why)
            try:
                value = number(answer)
            except TooBigError as error:
                return Verdict(0.0, "refused", _short(answer), expected, detail=f"refused: {error}")
            if value is not None:
                return self._compare(value, gold, Verdict(0.0, "wrong", _short(answer), expected, detail=how))
            if extractor in _EXPLICIT:
                break
        return Verdict(
            0.0, "unparsed", _short(answer) or None, expected, detail=f"{how}: not a number" if how else "no number found"
        )

    quick = __call__

    def gold_completion(self, problem: Problem) -> Completion:
        """Return a completion that gives the reference (for `validate`)."""
        return Completion(f"\\boxed{{{problem.reference}}}")

    def wrong_completions(self, problem: Problem) -> list[Completion]:
        """Return a number beyond the tolerance (for `validate`)."""
        gold = self._gold(problem)
        step = 2 * max(Fraction(str(self.absolute)), Fraction(str(self.relative)) * abs(gold)) + 1
        return [Completion(f"\\boxed{{{gold + step}}}")]

    def _compare(self, value: Fraction, gold: Fraction, verdict: Verdict) -> Verdict:
        # As the decimal that was written: the float 0.1 is a little more than a tenth.
        near = abs(value - gold) <= max(Fraction(str(self.absolute)), Fraction(str(self.relative)) * abs(gold))
        detail = verdict.detail if value == gold else f"{verdict.detail}: off by {_digits(abs(value - gold))}"
        return replace(verdict, reward=float(near), status="correct" if near else "wrong", detail=detail)

    def _gold(self, problem: Problem) -> Fraction:
        reference = problem.reference
        is_number = isinstance(reference, str | int | float) and not isinstance(reference, bool)
        gold = number(str(reference)) if is_number else None
        if gold is None:
            raise InputError(f"problem {problem.id!r}: the reference of a number is a number, found {reference!r:.40}")
        return gold


_EXPLICIT: tuple[Extractor, ...] = ("boxed", "hash", "phrase")
"""Where an answer stands that was given as such: if that is no number, no number was given."""
_SCIENTIFIC = re.compile(r"[-+]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})[eE][-+]?\d{1,3}", re.A)


def number(text: str) -> Fraction | None:
    """Return the rational value of a number as people and models write it, without its unit; None when it is none.

    Raises TooBigError for one that nobody should compute.
    """
    if _SCIENTIFIC.fullmatch(text.strip()):
        return Fraction(text.strip())
    try:
        return exact(_bare(parse(normalise(text))))
    except (UnreadableError, RecursionError):
        return None


def _bare(node: Node) -> Node:
    """The value of `x = 5`, of `5 apples` and of both."""
    if node.kind == "rel" and node.value[-1] == "=" and exact(node.args[0]) is None:
        return _bare(node.args[-1])
    return _bare(node.args[0]) if node.kind == "unit" and node.args else node


def _digits(value: Fraction) -> str:
    try:
        return f"{float(value):.4g}"
    except OverflowError:
        return "more than a float holds"


def _texts(problem: Problem) -> list[str]:
    reference = problem.reference
    golds = reference if isinstance(reference, list) else [reference]
    if not golds or not all(isinstance(gold, str) and gold.strip() for gold in golds):
        raise InputError(f"problem {problem.id!r}: the reference is a text or a list of texts, found {reference!r:.60}")
    return golds


def _short(text: str) -> str:
    return text if len(text) <= 500 else text[:497] + "..."
