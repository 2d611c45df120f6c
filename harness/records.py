"""The records of generation: how to decode, what one generation did, and one row of a run.

Plain frozen data, reading and writing in `rewards.serde`. A rollout is token-exact: nothing downstream tokenises again, and a
trainer can rebuild the context of every decision from `prompt_ids`, `token_ids`, `step_map`, `block_size` and `block_offset`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..rewards.errors import InputError
from ..rewards.records import Message, Verdict

Finish = Literal["stop", "length", "error"]
Algorithm = Literal["block", "edit", "remask", "wino", "diffusion_gemma"]
Remasking = Literal[
    "static",
    "dynamic",
    "sequential",
    "random",
    "origin",
    "threshold",
    "factor",
    "near_best",
    "credit",
    "hierarchy",
    "entropy_bounded",
    "entropy_budget",
    "klass",
]
Confidence = Literal["raw", "processed"]
Score = Literal["probability", "margin", "neg_entropy", "entropy"]
Cache = Literal["exact", "none", "prefix", "dual"]


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """How to decode. Every field is part of a run's identity; docs/decoding.md says which algorithm uses which.

    `block_size` and `steps_per_block` default to the model's block size, `max_new_tokens` to what the task suggests. `algorithm`
    "block" fixes every token once, by the rule `remasking`: `static` fixes block_size // steps_per_block tokens a step (the
    remainder in the first steps), the most confident first; `dynamic` fixes every token whose confidence exceeds `threshold`,
    and at least as many as `static` would; `sequential` goes left to right; the others stand in `harness/decoding/rules.py`.
    Temperature 0 takes the argmax. top_k 0, top_p 1 and top_n_sigma 0 filter nothing. `confidence` says what is ranked: the
    probability of the token under the `raw` softmax, or under the distribution after temperature and filters (`processed`, as
    SDAR's and Dream's own code does); `score` says which figure of that distribution. `overshoot` says what a step does whose
    scheduled count exceeds the masks left: fix them (`clamp`), or let the top-k reach fixed tokens and `overwrite` them, prompt
    tokens among them, as SDAR's own code does; that is there to reproduce its outputs, and the rollout's `events` tell what was
    overwritten. `stop` holds strings that end a response besides the model's stop tokens.

    `schedule` "linear" is Dream's time grid with the end `schedule_eps`, for `static` and `origin`; `order_temperature` above 0
    draws the positions instead of taking the best (Dream's alg_temp); `filter_order` is the order of top-k and top-p.
    `guidance` is LLaDA's cfg_scale, `logits_eos_inf` and `confidence_eos_eot_inf` its options against early ends.
    `sub_block_size` opens a block part by part (Fast-dLLM v2); `horizon` limits the masks that are visible behind the open block
    of a prefix cache; `force_first_token` fixes only the first token of a block in its first pass (Fast-dLLM and dLLM-RL on
    Dream). `cache`: `exact` changes nothing (a model with full attention then recomputes everything, and the record says
    `none`, which block models take too, to show the same); `prefix` and `dual` are Fast-dLLM's, approximate. `eos_early_stop`
    leaves an open block as soon as a stop and all before it are fixed; `full_length` decodes to the end whatever comes, as
    LLaDA's, Dream's and LLaDA2.1's own code does: neither changes the response, only the passes and what lies behind the stop.
    `never` says which tokens are never drawn: the mask and embedding rows without a token (`unused`), only the `mask`, or
    `nothing`, which is there to reproduce other code.
    """

    algorithm: Algorithm = "block"
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
    cache: Cache = "exact"
    stop: tuple[str, ...] = ()
    score: Score = "probability"
    schedule: Literal["even", "linear"] = "even"
    schedule_eps: float = 0.001
    order_temperature: float = 0.0
    filter_order: Literal["top_k_first", "top_p_first"] = "top_k_first"
    top_n_sigma: float = 0.0
    guidance: float = 0.0
    logits_eos_inf: bool = False
    confidence_eos_eot_inf: bool = False
    eos_early_stop: bool = False
    full_length: bool = False
    sub_block_size: int | None = None
    horizon: int | None = None
    force_first_token: bool = False
    factor: float = 1.0
    entropy_bound: float = 0.1
    low_threshold: float = 0.4
    remask_threshold: float = 0.4
    credit_alpha: float = 0.7
    credit_gamma: float = 0.2
    credit_decay: float = 0.8
    kl_threshold: float = 0.01
    kl_steps: int = 2
    edit_threshold: float = 0.5
    min_fixed: int = 1
    max_post_steps: int = 16
    stable_steps: int = 1
    mean_entropy: float = 0.005
    never: Literal["unused", "mask", "nothing"] = "unused"

    def __post_init__(self) -> None:
        for name in ("block_size", "steps_per_block", "max_new_tokens", "sub_block_size"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1")
        for name in ("threshold", "low_threshold", "remask_threshold", "edit_threshold", "schedule_eps", "credit_decay"):
            value = getattr(self, name)
            _require(0 <= value <= 1, name, value, "between 0 and 1")
        _require(self.temperature >= 0, "temperature", self.temperature, "0 (argmax) or more")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 (off) or more")
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1 (off)")
        for name in ("top_n_sigma", "order_temperature", "guidance"):
            value = getattr(self, name)
            _require(value >= 0, name, value, "0 (off) or more")
        for name in ("factor", "entropy_bound", "credit_alpha", "credit_gamma", "kl_threshold", "max_post_steps", "mean_entropy"):
            value = getattr(self, name)
            _require(value >= 0, name, value, "0 or more")
        for name in ("kl_steps", "min_fixed", "stable_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.horizon is None or self.horizon >= 0, "horizon", self.horizon, "0 or more")
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
    """A change to a token after it was fixed. `position` counts from the first response token; below 0 lies the prompt's end.

    `edit` replaces a fixed token, `remask` makes it a mask again, `unmask` fixes such a mask another time.
    """

    step: int
    position: int
    old: int
    new: int
    kind: Literal["edit", "remask", "insert", "delete", "unmask"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """What one generation did, token-exact.

    `token_ids`, `step_map`, `logprobs` and `confidences` have one entry per decoded token, to the end of the last block; the
    response proper is the first `length` of them, the stop token included, and `text` decodes it without the stop token.
    `step_map` counts denoising steps over the whole response, from 0. `logprobs` are natural-log probabilities under the model's
    raw distribution (temperature 1, no filter) in the context in which the token was fixed. `block_offset` is the prompt
    length modulo the block size: that many prompt tokens share the first decoded block (0 where blocks begin at its end).
    `events` lists changes to tokens that were already fixed; `step_map` then tells when each was fixed first, `logprobs` and
    `confidences` belong to its last change. `seconds` is the wall time from admission to the end, other requests of the batch
    included. A token that was never fixed, because the response ended before, holds the mask id and has step -1.

    `canvas` is the number of response positions that the network sees from the start: all of `token_ids` for a model with full
    attention, 0 where a block sees nothing behind it. `replay.replay_states` rebuilds the input of every pass. `note` says why a
    trainer cannot reproduce the log-probabilities, where it cannot. With `trajectory` "none" only the text is known, from an
    endpoint: the lists are empty, `prompt_ids` too, `block_size` is 0, and `length` is the endpoint's count.
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
    canvas: int = 0
    note: str = ""
    trajectory: Literal["full", "none"] = "full"

    def __post_init__(self) -> None:
        if self.trajectory == "none":
            if self.token_ids or self.length < 0:
                raise InputError("field 'trajectory': is 'none' beside tokens")
            return
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
    """One generation to do: the prompt's token ids, and the seed of its own random stream.

    `max_new_tokens` is its own length where that differs from the settings'. `fixed`: response positions that hold a token from
    the start, as (position, token): the state that a generation goes on from. `messages` are the prompt's turns, for a model that
    makes tokens of them itself.
    """

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    seed: int
    max_new_tokens: int | None = None
    fixed: tuple[tuple[int, int], ...] = ()
    messages: tuple[Message, ...] = ()
