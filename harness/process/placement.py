"""From rewards of character spans to rewards of tokens and of denoising steps. Pure functions; nothing is tokenised again.

Which characters a token stands for is found by decoding the recorded ids bit by bit, so that a character of several bytes
belongs to all tokens that hold a byte of it, and special tokens, which `text` leaves out, to none. Where the reward of a span
goes among its tokens is a setting (`Place`); what no span places goes to the tokens that the last denoising step fixed, as the
reward of a whole response does in TraceRL (arXiv 2509.06949, section 5.7).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from ...rewards.records import StepReward, Verdict
from ...rewards.steps import total
from ..records import Rollout

Place = Literal["all", "last_fixed"]
"""`all` tokens of a span, or those that were fixed last among them, as TraceRL's code does."""

Spread = Literal["split", "repeat"]
"""The tokens share a reward equally (sums stay what they were), or each gets all of it (as TraceRL's code does)."""

Decode = Callable[[Sequence[int]], str]

_PARTIAL = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 8
"""Tokens after which bytes that are no character yet never will be one: a character has at most four."""


def decoder_of(tokenizer: Any) -> Decode:
    """How a rollout's `text` was made from its ids."""

    def decode(ids: Sequence[int]) -> str:
        text: str = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    return decode


def token_spans(ids: Sequence[int], decode: Decode, text: str) -> list[tuple[int, int]]:
    """The characters (start, end) of `text` that each token stands for; empty for what the text leaves out.

    `decode` turns ids into text without special tokens (`decoder_of`). `text` is what the ids decode to, or the beginning of it
    (a response ends before its stop string). Raises ValueError when it is neither.
    """
    spans: list[tuple[int, int]] = []
    kept = begun = 0  # ids before `kept` are settled; decoding starts at `begun`, a little before, for decoders that look back
    position = 0
    while kept < len(ids):
        before = decode(ids[begun:kept])
        upto = kept + 1
        while (piece := decode(ids[begun:upto]))[len(before) :].endswith(_PARTIAL) and upto < min(len(ids), kept + _LONGEST):
            upto += 1
        piece = piece[len(before) :]
        spans += [(position + one, position + two) for one, two in _within(ids, begun, kept, upto, before, piece, decode)]
        position += len(piece)
        if piece:
            begun = kept
        kept = upto
    _check(ids, decode, text)
    return [(min(start, len(text)), min(end, len(text))) for start, end in spans]


def _within(
    ids: Sequence[int], begun: int, kept: int, upto: int, before: str, piece: str, decode: Decode
) -> list[tuple[int, int]]:
    """The parts of `piece` that the tokens `kept` to `upto` stand for; those between two characters share one."""
    if upto == kept + 1:
        return [(0, len(piece))]
    starts = [0]
    for end in range(kept + 1, upto):
        starts.append(max(starts[-1], _common(decode(ids[begun:end])[len(before) :], piece)))
    ends = [max(start, later) for start, later in zip(starts, [*starts[1:], len(piece)], strict=True)]
    # A token that completes nothing holds bytes of the character that the next ones complete.
    return [(start, end if end > start else min(start + 1, len(piece))) for start, end in zip(starts, ends, strict=True)]


def _common(one: str, other: str) -> int:
    """Length of the common beginning, unfinished characters aside."""
    one = one.rstrip(_PARTIAL)
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _check(ids: Sequence[int], decode: Decode, text: str) -> None:
    if not decode(ids).startswith(text):
        raise ValueError("the text of this rollout is not what its tokens decode to with this tokenizer")


def token_rewards(
    rollout: Rollout, verdict: Verdict, decode: Decode, place: Place = "all", spread: Spread = "split"
) -> list[float]:
    """The reward of each of a rollout's tokens, one entry per decoded token, 0 behind the response.

    With `spread` "split" their sum is `verdict.reward`: the step rewards lie on the tokens of their spans, the rest (and the
    rewards of spans without a token) on the tokens that the last step fixed. Raises ValueError for a verdict without a reward.
    """
    if verdict.reward is None:
        raise ValueError(f"rollout {rollout.problem_id!r}, sample {rollout.sample}: a verifier_error has no reward to place")
    out = [0.0] * len(rollout.token_ids)
    if not rollout.length:
        return out
    steps = verdict.step_rewards or ()
    rest = verdict.reward - total(steps)
    spans = token_spans(rollout.token_ids[: rollout.length], decode, rollout.text) if steps else []
    for step in steps:
        members = [i for i, (start, end) in enumerate(spans) if max(start, step.start) < min(end, step.end)]
        if members:
            _put(out, _chosen(members, rollout.step_map, place), step.value, spread)
        else:
            rest += step.value
    if abs(rest) > 1e-12:
        _put(out, _chosen(range(rollout.length), rollout.step_map, "last_fixed"), rest, spread)
    return out


def _chosen(members: Sequence[int], step_map: Sequence[int], place: Place) -> list[int]:
    if place == "all":
        return list(members)
    last = max(step_map[i] for i in members)
    return [i for i in members if step_map[i] == last]


def _put(out: list[float], members: Sequence[int], value: float, spread: Spread) -> None:
    for i in members:
        out[i] += value / len(members) if spread == "split" else value


def rewards_by_step(rewards: Sequence[float], step_map: Sequence[int]) -> list[float]:
    """The reward of each denoising step: the sum over the tokens that it fixed. Entry t is step t."""
    out = [0.0] * (max(step_map, default=-1) + 1)
    for reward, step in zip(rewards, step_map, strict=True):
        out[step] += reward
    return out


def spans_of_tokens(members: Iterable[int], spans: Sequence[tuple[int, int]], value: float) -> list[StepReward]:
    """A reward for scattered tokens as rewards of stretches of text, in proportion to their tokens. Sums stay what they were.

    Tokens without characters take no share; without any other the result is one empty span at their place.
    """
    stretches: list[list[int]] = []  # start, end, tokens
    first = None
    for i in sorted(members):
        start, end = spans[i]
        first = start if first is None else first
        if start == end:
            continue
        if stretches and start <= stretches[-1][1]:
            stretches[-1][1] = max(end, stretches[-1][1])
            stretches[-1][2] += 1
        else:
            stretches.append([start, end, 1])
    if not stretches:
        return [] if first is None else [StepReward(first, first, value)]
    count = sum(tokens for _, _, tokens in stretches)
    return [StepReward(start, end, value * tokens / count) for start, end, tokens in stretches]
