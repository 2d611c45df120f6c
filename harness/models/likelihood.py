"""How probable a given response is under a diffusion model: for ranking answers, and for perplexity.

A masked diffusion model has no single likelihood: what it defines is a distribution for every order in which masks are opened.

- `left_to_right` and `confidence` are exact for one order. The response is opened one token at a time, each predicted with the
  tokens opened before it in place and all others of the open window masked, and the log-probabilities add up (chain rule): over
  all responses of a length the probabilities sum to 1. `left_to_right` opens the leftmost mask; `confidence` the one whose most
  probable token is most probable, the order of greedy decoding. Both cost one pass per token.
- `monte_carlo` estimates the mean over all orders, the evidence lower bound that these models are trained on: a number of masks
  is drawn, as many positions are masked at random, and the masked tokens' log-probabilities are weighted by length over number
  (LLaDA, arXiv 2502.09992, appendix B.5 and its evaluation code, which stratifies the numbers as is done here).

The open window is the whole response for full attention, and one block for block models: each block is conditioned on the clean
blocks before it, so the blocks add up exactly whatever the method. Positions of the last block beyond the response stay masked.
Probabilities are those of the raw softmax over all rows of the embedding. Not covered: models without a mask token.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...rewards.errors import InputError, nearest
from .attention import block_causal

if TYPE_CHECKING:
    from .families import Family
    from .model import Model

Method = Literal["auto", "monte_carlo", "left_to_right", "confidence"]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The log-probability of a response in nats.

    `tokens` is the response's length and `passes` the sequences that went through the model. `error` is the standard error of
    a Monte Carlo estimate (taken over its samples as if drawn independently: stratification makes it smaller), 0 for an exact
    value. `greedy` says whether each token was the most probable one when it was opened; None where tokens are not opened.
    """

    log_probability: float
    tokens: int
    method: str
    passes: int
    error: float = 0.0
    greedy: bool | None = None

    @property
    def perplexity(self) -> float:
        """Per token; 1.0 for an empty response."""
        return math.exp(-self.log_probability / self.tokens) if self.tokens else 1.0


def log_likelihood(
    model: "Model",
    context_ids: Sequence[int],
    response_ids: Sequence[int],
    *,
    method: Method = "auto",
    samples: int = 128,
    seed: int = 0,
    cfg: float = 0.0,
) -> float:
    """Return the log-probability in nats of `response_ids` after `context_ids`; see `likelihood`."""
    return likelihood(model, context_ids, response_ids, method=method, samples=samples, seed=seed, cfg=cfg).log_probability


def likelihood(
    model: "Model",
    context_ids: Sequence[int],
    response_ids: Sequence[int],
    *,
    method: Method = "auto",
    samples: int = 128,
    seed: int = 0,
    cfg: float = 0.0,
    max_batch: int = 32,
) -> Likelihood:
    """Measure how probable a response is after a context (which may be empty).

    `method` "auto" is `monte_carlo` for full attention, as LLaDA evaluates, and `left_to_right` for block models. `samples`
    masked copies are drawn from `seed` (per block, for block models). `cfg` is LLaDA's classifier-free guidance, for full
    attention. `max_batch` bounds the sequences that share a pass. Raises InputError for a model without a mask token, tokens
    outside the vocabulary, a sequence beyond the model's context, or settings that do not fit.
    """
    if method != "auto" and method not in _METHODS:
        raise InputError(f"likelihood: method {method!r} is none of auto, {', '.join(_METHODS)}{nearest(method, _METHODS)}")
    scorer = _Scorer(model, cfg, max_batch)
    scorer.check(context_ids, response_ids, samples)
    chosen = method if method != "auto" else "monte_carlo" if scorer.family.attention == "full" else "left_to_right"
    parts = [
        _METHODS[chosen](scorer, window, np.random.default_rng([seed, window.first]), samples)
        for window in scorer.windows(context_ids, response_ids)
    ]
    return Likelihood(
        log_probability=math.fsum(part.value for part in parts),
        tokens=len(response_ids),
        method=chosen,
        passes=sum(part.passes for part in parts),
        error=math.sqrt(math.fsum(part.variance for part in parts)),
        greedy=None if chosen == "monte_carlo" else all(part.greedy for part in parts),
    )


