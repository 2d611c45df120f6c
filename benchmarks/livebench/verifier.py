"""The verifier of LiveBench: picks the scorer of the question's task and turns its score into a verdict.

`<think>` blocks are removed first, as upstream does. The coding tasks are judged like LiveCodeBench problems.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...rewards.errors import InputError
from ...rewards.extract import after_thinking
from ...rewards.limits import PoolLimits
from ...rewards.records import Completion, Problem, Verdict
from . import coding, data_analysis, instructions, language, math, reasoning
from .text import Question, Score

Scorer = Callable[[Question, str], Score]

SCORERS: Mapping[str, Scorer] = {
    "AMPS_Hard": math.amps_hard,
    "connections": language.connections,
    "cta": data_analysis.cta,
    "math_comp": math.math_comp,
    "olympiad": math.olympiad,
    "paraphrase": instructions.instruction_following,
    "plot_unscrambling": language.plot_unscrambling,
    "simplify": instructions.instruction_following,
    "spatial": reasoning.spatial,
    "story_generation": instructions.instruction_following,
    "summarize": instructions.instruction_following,
    "tablejoin": data_analysis.tablejoin,
    "tablereformat": data_analysis.tablereformat,
    "typos": language.typos,
    "web_of_lies_v2": reasoning.web_of_lies_v2,
    "zebra_puzzle": reasoning.zebra_puzzle,
}


@dataclass(frozen=True)
class LiveBenchVerifier:
    """Judges by the task's own scorer. `rule`: "default", or "official" to reproduce upstream's faults as well."""

    rule: Literal["default", "official"] = "default"

    def __post_init__(self) -> None:
        if self.rule not in ("default", "official"):
            raise InputError(f"livebench: rule {self.rule!r} is neither default nor official")

    @property
    def name(self) -> str:
        return "livebench"

    @property
    def version(self) -> str:
        return f"1-{self.rule}"

    @property
    def limits(self) -> PoolLimits:
        """Programs have limits of their own; `cpu` bounds what the scorers do themselves."""
        return PoolLimits(wall=1800.0, cpu=60.0, memory=4 << 30)

    def warm(self) -> None:
        """Load what compares expressions, once for all workers."""
        math.COMPARE.warm()

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Return the verdict; a score between 0 and 1 is `partial`. Raises InputError for a reference of another benchmark."""
        if isinstance(problem.reference, dict) and problem.reference.get("task") in coding.TASKS:
            return coding.judge(problem, after_thinking(completion.text), completion.finish, self.rule)
        question = _question(problem, self.rule == "official")
        score = SCORERS[question.task](question, after_thinking(completion.text).strip())
        return Verdict(
            reward=score.value,
            status=_status(score),
            extracted=score.extracted,
            expected=question.gold or None,
            detail=f"{question.task}, {self.rule} rule",
        )


def _question(problem: Problem, official: bool) -> Question:
    reference: Any = problem.reference
    if not isinstance(reference, dict) or reference.get("task") not in SCORERS:
        raise InputError(f"problem {problem.id!r}: its reference is none of a LiveBench task")
    return Question(
        task=reference["task"],
        gold=reference["ground_truth"],
        text=problem.prompt[-1].content if problem.prompt else "",
        subtask=reference["subtask"],
        release=reference["release"],
        instructions=tuple(reference["instructions"]),
        official=official,
    )


def _status(score: Score) -> Literal["correct", "wrong", "partial", "unparsed"]:
    if score.value >= 1:
        return "correct"
    if score.value > 0:
        return "partial"
    return "unparsed" if score.extracted is None else "wrong"
