"""The records that verification needs: what was asked, what came back, what it was worth.

Plain frozen data without behaviour. The field names are the names on disk (see `serde` for reading and writing).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .errors import InputError

Status = Literal["correct", "wrong", "partial", "unparsed", "timeout", "crashed", "refused", "verifier_error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One question of a benchmark.

    `reference` is what the verifier needs (an answer, tests, a choice): JSON data. `cluster` groups problems whose errors
    go together (a shared passage, a shared template); it defaults to the id.
    """

    schema: ClassVar[int] = 1

    id: str
    task: str
    prompt: tuple[Message, ...]
    reference: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    cluster: str = ""

    def __post_init__(self) -> None:
        if not self.cluster:
            object.__setattr__(self, "cluster", self.id)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered: the text and, when known, how it came about.

    `token_ids` and `step_map` have one entry per response token; `finish` is "stop", "length" or "error".
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    step_map: tuple[int, ...] | None = None
    finish: str | None = None


@dataclass(frozen=True, slots=True)
class StepReward:
    """A process reward: `value` for the characters `start` to `end` (exclusive) of the completion's text."""

    start: int
    end: int
    value: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier concluded.

    `reward` is None exactly when `status` is `verifier_error`: the verifier could not judge, which says nothing about the
    answer. `seconds` is measured by the pool from the moment a worker picks the item up. `detail` is one line that a person
    can act on.
    """

    schema: ClassVar[int] = 1

    reward: float | None
    status: Status
    extracted: str | None = None
    expected: str | None = None
    parts: dict[str, float] = field(default_factory=dict)
    step_rewards: tuple[StepReward, ...] | None = None
    seconds: float = 0.0
    detail: str = ""

    def __post_init__(self) -> None:
        if (self.reward is None) != (self.status == "verifier_error"):
            raise InputError(f"field 'reward': is {self.reward} with status {self.status!r}; only a verifier_error has no reward")