class _Window(NamedTuple):
    """Clean `before`, then the window: its first `fixed` tokens belong to the context, the next are `target`, the rest masked."""

    before: list[int]
    fixed: list[int]
    target: list[int]
    rest: int

    @property
    def first(self) -> int:
        """Position of the first token of the target."""
        return len(self.before) + len(self.fixed)


class _Part(NamedTuple):
    value: float
    passes: int
    variance: float = 0.0
    greedy: bool = True


class _Scorer:
    """Runs masked copies of a window."""

    def __init__(self, model: "Model", cfg: float, max_batch: int) -> None:
        self.family: Family = model.checkpoint.family
        self.mask_id = model.checkpoint.mask_id
        self._model, self._cfg, self._max_batch = model, cfg, max_batch
        self.block_size = 0 if self.family.attention == "full" else _known(model.checkpoint.block_size, model.info.id)

    def check(self, context: Sequence[int], response: Sequence[int], samples: int) -> None:
        if samples < 1:
            raise InputError(f"likelihood: samples is {samples}; it must be at least 1")
        if self._cfg and self.family.attention != "full":
            raise InputError(f"likelihood: cfg needs full attention; the family {self.family.name} is {self.family.attention}")
        rows = self._model.checkpoint.rows
        wrong = next((token for token in (*context, *response) if not 0 <= token < rows), None)
        if wrong is not None:
            raise InputError(f"likelihood: token {wrong} lies outside the vocabulary of {rows}")
        total, room = len(context) + len(response), self._model.context
        if total > room:
            raise InputError(f"likelihood: {total} tokens are more than the model's context of {room}")

    def windows(self, context: Sequence[int], response: Sequence[int]) -> Iterator[_Window]:
        """The response cut into what is opened together: all of it, or block by block."""
        ids, start, end = [*context, *response], len(context), len(context) + len(response)
        if not self.block_size:
            if response:
                yield _Window([], ids[:start], ids[start:], 0)
            return
        size = self.block_size
        origin = 0 if self.family.alignment == "absolute" else start % size
        first = origin + (start - origin) // size * size
        for block in range(first, end, size):
            known, stop = max(block, start), min(block + size, end)
            yield _Window(ids[:block], ids[block:known], ids[known:stop], block + size - stop)

    def log_probs(self, window: _Window, copies: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """For each copy of the target, (N, V) log-probabilities at its positions, in float32."""
        for i in range(0, len(copies), self._max_batch):
            batch = copies[i : i + self._max_batch]
            logits = self._logits(window, batch, window.before + window.fixed)
            if self._cfg:
                without = self._logits(window, batch, [self.mask_id] * window.first)
                logits = without + (self._cfg + 1) * (logits - without)
            yield from torch.log_softmax(logits, dim=-1).cpu()

    @torch.inference_mode()
    def _logits(self, window: _Window, copies: Sequence[Sequence[int]], context: list[int]) -> Tensor:
        network = self._model.network
        rest = [self.mask_id] * window.rest
        tokens = torch.tensor([[*context, *copy, *rest] for copy in copies], device=next(network.parameters()).device)
        positions = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        mask = self._mask(window, positions).unsqueeze(1).expand(len(copies), -1, -1, -1)
        hidden = network.model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False).last_hidden_state
        logits: Tensor = network.lm_head(hidden[:, self._sources(window, tokens.device)]).float()
        if bool(torch.isnan(logits).any()):
            raise InputError(
                f"{self._model.info.id}: the model's output is NaN; the weights are damaged or the dtype is too narrow"
            )
        return logits

    def _mask(self, window: _Window, positions: Tensor) -> Tensor:
        """(1, T, T): who sees whom, by the family's attention."""
        if self.family.attention == "full":
            return torch.ones_like(positions.unsqueeze(-1) * positions.unsqueeze(-2), dtype=torch.bool)
        if self.family.attention == "block_causal":
            from_block = positions - len(window.before) % self.block_size
            return block_causal(from_block, from_block, self.block_size)
        open_ = positions.unsqueeze(-1) >= len(window.before)
        return open_ | (positions.unsqueeze(-2) <= positions.unsqueeze(-1))

    def _sources(self, window: _Window, device: Any) -> Tensor:
        """The positions whose outputs predict the target: its own, or with a shift those one to the left."""
        own = torch.arange(window.first, window.first + len(window.target), device=device)
        if self.family.shift:
            return (own - 1).clamp(min=0)
        ar = self.family.first_token == "ar" and not window.fixed and window.before
        return torch.cat([own[:1] - 1, own[1:]]) if ar else own


