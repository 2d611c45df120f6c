"""Writes answers in OpenAI's form, with what a diffusion model has to tell besides. Pure functions.

A choice has `token_ids`, `step_map` (the denoising step at which each token was fixed) and `forward_passes` besides OpenAI's
fields; the answer has `prompt_ids` and the resolved `decode` settings; `system_fingerprint` is the fingerprint of the weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from ...rewards.serde import encode
from ..records import Rollout

Kind = Literal["chat", "completion"]
Decode = Callable[[Sequence[int]], str]

_OBJECTS = {"chat": "chat.completion", "completion": "text_completion"}


def answer(kind: Kind, head: dict[str, Any], rollouts: Sequence[Rollout], logprobs: Decode | None) -> dict[str, Any]:
    """The whole answer. `logprobs` turns token ids into text where log-probabilities were asked for."""
    return {
        **head,
        "object": _OBJECTS[kind],
        "system_fingerprint": rollouts[0].model.fingerprint,
        "choices": [_choice(kind, index, rollout, logprobs) for index, rollout in enumerate(rollouts)],
        "usage": usage(rollouts),
        "decode": encode(rollouts[0].decode),
        "prompt_ids": [list(ids) for ids in dict.fromkeys(rollout.prompt_ids for rollout in rollouts)],
    }


def usage(rollouts: Sequence[Rollout]) -> dict[str, int]:
    """Token counts; a prompt counts once, however many answers it got."""
    prompt = sum(len(ids) for ids in {rollout.prompt_ids for rollout in rollouts})
    completion = sum(rollout.length for rollout in rollouts)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _choice(kind: Kind, index: int, rollout: Rollout, logprobs: Decode | None) -> dict[str, Any]:
    said = {"message": {"role": "assistant", "content": rollout.text}} if kind == "chat" else {"text": rollout.text}
    written = None if logprobs is None else (_chat_logprobs if kind == "chat" else _text_logprobs)(rollout, logprobs)
    return {"index": index, **said, "finish_reason": rollout.finish, "logprobs": written, **trajectory(rollout)}


def trajectory(rollout: Rollout) -> dict[str, Any]:
    """How the response proper came about."""
    length = rollout.length
    return {
        "token_ids": list(rollout.token_ids[:length]),
        "step_map": list(rollout.step_map[:length]),
        "forward_passes": encode(rollout.forward_passes),
    }


def _chat_logprobs(rollout: Rollout, text: Decode) -> dict[str, Any]:
    pairs = zip(rollout.token_ids[: rollout.length], rollout.logprobs, strict=False)
    content = [
        {"token": piece, "logprob": value, "bytes": list(piece.encode()), "top_logprobs": []}
        for piece, value in ((text([token]), value) for token, value in pairs)
    ]
    return {"content": content, "refusal": None}


def _text_logprobs(rollout: Rollout, text: Decode) -> dict[str, Any]:
    pieces = [text([token]) for token in rollout.token_ids[: rollout.length]]
    offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
    values = list(rollout.logprobs[: rollout.length])
    return {"tokens": pieces, "token_logprobs": values, "top_logprobs": None, "text_offset": offsets}


def chunk(kind: Kind, head: dict[str, Any], index: int, text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event of a stream: a piece of text of one choice."""
    said = {"delta": {"content": text} if text else {}} if kind == "chat" else {"text": text}
    form = "chat.completion.chunk" if kind == "chat" else "text_completion"
    choice = {"index": index, **said, "finish_reason": finish, "logprobs": None, **more}
    return {**head, "object": form, "choices": [choice]}
