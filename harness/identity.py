"""Who is who: seeds and keys that depend on what was asked, never on when or where it ran."""

import hashlib
import json
from dataclasses import fields
from typing import Any, Protocol

from ..rewards.serde import encode
from .records import DecodeConfig, ModelInfo


def request_seed(run_seed: int, task: str, problem_id: str, sample: int) -> int:
    """The seed of one request's random stream (63 bits)."""
    return int(_hash("seed", run_seed, task, problem_id, sample)[:16], 16) >> 1


def completion_key(model: ModelInfo, decode: DecodeConfig, prompt: object, sample: int, seed: int) -> str:
    """The identity of a completion: weights and dtype, decode settings, prompt (tokens, or turns as data), sample, seed."""
    return _hash("completion", model.fingerprint, model.dtype, _settings(decode), prompt, sample, seed)[:32]


def _settings(decode: DecodeConfig) -> dict[str, Any]:
    """The settings in a key. One that came later counts only where it is set, so that keys of older runs stay what they were."""
    defaults = {field.name: encode(field.default) for field in fields(DecodeConfig)}
    settings: dict[str, Any] = encode(decode)
    return {name: value for name, value in settings.items() if name in _FIRST or value != defaults[name]}


_FIRST = (
    *("algorithm", "block_size", "steps_per_block", "remasking", "threshold", "temperature", "top_k", "top_p"),
    *("confidence", "overshoot", "max_new_tokens", "cache", "stop"),
)
"""The settings of the first version."""


class Named(Protocol):
    """What a verdict's identity depends on: a verifier, or one together with a process reward."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


def verifier_folder(verifier: Named) -> str:
    """The folder of a verifier's verdicts: its name, readable, and a hash of name and version."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in verifier.name).strip("-") or "verifier"
    return f"{safe[:40]}-{_hash(verifier.name, verifier.version)[:12]}"


def _hash(*parts: object) -> str:
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