def _monte_carlo(scorer: _Scorer, window: _Window, random: np.random.Generator, samples: int) -> _Part:
    target = np.array(window.target)
    length = len(target)
    hidden = np.zeros((samples, length), dtype=bool)
    for row, count in zip(hidden, _mask_counts(length, samples, random), strict=True):
        row[random.permutation(length)[:count]] = True
    copies = np.where(hidden, scorer.mask_id, target).tolist()
    values = []
    for row, log_probs in zip(hidden, scorer.log_probs(window, copies), strict=True):
        right = log_probs.gather(-1, torch.tensor(window.target).unsqueeze(-1)).squeeze(-1).double()
        values.append(float(right[torch.from_numpy(row)].sum()) * length / int(row.sum()))
    variance = float(np.var(values, ddof=1)) / samples if samples > 1 else math.inf
    return _Part(math.fsum(values) / samples, samples, variance)


def _mask_counts(length: int, samples: int, random: np.random.Generator) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Numbers of masks, each uniform over 1..length, spread evenly from a random start."""
    start = int(random.integers(1, length + 1))
    spread = np.rint(start + np.arange(samples) * length / samples).astype(np.int64)
    return (spread - 1) % length + 1


def _left_to_right(scorer: _Scorer, window: _Window, random: np.random.Generator, samples: int) -> _Part:
    """The contexts of all steps are known beforehand, so that they share passes."""
    length = len(window.target)
    copies = [window.target[:i] + [scorer.mask_id] * (length - i) for i in range(length)]
    value, greedy = 0.0, True
    for i, log_probs in enumerate(scorer.log_probs(window, copies)):
        value += float(log_probs[i, window.target[i]])
        greedy &= int(log_probs[i].argmax()) == window.target[i]
    return _Part(value, length, greedy=greedy)


def _confidence(scorer: _Scorer, window: _Window, random: np.random.Generator, samples: int) -> _Part:
    """Which mask is opened next depends on opened tokens only, so that this too is a distribution over responses."""
    length = len(window.target)
    copy = [scorer.mask_id] * length
    closed = set(range(length))
    value, greedy = 0.0, True
    while closed:
        (log_probs,) = scorer.log_probs(window, [copy])
        best = log_probs.max(dim=-1)
        i = max(sorted(closed), key=lambda position: float(best.values[position]))
        value += float(log_probs[i, window.target[i]])
        greedy &= int(best.indices[i]) == window.target[i]
        copy[i] = window.target[i]
        closed.remove(i)
    return _Part(value, length, greedy=greedy)


_METHODS = {"monte_carlo": _monte_carlo, "left_to_right": _left_to_right, "confidence": _confidence}


def _known(block_size: int | None, name: str) -> int:
    if block_size is None:
        raise InputError(f"{name}: its block size is unknown; give --block-size N")
    return block_size
