"""`intermediate` and `rollout`: values of the states of a recorded trajectory, found by going on from them with the policy.

`intermediate` asks what the model would answer if it had to fill in all the rest at once: temperature 0, one step a block. (With
full attention and one block that is its full prediction of the state; where a block sees nothing behind it, the next blocks
follow on the prediction.) `rollout` goes on as the sampler did, k times, and averages (Monte Carlo values, as in VinePPO, arXiv
2410.01679, and Math-Shepherd, arXiv 2312.08935). Answers are judged by the task's own verifier; the last state is the response
itself, whose value is its recorded outcome. Not covered: trajectories of DiffusionGemma.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from ...rewards.errors import InputError
from ...rewards.groups import is_group
from ...rewards.records import Verdict
from ...rewards.steps import Shape, shaped_values
from ..evaluate import completion_of, nothing_generated
from ..identity import request_seed
from ..records import DecodeConfig, Request, Rollout
from .base import Context, Item, Steps
from .options import check_types, require, version
from .placement import decoder_of, spans_of_tokens, token_spans
from .states import Every, State, check_replayable, start_of, states_of

_Place = tuple[int, int]
"""Which item, and which of its states."""


@dataclass(frozen=True)
class Intermediate:
    """The outcome of the model's own full prediction at up to `points` states.

    `every`: whether states are looked at behind each `block` or each `step`. `shape`: how values become rewards (`gain`: what
    the tokens fixed between two states changed).
    """

    points: int = 8
    every: Every = "block"
    shape: Shape = "gain"

    def __post_init__(self) -> None:
        check_types(self)
        require(self, self.points >= 1, "points", "at least 1")

    @property
    def name(self) -> str:
        return "intermediate"

    @property
    def version(self) -> str:
        return version(self, "1")

    def rewards(self, items: Sequence[Item], context: Context) -> Iterator[Steps]:
        """Yield the steps of each item, all states of all items decoded together."""
        return _rewards(items, context, self, samples=1, whole=True)


@dataclass(frozen=True)
class MonteCarlo:
    """The mean outcome of `k` continuations from each of up to `points` states.

    `temperature`: of the continuations; by default the sampler's own. `start`: with the gain of the first state, count from 0, or
    from the `estimated` value of the state before anything is fixed. `every`, `shape`: as for `intermediate`.
    """

    k: int = 4
    points: int = 4
    every: Every = "block"
    shape: Shape = "gain"
    start: Literal["zero", "estimated"] = "zero"
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        require(self, self.points >= 1, "points", "at least 1")
        require(self, self.k >= 1, "k", "at least 1")
        require(self, self.temperature is None or self.temperature > 0, "temperature", "above 0: k continuations have to differ")

    @property
    def name(self) -> str:
        return "rollout"

    @property
    def version(self) -> str:
        return version(self, "1")

    def rewards(self, items: Sequence[Item], context: Context) -> Iterator[Steps]:
        """Yield the steps of each item, all continuations of all items decoded together."""
        return _rewards(items, context, self, samples=self.k, whole=False)


def _rewards(items: Sequence[Item], context: Context, reward: Any, *, samples: int, whole: bool) -> Iterator[Steps]:
    model = context.model()
    mask_id = model.checkpoint.mask_id
    if mask_id is None:
        raise InputError(
            f"process reward {reward.name!r}: {model.info.id} has no mask token, so its states cannot be gone on from"
        )
    states = []
    for item in items:
        check_replayable(item.rollout)
        found = states_of(item.rollout, mask_id, reward.every, reward.points)
        first = [start_of(item.rollout)] if found and getattr(reward, "start", "zero") == "estimated" else []
        states.append([*first, *found])
    verdicts = _continue(items, states, context, reward, samples, whole)
    decode = decoder_of(context.tokenizer)
    for number, item in enumerate(items):
        values = [_value(verdicts[number, place], state, item) for place, state in enumerate(states[number])]
        yield _steps(item.rollout, states[number], values, reward, decode)


def _continue(
    items: Sequence[Item], states: list[list[State]], context: Context, reward: Any, samples: int, whole: bool
) -> dict[_Place, list[Verdict]]:
    """Go on from every state but the last ones; returns the verdicts by item and state."""
    pending: dict[_Place, list[Future[Verdict]]] = {(n, place): [] for n, of in enumerate(states) for place in range(len(of))}
    for decode in dict.fromkeys(_decode(item.rollout.decode, reward, whole) for item in items):
        asked: list[tuple[_Place, int]] = []
        requests = []
        for n, item in enumerate(items):
            if _decode(item.rollout.decode, reward, whole) != decode:
                continue
            for place, state in enumerate(states[n][:-1]):
                for sample in range(samples if decode.temperature > 0 else 1):  # without chance all are the same
                    requests.append(_request(len(asked), item, state, sample, context.seed))
                    asked.append(((n, place), sample))
        for rollout in context.model().generate(iter(requests), decode, max_batch=context.max_batch):
            key, _ = asked[int(rollout.problem_id)]
            pending[key].append(_judged(items[key[0]], rollout, context))
    return {key: [future.result() for future in futures] for key, futures in pending.items()}


def _decode(decode: DecodeConfig, reward: Any, whole: bool) -> DecodeConfig:
    if whole:
        size, longest, stop = decode.block_size, decode.max_new_tokens, decode.stop
        return DecodeConfig(
            block_size=size, steps_per_block=1, remasking="static", temperature=0.0, max_new_tokens=longest, stop=stop
        )
    return decode if reward.temperature is None else replace(decode, temperature=reward.temperature)


def _request(number: int, item: Item, state: State, sample: int, seed: int) -> Request:
    rollout = item.rollout
    own = request_seed(seed, f"state {state.step} of {rollout.sample}, {rollout.seed}", rollout.problem_id, sample)
    return Request(str(number), sample, rollout.prompt_ids, own, fixed=state.fixed)


def _judged(item: Item, rollout: Rollout, context: Context) -> "Future[Verdict]":
    if rollout.finish == "error":
        decided: Future[Verdict] = Future()
        decided.set_result(nothing_generated(rollout))
        return decided
    pool = context.pool(item.problem.task)
    if is_group(pool.verifier):
        raise InputError(f"verifier {pool.verifier.name!r} judges groups; a single continuation has none")
    return pool.submit(item.problem, completion_of(rollout))


def _value(verdicts: list[Verdict], state: State, item: Item) -> float | None:
    """The mean reward of what came of a state; of the last one, the outcome. None if none of it could be judged."""
    rewards = [verdict.reward for verdict in verdicts if verdict.reward is not None]
    if not verdicts:
        return item.verdict.reward
    return fmean(rewards) if rewards else None


def _steps(rollout: Rollout, states: list[State], values: list[float | None], reward: Any, decode: Any) -> Steps:
    if not states:
        return Steps((), f"{reward.name}: the response is empty")
    if any(value is None for value in values):
        return Steps(None, f"{reward.name}: the verifier could not judge what came of {sum(v is None for v in values)} states")
    known = [value for value in values if value is not None]
    first = known.pop(0) if states[0].step == 0 else 0.0
    shown = states[len(states) - len(known) :]
    spans = token_spans(rollout.token_ids[: rollout.length], decode, rollout.text)
    rewards = shaped_values(known, reward.shape, first)
    steps = [step for state, value in zip(shown, rewards, strict=True) for step in spans_of_tokens(state.fresh, spans, value)]
    parts = {f"process.value@{state.step}": value for state, value in zip(shown, known, strict=True)}
    return Steps(tuple(steps), "", parts | ({"process.value@0": first} if states[0].step == 0 else {}))
