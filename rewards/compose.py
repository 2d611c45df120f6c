"""Composing verifiers: `Weighted` sums, a `Gate` before, a `Cascade` of attempts. They are verifiers themselves, so they nest.

Every part's reward is kept in `Verdict.parts` under the part's name, and its own parts under `name.part`. A part that could
not judge (`verifier_error`) is never a 0: it makes the whole a `verifier_error`, but for a cascade, which goes on to the next
attempt. Step rewards are carried through, weighted as their part is. The version of a composition is made of the versions and
options of its parts. The same in YAML: `compose_yaml`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .errors import InputError, nearest
from .groups import is_group
from .limits import PoolLimits
from .records import Completion, Problem, StepReward, Verdict
from .verifier import Verifier

Until = Literal["decided", "correct"]
_UNDECIDED = ("unparsed", "refused", "verifier_error")


class PartError(RuntimeError):
    """A part of a composition raised; the message names the part and says what."""


@dataclass(frozen=True)
class Part:
    """One verifier of a composition.

    `weight` counts in sums only. `reference`: where the problem's reference is an object, the key of this part's own reference.
    """

    verifier: Verifier
    weight: float = 1.0
    reference: str | None = None

    def judge(self, name: str, problem: Problem, completion: Completion) -> Verdict:
        """Ask this part. Raises PartError for whatever it raises, so that the record tells which part it was."""
        try:
            return self.verifier(self.problem(problem), completion)
        except Exception as error:
            raise PartError(f"part {name!r}: {type(error).__name__}: {error}") from error

    def problem(self, problem: Problem) -> Problem:
        """The problem with this part's own reference. Raises InputError when it has none."""
        if self.reference is None:
            return problem
        if not isinstance(problem.reference, Mapping) or self.reference not in problem.reference:
            raise InputError(f"problem {problem.id!r}: the reference has no key {self.reference!r}, which a part asks for")
        return replace(problem, reference=problem.reference[self.reference])


