r"""The mathematical verifier: extracts the final answer and compares it with the gold answer.

`problem.reference` is the gold answer as text (`\frac{1}{2}`, `073`, `1,234`) or a number. The default rule, `unmask`, goes
through `answers.cascade`; the others are the conventions of published graders (`rules`), for comparing like with like. What
`quick` decides needs no library and cannot hang; the rest has no clock of its own and belongs into a `VerifierPool`.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from .answers import cascade
from .answers.judging import Question
from .answers.perturb import perturbed
from .errors import InputError, nearest
from .extract import MATH_ORDER, Extraction, Extractor, check_order, extract
from .limits import PoolLimits
from .records import Completion, Message, Problem, Verdict

Rule = Literal["unmask", "math_verify", "minerva", "prm800k", "dllm_rl"]
RULES: tuple[Rule, ...] = ("unmask", "math_verify", "minerva", "prm800k", "dllm_rl")
VERSION = "2"

_STATEMENTS = {
    "boxed": r"\boxed{{}}",
    "hash": "#### {}",
    "phrase": "The answer is: {}",
    "bold": "**{}**",
    "dollar": "So it is ${}$",
}
_PERCENT = re.compile(r"percent|\\?%", re.I)
_EQUATION = re.compile(
    r"equations? (?:of|for|whose|that)\b|(?:an|the|your|its|simplest) equation\b|in the form|what line|asymptote|directrix|"
    r"inequality|axis of symmetry|as an equation",
    re.I,
)
# "(A) 10", "\\textbf{(A)}\\ 10", and at the beginning of a line "A. 10", "A) 10".
_OPTION = re.compile(
    r"(?:\\text(?:bf)?\{\s*)?(?:\(([A-J])\)|^(?P<line>[A-J])[.)])\s*\}?[\s~\\]*(.+?)"
    r"(?=\s*(?:\\q?quad|\n|,?\s*(?:\\text(?:bf)?\{\s*)?\([A-J]\)|$))",
    re.M,
)


@dataclass(frozen=True)
class MathVerifier:
    """Judges a completion against the gold answer.

    `order`: extractors to try, in order (`extract`). `rule`: whose convention decides (`RULES`). `tolerance`: relative tolerance
    for gold answers written as decimals, 0 for none; integers and fractions are always exact.
    """

    order: tuple[Extractor, ...] = MATH_ORDER
    rule: Rule = "unmask"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))
        check_order(self.order)
        if self.rule not in RULES:
            raise InputError(
                f"option 'rule': no rule is called {self.rule!r}{nearest(self.rule, RULES)}; known: {', '.join(RULES)}"
            )
        if not 0 <= self.tolerance < 1:
            raise InputError(f"option 'tolerance': must be at least 0 and below 1, is {self.tolerance}")

    @property
    def name(self) -> str:
        return "math"

    @property
    def version(self) -> str:
        """Names everything that a verdict depends on."""
        return f"{VERSION}-{self.rule}-{'+'.join(self.order)}" + (f"-{self.tolerance:g}" if self.tolerance else "")

    @property
    def limits(self) -> PoolLimits:
        """CPU time decides; the wall clock is generous, so that a loaded machine gives the same verdicts."""
        return PoolLimits(wall=15.0, cpu=2.0, memory=512 << 20)

    def warm(self) -> None:
        """Import what is heavy and let the parsers build their tables, once for all workers. Fails when a parser is missing."""
        from .answers import symbolic

        symbolic.warm()

    def quick(self, problem: Problem, completion: Completion) -> Verdict | None:
        """Return the verdict where that takes microseconds, else None."""
        gold, found = gold_answer(problem), extract(completion.text, self.order)
        if found is None:
            return Verdict(0.0, "unparsed", expected=gold, detail="no final answer found")
        if self.rule != "unmask":
            return None
        outcome = cascade.quick(gold, found.answer, self._question(problem))
        return _verdict(outcome, gold, found) if outcome else None

    def cache_key(self, problem: Problem, completion: Completion) -> str | None:
        """Two items with the same gold answer, extracted answer and kind of question get the same verdict."""
        found = extract(completion.text, self.order)
        if found is None:
            return None
        question = self._question(problem)
        return json.dumps([gold_answer(problem), found, question.percent, question.equation, question.options])

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return the verdict; may take seconds, so call it where it can be killed."""
        if verdict := self.quick(problem, completion):
            return verdict
        gold, found = gold_answer(problem), extract(completion.text, self.order)
        assert found is not None
        if self.rule == "unmask":
            return _verdict(cascade.deep(gold, found.answer, self._question(problem)), gold, found)
        from .answers import rules

        return _verdict(rules.decide(self.rule, gold, found.answer), gold, found)

    def gold_completion(self, problem: Problem) -> Completion:
        """Return a completion that gives the gold answer (for `validate`)."""
        return Completion(self._stated(gold_answer(problem)))

    def wrong_completions(self, problem: Problem) -> list[Completion]:
        """Return completions that give answers near the gold one, and wrong (for `validate`)."""
        return [Completion(self._stated(answer)) for answer in perturbed(gold_answer(problem))]

    def _stated(self, answer: str) -> str:
        return _STATEMENTS.get(self.order[0], "{}").replace("{}", answer)

    def _question(self, problem: Problem) -> Question:
        return _read_question(problem.prompt, self.tolerance)


@lru_cache(1024)
def _read_question(prompt: tuple[Message, ...], tolerance: float) -> Question:
    asked = " ".join(message.content for message in prompt)
    # A word or two (or nothing) is no question: then only the gold answer says what was asked.
    equation = bool(_EQUATION.search(asked)) if len(asked.split()) > 3 else None
    options = tuple((match.group(1) or match.group("line"), match.group(3).strip("$ ")) for match in _OPTION.finditer(asked))
    in_order = [letter for letter, _ in options] == list("ABCDEFGHIJ"[: len(options)])
    return Question(bool(_PERCENT.search(asked)), equation, tolerance, options if in_order else ())


def _verdict(outcome: cascade.Outcome, gold: str, found: Extraction) -> Verdict:
    status: Literal["refused", "correct", "wrong"] = "refused" if outcome.refused else "correct" if outcome.equal else "wrong"
    shown = found.answer if len(found.answer) <= 500 else found.answer[:497] + "..."
    return Verdict(float(outcome.equal), status, shown, gold, detail=f"{found.how}: {outcome.how}")


def gold_answer(problem: Problem) -> str:
    """Return the gold answer of a mathematical problem. Raises InputError when the reference is none."""
    gold = problem.reference
    if isinstance(gold, int | float) and not isinstance(gold, bool):
        return str(gold)
    if not isinstance(gold, str) or not gold.strip():
        raise InputError(f"problem {problem.id!r}: the reference of a math problem is its answer as text, found {gold!r:.60}")
    return gold
