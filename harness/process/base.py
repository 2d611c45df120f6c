"""What a process reward is, how one is found by name, and how it joins the outcome.

The second protocol beside verifiers, for what needs more than one completion's text: the policy, another model, a service. Any
verifier whose verdicts have step rewards is a process reward too (`verified`). How steps and outcome combine is declared, always:
- `add`: the reward is the outcome plus the steps' rewards;
- `replace`: it is the steps' rewards alone;
- `gate`: as `add` where the outcome is correct, else the outcome alone, without steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from ...rewards.errors import InputError, nearest
from ...rewards.plugins import VERIFIERS, known_names, load_object
from ...rewards.pool import VerifierPool
from ...rewards.records import Problem, StepReward, Verdict
from ...rewards.steps import total
from ...rewards.verifier import Verifier, as_verifier
from ..records import Rollout
from .placement import Place, Spread

if TYPE_CHECKING:
    from ..models.model import Model

Combine = Literal["add", "replace", "gate"]

PROCESS_REWARDS: Mapping[str, str] = MappingProxyType(
    {
        "intermediate": "unmask.harness.process.values:Intermediate",
        "judge": "unmask.harness.process.judging:JudgeReward",
        "prm": "unmask.harness.process.prm:PrmReward",
        "rollout": "unmask.harness.process.values:MonteCarlo",
    }
)
"""Those that need more than a verifier's worker."""

WITH_STEPS = ("arithmetic", "tests")
"""The built-in verifiers whose verdicts have step rewards."""

GROUP = "unmask.process_rewards"
"""The entry point group of process rewards."""


class Item(NamedTuple):
    """A judged sample whose steps are to be rewarded."""

    problem: Problem
    rollout: Rollout
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Steps:
    """The rewards of one sample's steps; None when they could not be judged, and then `detail` says why."""

    rewards: tuple[StepReward, ...] | None
    detail: str = ""
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a process reward may use: the policy (loaded when first called for), its tokenizer, and outcome verifiers by task.

    `start` gives a pool for a verifier that is asked again and again; whoever made the context closes it.
    """

    model: "Callable[[], Model]"
    tokenizer: Any
    pool: Callable[[str], VerifierPool]
    start: Callable[[Verifier], VerifierPool] | None = None
    seed: int = 0
    workers: int | None = None
    max_batch: int = 32


@runtime_checkable
class ProcessReward(Protocol):
    """Rewards the steps of judged samples. A class is called with the options; see `Steps` for what comes of a sample."""

    @property
    def name(self) -> str:
        """Short name, as given to `--process`."""

    @property
    def version(self) -> str:
        """Changes whenever the same sample may get other rewards."""

    def rewards(self, items: Sequence[Item], context: Context) -> Iterator[Steps]:
        """Yield one `Steps` per item, in their order."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """Which process reward, and what becomes of its rewards.

    `name` is a name of `PROCESS_REWARDS`, or what `load_verifier` takes; `options` are its own. `combine` has no default: see
    the module. `weight` multiplies the steps' rewards. `place`, `spread`: which tokens a span's reward goes to (`placement`).
    """

    name: str
    combine: Combine
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    place: Place = "all"
    spread: Spread = "split"


def load_process_reward(name: str, options: Mapping[str, Any]) -> ProcessReward:
    """Find a process reward by short name, `package.module:attribute` or `file.py:attribute`. Raises InputError."""
    from .verified import Verified

    known = {**VERIFIERS, **PROCESS_REWARDS}
    if name.endswith((".yaml", ".yml")):
        from ...rewards.plugins import load_verifier

        return Verified(load_verifier(name, **options))
    if ":" not in name and name not in known_names(GROUP, known):
        if name in known_names("unmask.verifiers"):
            return Verified(as_verifier(load_object(name, "unmask.verifiers"), name, options))
        hint = nearest(name, known) or f"; known: {', '.join([*WITH_STEPS, *PROCESS_REWARDS])}, or a verifier with steps"
        raise InputError(f"no process reward is called {name!r}{hint}")
    found = load_object(name, GROUP, known)
    if isinstance(found, type) and hasattr(found, "rewards"):
        made = _made(found, name, options)
        if not isinstance(made, ProcessReward):
            raise InputError(f"{name!r}: {found.__name__} is no process reward: it needs name, version and rewards")
        return made
    if isinstance(found, ProcessReward):
        return found
    return Verified(as_verifier(found, name, options))


def _made(found: type, name: str, options: Mapping[str, Any]) -> object:
    import inspect

    known = list(inspect.signature(found).parameters)
    for option in options:
        if option not in known:
            raise InputError(f"{name!r} has no option {option!r}{nearest(option, known)}; it takes {', '.join(known) or 'none'}")
    return found(**options)


def combined(outcome: Verdict, steps: Steps, how: Combine, weight: float = 1.0) -> Verdict:
    """Join an outcome and the rewards of its steps into one verdict.

    Its `reward` is the whole, so the part of it that no span places is the outcome's. `parts` keeps both apart. The status stays
    the outcome's. An outcome or steps that could not be judged make a `verifier_error`; where a closed gate or `replace` does not
    need one of them, it does not matter.
    """
    parts = {**outcome.parts, **steps.parts}
    if outcome.reward is not None:
        parts["outcome"] = outcome.reward
    if how != "replace" and outcome.reward is None:
        return replace(outcome, parts=parts)
    if how == "gate" and outcome.status != "correct":
        return replace(outcome, parts=parts, step_rewards=None)
    if steps.rewards is None:
        return replace(outcome, reward=None, status="verifier_error", parts=parts, step_rewards=None, detail=steps.detail)
    rewards = tuple(replace(step, value=step.value * weight) for step in steps.rewards)
    parts["process"] = total(rewards)
    reward = parts["process"] + (0.0 if how == "replace" or outcome.reward is None else outcome.reward)
    detail = "; ".join(filter(None, (outcome.detail, steps.detail)))
    if outcome.reward is None:
        outcome = replace(outcome, reward=reward, status=_status(reward))
    return replace(outcome, reward=reward, parts=parts, step_rewards=rewards, detail=detail)


def _status(reward: float) -> Literal["correct", "partial", "wrong"]:
    return "correct" if reward >= 1 else "partial" if reward > 0 else "wrong"
