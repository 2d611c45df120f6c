"""Group verifiers: rewards that depend on all samples of a problem, such as ranks. And the built-in one, `brevity`.

The second, rarer protocol beside `Verifier`: `verify_group(problem, completions) -> one verdict each`. In a file, a function
`def reward(problem, completions) -> list[float]` is enough; its second parameter has to be called `completions`. The pool
collects the samples of a problem and judges them as one item, with the limits of one item for each of them: a hang costs the
group. Called with a single completion, a group verifier judges a group of one. Not covered: group verifiers as parts of
compositions (give `brevity` a composition to build on).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from .errors import InputError
from .limits import PoolLimits
from .options import OptionVerifier
from .records import Completion, Problem, Verdict
from .verifier import Verifier, verdict_of


@runtime_checkable
class GroupVerifier(Verifier, Protocol):
    """Judges all samples of one problem together."""

    def verify_group(self, problem: Problem, completions: Sequence[Completion]) -> Sequence[Verdict]:
        """Return one verdict for each completion, in their order."""


def is_group(verifier: object) -> bool:
    """Whether a verifier judges whole groups."""
    return hasattr(verifier, "verify_group")


def incomplete(problem: str, count: int) -> Verdict:
    """The verdict on each of a group's samples when others are missing."""
    detail = f"problem {problem!r}: only {count} samples of its group are here, and they are judged together"
    return Verdict(reward=None, status="verifier_error", detail=detail)


@dataclass(frozen=True)
class GroupFunction:
    """A plain function `reward(problem, completions) -> list of numbers or verdicts` as a group verifier."""

    function: Callable[..., Any]
    name: str
    version: str
    options: dict[str, object] = field(default_factory=dict)

    def verify_group(self, problem: Problem, completions: Sequence[Completion]) -> list[Verdict]:
        """Return the function's numbers as verdicts. Raises ValueError when there are not as many as completions."""
        results = list(self.function(problem, completions, **self.options))
        if len(results) != len(completions):
            raise ValueError(f"{self.name} returned {len(results)} rewards for {len(completions)} completions")
        return [result if isinstance(result, Verdict) else verdict_of(result, self.name) for result in results]

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge a group of one."""
        return self.verify_group(problem, [completion])[0]


@dataclass(frozen=True)
class BrevityVerifier(OptionVerifier):
    """The right answers of a problem compete on length (Kimi k1.5, arXiv 2501.12599, section 2.3.3).

    To the reward of `verifier` (a name as for `--verifier`, with `options`) comes `weight` times 0.5 - (length - shortest) /
    (longest - shortest), over the samples of the problem; a wrong answer gets that only where it is below 0. Where all are
    equally long nothing is added. `unit`: tokens of the record, or characters of the text.
    """

    kind: ClassVar[str] = "brevity"

    verifier: str = "math"
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    unit: Literal["tokens", "characters"] = "tokens"

    def check(self) -> None:
        if is_group(self._base):
            raise InputError(f"verifier 'brevity': option 'verifier': {self.verifier!r} judges groups itself")

    @property
    def version(self) -> str:
        """The base verifier's version is part of it."""
        return f"{super().version}-{self._base.version}"

    @property
    def limits(self) -> PoolLimits:
        """Those of the base verifier, for each sample."""
        return getattr(self._base, "limits", None) or PoolLimits()

    def warm(self) -> None:
        """Warm the base verifier."""
        if (warm := getattr(self._base, "warm", None)) is not None:
            warm()

    def verify_group(self, problem: Problem, completions: Sequence[Completion]) -> list[Verdict]:
        """Judge each sample, then compare their lengths."""
        lengths = [self._length(completion) for completion in completions]
        verdicts = [self._base(problem, completion) for completion in completions]
        if None in lengths:
            return [Verdict(None, "verifier_error", detail="brevity: no token ids; set unit=characters") for _ in completions]
        known = [length for length in lengths if length is not None]
        return [
            self._with_bonus(verdict, length, min(known), max(known)) for verdict, length in zip(verdicts, known, strict=True)
        ]

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge a group of one, which competes with nobody."""
        return self.verify_group(problem, [completion])[0]

    @property
    def _base(self) -> Verifier:
        from .plugins import load_verifier

        return load_verifier(self.verifier, **self.options)

    def _length(self, completion: Completion) -> int | None:
        if self.unit == "characters":
            return len(completion.text)
        return None if completion.token_ids is None else len(completion.token_ids)

    def _with_bonus(self, verdict: Verdict, length: int, shortest: int, longest: int) -> Verdict:
        if verdict.reward is None:
            return verdict
        bonus = 0.5 - (length - shortest) / (longest - shortest) if longest > shortest else 0.0
        if verdict.status != "correct":
            bonus = min(bonus, 0.0)
        parts: Mapping[str, float] = {**verdict.parts, "outcome": verdict.reward, "brevity": bonus, "length": float(length)}
        return replace(verdict, reward=verdict.reward + self.weight * bonus, parts=dict(parts))
