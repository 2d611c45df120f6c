"""Choosing tokens: from logits to a candidate token, its confidence and its raw log-probability, for every open position.

Pure functions over a batch of windows; randomness comes in as numbers, so that a row's result depends on nothing but the row.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..records import DecodeConfig, Score


class Candidates(NamedTuple):
    """One candidate token per position: `token` (rows, B) int64, `logprob` and `confidence` (rows, B) float32."""

    token: Tensor
    logprob: Tensor
    confidence: Tensor


class Endings(NamedTuple):
    """The two ids that LLaDA's options against early ends name: the end of text and the end of a turn."""

    eos: int | None = None
    eot: int | None = None


def choose(
    logits: Tensor,
    banned: Tensor,
    uniform: Tensor | None,
    decode: DecodeConfig,
    *,
    own: Tensor | None = None,
    endings: Endings | None = None,
) -> Candidates:
    """Draw one candidate per position.

    `logits` (rows, B, V) float; `banned` (V,) bool marks tokens that are never drawn (the mask token, rows of the embedding
    beyond the tokenizer); `uniform` (rows, B) float64 in [0, 1), not needed at temperature 0. The raw log-probability is that of
    the softmax over the full vocabulary of `own`, the logits the model gave where guidance or credit changed them, as any
    trainer computes it. Draws invert the cumulative distribution.
    """
    logits = logits.float()
    allowed = logits.masked_fill(banned, float("-inf"))
    if decode.logits_eos_inf and endings is not None and endings.eos is not None:
        logits = _without(logits, (endings.eos,))
        allowed = _without(allowed, (endings.eos,))
    processed = filtered(allowed, decode) if decode.temperature > 0 or decode.confidence == "processed" else None
    drawn = decode.temperature > 0
    token = draw(_required(processed), _required(uniform)) if drawn else allowed.argmax(dim=-1)
    logprob = log_probability(logits if own is None else own.float(), token)
    if decode.confidence == "processed" and processed is not None:
        confidence = score_of(processed, token, decode.score)
    else:
        confidence = _raw_confidence(logits, token, logprob, decode, endings, changed=own is not None or decode.logits_eos_inf)
    return Candidates(token, logprob, confidence)


def log_probability(logits: Tensor, token: Tensor) -> Tensor:
    """Natural-log probability of `token` (...) under the softmax of `logits` (..., V)."""
    # Less the largest logit first: a log-probability near 0 would drown in the rounding of two large numbers.
    largest: Tensor = logits.max(dim=-1, keepdim=True).values
    total = (logits - largest).exp_().sum(dim=-1).log()
    chosen: Tensor = logits.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    return chosen - largest.squeeze(-1) - total


def _raw_confidence(
    logits: Tensor, token: Tensor, logprob: Tensor, decode: DecodeConfig, endings: Endings | None, *, changed: bool
) -> Tensor:
    if decode.confidence_eos_eot_inf and endings is not None:
        # LLaDA's generate.py lowers the end of text in the tensor it draws from, and the end of turn in the one it ranks by; at
        # temperature 0 both are the same tensor, so that both ids lose their confidence.
        hidden = (endings.eos, endings.eot) if decode.temperature == 0 else (endings.eot,)
        logits, changed = _without(logits, hidden), True
    if decode.score == "probability":
        return (log_probability(logits, token) if changed else logprob).exp()
    return score_of(logits.softmax(dim=-1), token, decode.score)


def _without(logits: Tensor, ids: tuple[int | None, ...]) -> Tensor:
    lowered = logits.clone()
    lowered[..., [i for i in ids if i is not None]] = float("-inf")
    return lowered


def score_of(probabilities: Tensor, token: Tensor, score: Score) -> Tensor:
    """The figure positions are ranked by, (..., V) and (...) to (...).

    `probability` of the token; `margin` between the two most probable ones; `neg_entropy`; `entropy`, which ranks the most
    uncertain first, as dLLM-RL's LLaDA sampler does under the name neg_entropy.
    """
    if score == "probability":
        return probabilities.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    if score == "margin":
        best = probabilities.topk(2, dim=-1).values
        return best[..., 0] - best[..., 1]
    negative = (probabilities * (probabilities + 1e-10).log()).sum(dim=-1)
    return negative if score == "neg_entropy" else -negative


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats, (..., V) to (...)."""
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(dim=-1)


def filtered(logits: Tensor, decode: DecodeConfig) -> Tensor:
    """Probabilities after temperature, top-n-sigma, top-k and top-p, (..., V) to (..., V).

    top-k comes before top-p as in SDAR's `generate.py`, or after it as in Dream's. At temperature 0 the filters work on the
    logits as they are.
    """
    logits = logits / (decode.temperature or 1.0)
    if decode.top_n_sigma > 0:
        logits = within_sigma(logits, decode.top_n_sigma)
    if decode.filter_order == "top_k_first":
        logits = best_k(logits, decode.top_k)
    probabilities = logits.softmax(dim=-1)
    if decode.top_p < 1:
        probabilities = nucleus(probabilities, decode.top_p)
    if decode.filter_order == "top_p_first" and 0 < decode.top_k < logits.shape[-1]:
        probabilities = best_k(probabilities, decode.top_k, floor=0.0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities


def best_k(values: Tensor, k: int, floor: float = float("-inf")) -> Tensor:
    """Lower everything below the k-th largest value to `floor`; k 0 keeps all."""
    if not 0 < k < values.shape[-1]:
        return values
    return values.masked_fill(values < values.topk(k, dim=-1).values[..., -1:], floor)


def within_sigma(logits: Tensor, n: float) -> Tensor:
    """Keep what lies within n standard deviations of the best logit (top-n-sigma, arXiv 2411.07641)."""
    finite = logits.isfinite()
    count = finite.sum(dim=-1, keepdim=True)
    values = logits.masked_fill(~finite, 0.0)
    mean = values.sum(dim=-1, keepdim=True) / count
    deviation = (((values - mean) * finite) ** 2).sum(dim=-1, keepdim=True).div(count).sqrt()
    return logits.masked_fill(logits < logits.max(dim=-1, keepdim=True).values - n * deviation, float("-inf"))


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
        raise ValueError("a temperature above 0 needs a distribution and uniform numbers")
    return uniform
