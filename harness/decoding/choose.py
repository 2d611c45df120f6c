"""Choosing tokens: from logits to a candidate token, its confidence and its raw log-probability, for every open position.

Pure functions over a batch of windows; randomness comes in as numbers, so that a row's result depends on nothing but the row.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..records import DecodeConfig


class Candidates(NamedTuple):
    """One candidate token per position: `token` (rows, B) int64, `logprob` and `confidence` (rows, B) float32."""

    token: Tensor
    logprob: Tensor
    confidence: Tensor


def choose(logits: Tensor, banned: Tensor, uniform: Tensor | None, decode: DecodeConfig) -> Candidates:
    """Draw one candidate per position.

    `logits` (rows, B, V) float; `banned` (V,) bool marks tokens that are never drawn (the mask token, rows of the embedding
    beyond the tokenizer); `uniform` (rows, B) float64 in [0, 1), not needed at temperature 0. The raw log-probability is that of
    the softmax over the full vocabulary, as any trainer computes it. Draws invert the cumulative distribution.
    """
    raw = torch.log_softmax(logits.float(), dim=-1)
    allowed = logits.float().masked_fill(banned, float("-inf"))
    if decode.temperature == 0:
        token = allowed.argmax(dim=-1)
        processed = None
    else:
        processed = filtered(allowed, decode)
        token = draw(processed, _required(uniform))
    logprob = raw.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    if decode.confidence == "processed" and processed is not None:
        confidence = processed.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    else:
        confidence = logprob.exp()
    return Candidates(token, logprob, confidence)


def filtered(logits: Tensor, decode: DecodeConfig) -> Tensor:
    """Probabilities after temperature, top-k and top-p, in this order (SDAR's `generate.py`). (..., V) to (..., V)."""
    logits = logits / decode.temperature
    if 0 < decode.top_k < logits.shape[-1]:
        smallest = logits.topk(decode.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    probabilities = logits.softmax(dim=-1)
    return nucleus(probabilities, decode.top_p) if decode.top_p < 1 else probabilities


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of most probable tokens whose mass reaches `top_p`, and renormalise (Holtzman et al., 2020)."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(dim=-1) - ordered >= top_p
    kept = ordered.masked_fill(outside, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(-1, order, kept)


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Sample by inverting the cumulative distribution: (..., V) and (...) in [0, 1) to token ids (...)."""
    cumulative = probabilities.double().cumsum(dim=-1)
    target = uniform.unsqueeze(-1) * cumulative[..., -1:]
    token = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    # A uniform just below 1 can round up to the total, behind the last token that has any mass.
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).int().argmax(dim=-1)
    return torch.minimum(token, last)


def _required(uniform: Tensor | None) -> Tensor:
    if uniform is None:
        raise ValueError("a temperature above 0 needs uniform numbers")
    return uniform
