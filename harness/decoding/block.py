"""Block-diffusion decoding: one loop for every rule that fixes each token once.

Source: SDAR's `generate.py` and the sampler of TraceRL (arXiv 2509.06949, section 3). Blocks lie at absolute multiples of the
block size; the prompt's remainder shares the first one. A block is denoised until no mask is left, then run once more to keep
its keys and values: together with the first step of the next block (`fuse`), or in a pass of its own, as those loops do.
Sequences at different blocks share a forward pass, a finished one leaves at once and the next request takes its row. A request's
tokens depend on its prompt, seed and settings only.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...rewards.errors import InputError
from ..models.denoiser import BlockDenoiser
from ..records import DecodeConfig, Finish, ForwardPasses, Request
from .choose import choose
from .remask import schedule, select
from .rows import Rows, Sequence


@dataclass(frozen=True, slots=True)
class Decoded:
    """A finished sequence in token ids; the model turns it into a `Rollout`."""

    request: Request
    sequence: Sequence
    length: int
    finish: Finish
    passes: ForwardPasses
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Special tokens: the mask, those that end a response, and those that are never drawn (`banned`, (V,) bool).

    `text` decodes response tokens, for stop strings.
    """

    mask_id: int
    stop_ids: frozenset[int]
    banned: Tensor
    text: Callable[[list[int]], str]


class BlockDecoder:
    """Decodes requests in completion order, up to `rows` at a time, none beyond `context` positions."""

    def __init__(
        self,
        denoiser: BlockDenoiser,
        tokens: TokenRules,
        decode: DecodeConfig,
        *,
        rows: int,
        context: int,
        fuse: bool = True,
    ) -> None:
        block_size = denoiser.block_size
        self._denoiser, self._tokens, self._decode, self._context = denoiser, tokens, decode, context
        self._longest = decode.max_new_tokens or context
        self._schedule = torch.tensor(schedule(block_size, decode.steps_per_block or block_size))
        self._rows = Rows(rows, block_size, tokens.mask_id)
        self._fuse = fuse

    def run(self, requests: Iterable[Request]) -> Iterator[Decoded]:
        """Yield each request's result when it is done."""
        pending = iter(requests)
        exhausted = False
        while True:
            while not exhausted and self._rows.count < self._rows.capacity:
                request = next(pending, None)
                if request is None:
                    exhausted = True
                elif (refusal := self._admit(request)) is not None:
                    yield refusal
            if self._rows.count == 0:
                return
            yield from self._pass()

    def _admit(self, request: Request) -> Decoded | None:
        size = self._denoiser.block_size
        prompt = len(request.prompt_ids)
        total = min(-(-(prompt + self._longest) // size), self._context // size) * size
        sequence = Sequence(request, total, np.random.Generator(np.random.Philox(request.seed)))
        if total <= prompt:
            detail = f"the prompt has {prompt} tokens; the model's context is {self._context}"
            return Decoded(request, sequence, 0, "error", ForwardPasses(), 0.0, detail)
        twin = next(
            (row for row, other in enumerate(self._rows.sequences) if other.request.prompt_ids == request.prompt_ids), None
        )
        row = self._rows.add(sequence)
        if twin is not None:
            self._denoiser.share(twin, row, prompt // size * size)
        elif prompt >= size:
            self._denoiser.prefill(row, list(request.prompt_ids[: prompt // size * size]))
        return None

    def _pass(self) -> Iterator[Decoded]:
        """One forward pass over all rows: a denoising step for those with masks, the cache write for finished blocks."""
        rows, n = self._rows, self._rows.count
        is_open = rows.masked[:n].any(dim=-1)
        open_rows = is_open.nonzero().squeeze(-1)
        device = self._tokens.banned.device
        logits = self._denoiser.run(rows.start[:n].to(device), rows.token[:n].to(device), open_rows.to(device))
        if len(open_rows):
            self._denoise(open_rows, logits)
        # Fused, a block is left as soon as it is finished; else once a pass of its own has written its cache.
        finished = ~(rows.masked[:n].any(dim=-1) if self._fuse else is_open)
        # From the last row down, so that filling a freed row with the last one never moves a row still to be looked at.
        for row in reversed(finished.nonzero().squeeze(-1).tolist()):
            result = self._finish_block(row)
            if result is not None:
                yield result

    def _denoise(self, open_rows: Tensor, logits: Tensor) -> None:
        rows, size = self._rows, self._denoiser.block_size
        if not torch.isfinite(logits).all():
            raise InputError("the model's logits are NaN or infinite: damaged weights, or a narrow dtype (try --dtype float32)")
        uniform = None
        if self._decode.temperature > 0:
            drawn = np.stack([rows.sequences[row].random.random(size) for row in open_rows.tolist()])
            uniform = torch.from_numpy(drawn).to(logits.device)
        candidates = choose(logits, self._tokens.banned, uniform, self._decode)
        token, logprob, confidence = (tensor.cpu() for tensor in candidates)
        count = self._schedule[rows.step[open_rows].clamp(max=len(self._schedule) - 1)].clamp(min=1)
        chosen = select(confidence, rows.masked[open_rows], count, self._decode)
        rows.fix(open_rows, chosen, token, logprob, confidence)

    def _finish_block(self, row: int) -> Decoded | None:
        start = int(self._rows.start[row])
        sequence = self._rows.close(row)
        sequence.cache += not self._fuse
        decoded = self._ended(sequence, start + self._denoiser.block_size)
        if decoded is None:
            if self._fuse:
                self._denoiser.keep(row, start, self._rows.token[row].clone())
            self._rows.advance(row)
            return None
        last = self._rows.remove(row)
        if last != row:
            self._denoiser.move(last, row)
        return decoded

    def _ended(self, sequence: Sequence, position: int) -> Decoded | None:
        """The result, if a stop occurred or the sequence is as long as it may be; else None."""
        length = self._stop_length(sequence.tokens[: self._longest])
        if length is None and position < sequence.total:
            return None
        prefill = int(not self._fuse and len(sequence.request.prompt_ids) >= self._denoiser.block_size)
        passes = ForwardPasses(prefill, sequence.denoise, sequence.cache)
        finish: Finish = "length" if length is None else "stop"
        longest = min(len(sequence.tokens), self._longest)
        return Decoded(sequence.request, sequence, length or longest, finish, passes, time.monotonic() - sequence.started)

    def _stop_length(self, tokens: list[int]) -> int | None:
        """How many tokens a response has up to its stop token or the end of its stop string; None while there is no stop."""
        by_token = next((i + 1 for i, token in enumerate(tokens) if token in self._tokens.stop_ids), None)
        seen = tokens[:by_token]
        if self._decode.stop and _holds(self._tokens.text(seen), self._decode.stop):
            return next(n for n in range(1, len(seen) + 1) if _holds(self._tokens.text(seen[:n]), self._decode.stop))
        return by_token


def _holds(text: str, stops: tuple[str, ...]) -> bool:
    return any(stop in text for stop in stops)
