"""Block diffusion decoded the plain way: one request after another, as the published loops of SDAR and TraceRL do it.

What the engine is measured against in `tests/perf/decode.py`; greedy, dynamic rule. With a cache, the prompt's whole blocks are
run once, a denoising pass appends its block to transformers' own cache and takes it off again, and a finished block is run once
more to keep it. Without one, every pass runs everything up to the end of the open block. Written apart from the engine.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


@dataclass(frozen=True)
class Answer:
    """Response tokens up to the first stop token (included), and the model calls it took."""

    tokens: list[int]
    passes: int


@dataclass(frozen=True)
class Rules:
    """What both ways decode by."""

    block_size: int
    threshold: float
    max_new_tokens: int
    mask_id: int
    stop_ids: frozenset[int]
    banned: Tensor


@torch.inference_mode()
def decode(network: Any, prompt: list[int], rules: Rules, *, cached: bool) -> Answer:
    """Decode one prompt greedily."""
    size = rules.block_size
    start = len(prompt) // size * size
    end = -(-(len(prompt) + rules.max_new_tokens) // size) * size
    device = rules.banned.device
    tokens = torch.tensor(prompt, device=device)
    cache = DynamicCache() if cached else None
    passes = 0
    if cache is not None and start:
        _run(network, tokens[:start], 0, cache, size)
        passes += 1
    while start < end:
        block = torch.full((size,), rules.mask_id, device=device)
        block[: len(tokens) - start] = tokens[start:]
        while bool((block == rules.mask_id).any()):
            logits = _run(network, torch.cat([tokens[:start], block]), start, cache, size)
            if cache is not None:
                cache.crop(-size)
            passes += 1
            block = _step(logits[-size:].float(), block, rules)
        if cache is not None:
            _run(network, torch.cat([tokens[:start], block]), start, cache, size)
            passes += 1
        tokens, start = torch.cat([tokens[:start], block]), start + size
        if any(token in rules.stop_ids for token in tokens[len(prompt) :].tolist()):
            break
    return Answer(_until_stop(tokens[len(prompt) :].tolist()[: rules.max_new_tokens], rules.stop_ids), passes)


def _run(network: Any, tokens: Tensor, start: int, cache: DynamicCache | None, size: int) -> Tensor:
    first = start if cache is not None else 0
    position = torch.arange(len(tokens), device=tokens.device)
    mask = (position.unsqueeze(0) // size <= position[first:].unsqueeze(1) // size)[None, None]
    extra = {} if cache is None else {"past_key_values": cache}
    out = network(
        input_ids=tokens[None, first:],
        position_ids=position[None, first:],
        attention_mask=mask,
        use_cache=cache is not None,
        **extra,
    )
    logits: Tensor = out.logits[0]
    return logits


def _step(logits: Tensor, block: Tensor, rules: Rules) -> Tensor:
    """Fix every mask whose best token is more probable than the threshold, and at least the best one."""
    token = logits.masked_fill(rules.banned, float("-inf")).argmax(dim=-1)
    confidence = logits.softmax(dim=-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
    confidence = confidence.masked_fill(block != rules.mask_id, -1.0)
    chosen = confidence > rules.threshold
    if not bool(chosen.any()):
        chosen = torch.zeros_like(chosen)
        chosen[confidence.argmax()] = True
    return torch.where(chosen, token, block)


def _until_stop(tokens: list[int], stop_ids: frozenset[int]) -> list[int]:
    end = next((i + 1 for i, token in enumerate(tokens) if token in stop_ids), len(tokens))
    return tokens[:end]