@dataclass(frozen=True)
class Composition:
    """What all compositions share: named parts in order, and the hooks that the pool uses."""

    parts: Mapping[str, Part]
    name: str = "composition"

    def __init__(self, parts: Mapping[str, "Part | Verifier"], *, name: str) -> None:
        if not parts:
            raise InputError(f"{name}: a composition needs at least one part")
        made = {key: part if isinstance(part, Part) else Part(part) for key, part in parts.items()}
        for key, part in made.items():
            if is_group(part.verifier):
                raise InputError(f"{name}: part {key!r}: {part.verifier.name!r} judges groups and cannot be a part")
        object.__setattr__(self, "parts", made)
        object.__setattr__(self, "name", name)

    @property
    def version(self) -> str:
        """A hash of everything that a verdict depends on."""
        text = json.dumps([type(self).__name__, self._identity(), self._settings()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def limits(self) -> PoolLimits:
        """What all parts may need, one after the other."""
        each = [getattr(part.verifier, "limits", None) or PoolLimits() for part in self.parts.values()]
        return PoolLimits(_sum(one.wall for one in each), _sum(one.cpu for one in each), _most(one.memory for one in each))

    def warm(self) -> None:
        """Warm every part that can be."""
        for part in self.parts.values():
            if (warm := getattr(part.verifier, "warm", None)) is not None:
                warm()

    def gold_completion(self, problem: Problem) -> Completion:
        """The gold completion of the first part that has one (for `validate`)."""
        part, make = self._offering("gold_completion")
        found: Completion = make(part.problem(problem))
        return found

    def wrong_completions(self, problem: Problem) -> list[Completion]:
        """The wrong completions of the first part that has a gold one (for `validate`)."""
        part, _ = self._offering("gold_completion")
        make = getattr(part.verifier, "wrong_completions", None)
        return list(make(part.problem(problem))) if make else []

    def _offering(self, hook: str) -> tuple[Part, Callable[[Problem], Any]]:
        for part in self.parts.values():
            if (make := getattr(part.verifier, hook, None)) is not None:
                return part, make
        raise InputError(f"verifier {self.name!r}: none of its parts has a {hook}(problem)")

    def _identity(self) -> list[object]:
        return [[key, p.verifier.name, p.verifier.version, p.weight, p.reference] for key, p in self.parts.items()]

    def _settings(self) -> dict[str, object]:
        return {}


@dataclass(frozen=True, init=False)
class Weighted(Composition):
    """The weighted sum of all parts.

    `status`, `extracted`, `expected` and `detail` are those of the `main` part (default: the first), which is what a status
    histogram and pass@k should count. With `normalise`, the sum is divided by the sum of the weights' absolute values.
    """

    main: str = ""
    normalise: bool = False

    def __init__(
        self, parts: Mapping[str, "Part | Verifier"], *, main: str | None = None, normalise: bool = False, name: str = "weighted"
    ) -> None:
        super().__init__(parts, name=name)
        main = next(iter(self.parts)) if main is None else main
        if main not in self.parts:
            raise InputError(f"{name}: main: no part is called {main!r}{nearest(main, self.parts)}")
        if normalise and not any(part.weight for part in self.parts.values()):
            raise InputError(f"{name}: normalise: all weights are 0")
        object.__setattr__(self, "main", main)
        object.__setattr__(self, "normalise", normalise)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge with every part."""
        return self._sum({key: part.judge(key, problem, completion) for key, part in self.parts.items()})

    def quick(self, problem: Problem, completion: Completion) -> Verdict | None:
        """The verdict where every part decides in microseconds, else None."""
        found = {key: _quick(part, problem, completion) for key, part in self.parts.items()}
        decided = {key: verdict for key, verdict in found.items() if verdict is not None}
        return self._sum(decided) if len(decided) == len(found) else None

    def _sum(self, verdicts: Mapping[str, Verdict]) -> Verdict:
        parts = _all_parts(verdicts)
        if failed := _failed(verdicts):
            return Verdict(None, "verifier_error", parts=parts, detail=failed)
        scale = sum(abs(part.weight) for part in self.parts.values()) if self.normalise else 1.0
        weights = {key: part.weight / scale for key, part in self.parts.items()}
        reward = sum(weights[key] * (verdict.reward or 0.0) for key, verdict in verdicts.items())
        steps = [step for key, verdict in verdicts.items() for step in weighted_steps(verdict.step_rewards, weights[key])]
        carried = tuple(steps) if any(verdict.step_rewards is not None for verdict in verdicts.values()) else None
        return replace(verdicts[self.main], reward=reward, parts=parts, step_rewards=carried, seconds=0.0)

    def _settings(self) -> dict[str, object]:
        return {"main": self.main, "normalise": self.normalise}


@dataclass(frozen=True, init=False)
class Gate(Composition):
    """`then` counts only where `gate` is passed; else the reward is `otherwise`, and `then` is not asked.

    The gate is passed when it says `correct`, or, with a `threshold`, when its reward is at least that.
    """

    otherwise: float = 0.0
    threshold: float | None = None

    def __init__(
        self,
        gate: "Part | Verifier",
        then: "Part | Verifier",
        *,
        otherwise: float = 0.0,
        threshold: float | None = None,
        name: str = "gate",
    ) -> None:
        super().__init__({"then": then, "gate": gate}, name=name)
        object.__setattr__(self, "otherwise", otherwise)
        object.__setattr__(self, "threshold", threshold)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Ask the gate, and behind it the other."""
        gate = self.parts["gate"].judge("gate", problem, completion)
        if not self._passed(gate):
            return self._closed(gate)
        return self._open(gate, self.parts["then"].judge("then", problem, completion))

    def quick(self, problem: Problem, completion: Completion) -> Verdict | None:
        """The verdict where those asked decide in microseconds, else None."""
        gate = _quick(self.parts["gate"], problem, completion)
        if gate is None:
            return None
        if not self._passed(gate):
            return self._closed(gate)
        then = _quick(self.parts["then"], problem, completion)
        return None if then is None else self._open(gate, then)

    def _passed(self, gate: Verdict) -> bool:
        if gate.reward is None:
            return False
        return gate.status == "correct" if self.threshold is None else gate.reward >= self.threshold

    def _closed(self, gate: Verdict) -> Verdict:
        parts = _all_parts({"gate": gate})
        if gate.reward is None:
            return Verdict(None, "verifier_error", parts=parts, detail=_failed({"gate": gate}))
        status = "wrong" if gate.status == "correct" else gate.status
        return replace(gate, reward=self.otherwise, status=status, parts=parts, step_rewards=None, detail=f"gate: {gate.detail}")

    def _open(self, gate: Verdict, then: Verdict) -> Verdict:
        parts = _all_parts({"gate": gate, "then": then})
        if then.reward is None:
            return Verdict(None, "verifier_error", parts=parts, detail=_failed({"then": then}))
        return replace(then, parts=parts, seconds=0.0)

    def _settings(self) -> dict[str, object]:
        return {"otherwise": self.otherwise, "threshold": self.threshold}


@dataclass(frozen=True, init=False)
class Cascade(Composition):
    """The parts are asked in turn until one settles the matter; its verdict counts, and `Verdict.detail` names it.

    `until` "decided": the first that found an answer and could judge it. "correct": the first that says correct; where none
    does, the last verdict counts, unless a part could not judge: then the whole could not.
    """

    until: Until = "decided"

    def __init__(self, parts: Mapping[str, "Part | Verifier"], *, until: Until = "decided", name: str = "cascade") -> None:
        super().__init__(parts, name=name)
        if until not in ("decided", "correct"):
            raise InputError(f"{name}: until is {until!r}; it must be decided or correct")
        object.__setattr__(self, "until", until)

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Ask one after the other."""
        asked: dict[str, Verdict] = {}
        for key, part in self.parts.items():
            asked[key] = part.judge(key, problem, completion)
            if self._settles(asked[key]):
                break
        return self._last(asked)

    def quick(self, problem: Problem, completion: Completion) -> Verdict | None:
        """The verdict where those asked decide in microseconds, else None."""
        asked: dict[str, Verdict] = {}
        for key, part in self.parts.items():
            verdict = _quick(part, problem, completion)
            if verdict is None:
                return None
            asked[key] = verdict
            if self._settles(verdict):
                break
        return self._last(asked)

    def _settles(self, verdict: Verdict) -> bool:
        return verdict.status == "correct" if self.until == "correct" else verdict.status not in _UNDECIDED

    def _last(self, asked: Mapping[str, Verdict]) -> Verdict:
        key, last = list(asked.items())[-1]
        parts = _all_parts(asked)
        failed = _failed(asked)
        if failed and (last.reward is None or not self._settles(last)):
            return Verdict(None, "verifier_error", parts=parts, detail=failed)
        detail = f"{key}: {last.detail}" + (f" (before: {failed})" if failed else "")
        return replace(last, parts=parts, detail=detail, seconds=0.0)

    def _settings(self) -> dict[str, object]:
        return {"until": self.until}


def weighted_steps(steps: tuple[StepReward, ...] | None, weight: float) -> Iterator[StepReward]:
    """The steps with their values times `weight`."""
    return (replace(step, value=step.value * weight) for step in steps or ())


def _quick(part: Part, problem: Problem, completion: Completion) -> Verdict | None:
    quick = getattr(part.verifier, "quick", None)
    if quick is None:
        return None
    verdict: Verdict | None = quick(part.problem(problem), completion)
    return verdict


def _all_parts(verdicts: Mapping[str, Verdict]) -> dict[str, float]:
    """The reward of every part that has one, and its own parts."""
    found: dict[str, float] = {}
    for key, verdict in verdicts.items():
        if verdict.reward is not None:
            found[key] = verdict.reward
        found |= {f"{key}.{name}": value for name, value in verdict.parts.items()}
    return found


def _failed(verdicts: Mapping[str, Verdict]) -> str:
    failed = {key: verdict for key, verdict in verdicts.items() if verdict.reward is None}
    return "; ".join(f"part {key!r} could not judge: {verdict.detail}" for key, verdict in failed.items())


def _sum(values: Iterator[float | None]) -> float | None:
    each = list(values)
    return None if None in each else sum(value for value in each if value is not None)


def _most(values: Iterator[int | None]) -> int | None:
    each = list(values)
    return None if None in each else max(value for value in each if value is not None)
