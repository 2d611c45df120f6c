"""Reads the body of a request: OpenAI's fields, and decode settings of ours by their own names. Pure functions.

What would change the answer and is not supported (tools, response_format, penalties, ...) is refused, never ignored; what says
something about the caller only (user, metadata, ...) is accepted and ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from ...rewards.errors import InputError, nearest
from ...rewards.records import Message
from ...rewards.serde import convert
from ..records import DecodeConfig
from .errors import ApiError

MAX_SAMPLES = 128
IGNORED = frozenset(
    {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "verbosity"}
)
_OURS = get_type_hints(DecodeConfig)
_SHARED = {"model", "n", "seed", "stream", "stream_options", "stream_denoising", "stop", "max_tokens", "logprobs"}
CHAT = _SHARED | {"messages", "max_completion_tokens", "top_logprobs"}
COMPLETION = _SHARED | {"prompt"}
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logit_bias": ({}, None),
    "response_format": ({"type": "text"}, None),
    "tools": ([], None),
    "tool_choice": ("none", "auto", None),
    "functions": ([], None),
    "modalities": (["text"], None),
    "reasoning_effort": (None,),
    "best_of": (1, None),
    "echo": (False, None),
    "suffix": ("", None),
    "top_logprobs": (0, None),
}
"""Fields that are not supported, with the values that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for. `prompts`: conversations, texts or token ids, one choice of `n` for each."""

    prompts: tuple[tuple[Message, ...] | str | tuple[int, ...], ...]
    decode: DecodeConfig
    n: int
    seed: int | None
    stream: bool
    usage_chunk: bool
    denoising: bool
    logprobs: bool


def read_chat(body: Any, decode: DecodeConfig, served: str) -> Ask:
    """Read a body of /v1/chat/completions over the server's own settings. Raises ApiError."""
    _check(body, CHAT, served)
    return _ask(body, (_messages(body.get("messages")),), decode)


def read_completion(body: Any, decode: DecodeConfig, served: str) -> Ask:
    """Read a body of /v1/completions over the server's own settings. Raises ApiError."""
    _check(body, COMPLETION, served)
    return _ask(body, _prompts(body.get("prompt")), decode)


def _ask(body: Mapping[str, Any], prompts: tuple[Any, ...], decode: DecodeConfig) -> Ask:
    options = _typed(body, "stream_options", dict, {})
    return Ask(
        prompts=prompts,
        decode=_decode(body, decode),
        n=_within(body, "n", 1, MAX_SAMPLES, 1) or 1,
        seed=_within(body, "seed", -(2**63), 2**64 - 1, None),
        stream=_typed(body, "stream", bool, False),
        usage_chunk=bool(options.get("include_usage")),
        denoising=_typed(body, "stream_denoising", bool, False),
        logprobs=body.get("logprobs") not in (None, False),
    )


def _check(body: Any, known: set[str], served: str) -> None:
    if not isinstance(body, Mapping):
        raise ApiError(400, "the body has to be a JSON object")
    if body.get("model") not in (None, served):
        raise ApiError(404, f"there is no model {body['model']!r} here, only {served!r}", param="model", code="model_not_found")
    for name, value in body.items():
        if name in NEUTRAL:
            if value not in NEUTRAL[name]:
                raise ApiError(400, f"{name} is not supported", param=name, code="unsupported_parameter")
        elif name not in known | IGNORED | set(_OURS):
            hint = nearest(name, known | set(_OURS))
            raise ApiError(400, f"there is no parameter {name!r}{hint}", param=name, code="unknown_parameter")


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ApiError(400, "messages has to be a list of at least one message", param="messages")
    return tuple(_message(entry, f"messages[{index}]") for index, entry in enumerate(value))


def _message(entry: Any, where: str) -> Message:
    if not isinstance(entry, dict) or not isinstance(entry.get("role"), str):
        raise ApiError(400, f"{where} has to be an object with role and content", param=where)
    if entry["role"] not in ("system", "developer", "user", "assistant"):
        raise ApiError(400, f"{where}: the role {entry['role']!r} is not supported", param=where)
    role = "system" if entry["role"] == "developer" else entry["role"]
    return Message(role, _content(entry.get("content"), where))


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    raise ApiError(400, f"{where}.content has to be text (images and sound are not supported)", param=where)


def _prompts(value: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(entry, str) for entry in value):
            return tuple(value)
        if all(_is_token(entry) for entry in value):
            return (tuple(value),)
        if all(isinstance(entry, list) and entry and all(_is_token(token) for token in entry) for entry in value):
            return tuple(tuple(entry) for entry in value)
    raise ApiError(400, "prompt has to be text, a list of texts, or token ids", param="prompt")


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _decode(body: Mapping[str, Any], decode: DecodeConfig) -> DecodeConfig:
    longest = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_new_tokens")
    chosen = {name: body[name] for name in _OURS if body.get(name) is not None and name not in ("stop", "max_new_tokens")}
    if longest is not None:
        chosen["max_new_tokens"] = longest
    if body.get("stop") is not None:
        chosen["stop"] = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
    try:
        return replace(decode, **{name: convert(_OURS[name], value, "body", name) for name, value in chosen.items()})
    except InputError as error:
        raise ApiError(400, str(error), param=_named(str(error), chosen)) from None


def _named(message: str, chosen: Mapping[str, Any]) -> str | None:
    return next((name for name in chosen if f"'{name}'" in message or f"decode.{name}" in message), None)


def _typed(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise ApiError(400, f"{name} has to be {kind.__name__}", param=name)
    return value


def _within(body: Mapping[str, Any], name: str, low: int, high: int, default: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ApiError(400, f"{name} has to be a whole number from {low} to {high}", param=name)
    return value
