"""The records of generation: how to decode, what one generation did, and one row of a run.

Plain frozen data, reading and writing in `rewards.serde`. A rollout is token-exact: nothing downstream tokenises again, and a
trainer can rebuild the context of every decision from `prompt_ids`, `token_ids`, `step_map`, `block_size` and `block_offset`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..rewards.errors import InputError
from ..rewards.records import Verdict

Finish = Literal["stop", "length", "error"]
Remasking = Literal["static", "dynamic", "sequential"]
Confidence = Literal["raw", "processed"]


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """How to decode. Every field is part of a run's identity.

    `block_size` and `steps_per_block` default to the model's block size, `max_new_tokens` to what the task suggests. `static`
    fixes block_size // steps_per_block tokens a step (the remainder in the first steps), the most confident first; `dynamic`
    fixes every token whose confidence exceeds `threshold`, and at least as many as `static` would; `sequential` goes left to
    right. Temperature 0 takes the argmax. top_k 0 and top_p 1 filter nothing. `confidence` says what is ranked: the probability
    of the token under the `raw` softmax, or under the distribution after temperature and filters (`processed`, as SDAR's and
    Dream's own code does). `overshoot` says what a step does whose scheduled count exceeds the masks left: fix them (`clamp`),
    or let the top-k reach fixed tokens and `overwrite` them, prompt tokens among them, as SDAR's own code does; that is there
    to reproduce its outputs, and the rollout's `events` tell what was overwritten. `stop` holds strings that end a response
    besides the model's stop tokens.
    """

    algorithm: Literal["block"] = "block"
    block_size: int | None = None
    steps_per_block: int | None = None
    remasking: Remasking = "dynamic"
    threshold: float = 0.9
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    confidence: Confidence = "raw"
    overshoot: Literal["clamp", "overwrite"] = "clamp"
    max_new_tokens: int | None = None
    cache: Literal["exact"] = "exact"
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(self.block_size is None or self.block_size >= 1, "block_size", self.block_size, "at least 1")
        _require(self.steps_per_block is None or self.steps_per_block >= 1, "steps_per_block", self.steps_per_block, "at least 1")
        _require(0 <= self.threshold <= 1, "threshold", self.threshold, "between 0 and 1")
        _require(self.temperature >= 0, "temperature", self.temperature, "0 (argmax) or more")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 (off) or more")
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1 (off)")
        _require(self.max_new_tokens is None or self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
        _require(all(self.stop), "stop", self.stop, "strings that are not empty")


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"decode.{name} is {value!r}; it must be {wanted}")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model a rollout came from. `fingerprint` identifies the weights, wherever they lie."""

    id: str
    revision: str
    family: str
    fingerprint: str
    dtype: str


@dataclass(frozen=True, slots=True)
class ForwardPasses:
    """Model calls a response took part in: over the prompt, per denoising step, and to write a finished block's cache."""

    prefill: int = 0
    denoise: int = 0
    cache: int = 0

    @property
    def total(self) -> int:
        return self.prefill + self.denoise + self.cache


@dataclass(frozen=True, slots=True)
class Event:
    """A change to a token after it was fixed. `position` counts from the first response token; below 0 lies the prompt's end."""

    step: int
    position: int
    old: int
    new: int
    kind: Literal["edit", "remask", "insert", "delete"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """What one generation did, token-exact.

    `token_ids`, `step_map`, `logprobs` and `confidences` have one entry per decoded token, to the end of the last block; the
    response proper is the first `length` of them, the stop token included, and `text` decodes it without the stop token.
    `step_map` counts denoising steps over the whole response, from 0. `logprobs` are natural-log probabilities under the model's
    raw distribution (temperature 1, no filter) in the context in which the token was fixed. `block_offset` is the prompt
    length modulo the block size: that many prompt tokens share the first decoded block. `events` lists changes to tokens that
    were already fixed; `step_map` then tells when each was fixed first. `seconds` is the wall time from admission to the end,
    other requests of the batch included.
    """

    schema: ClassVar[int] = 1

    problem_id: str
    sample: int
    seed: int
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    length: int
    step_map: tuple[int, ...]
    logprobs: tuple[float, ...]
    confidences: tuple[float, ...]
    block_size: int
    block_offset: int
    forward_passes: ForwardPasses
    cache: str
    finish: Finish
    text: str
    decode: DecodeConfig
    model: ModelInfo
    seconds: float
    events: tuple[Event, ...] = ()
    detail: str = ""

    def __post_init__(self) -> None:
        for name in ("step_map", "logprobs", "confidences"):
            if len(getattr(self, name)) != len(self.token_ids):
                raise InputError(f"field {name!r}: has {len(getattr(self, name))} entries for {len(self.token_ids)} tokens")
        if not 0 <= self.length <= len(self.token_ids):
            raise InputError(f"field 'length': {self.length} is not within the {len(self.token_ids)} decoded tokens")


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a run and of an exported dataset: which problem, what was generated, what it was worth."""

    task: str
    problem_id: str
    cluster: str
    rollout: Rollout
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Request:
    """One generation to do: the prompt's token ids and the seed of its own random stream."""

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    seed: int
